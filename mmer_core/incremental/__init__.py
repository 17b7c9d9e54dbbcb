"""Evaluating a network on images that differ from known ones in a few pixels.

What a changed pixel can influence is a window that grows from layer to layer. ``lowering`` reads a module as
a list of local steps, ``spans`` and ``layout`` say where the windows lie, ``patches`` cuts and pastes them,
``network`` computes them, ``choice`` decides how far that pays, and ``evaluator`` puts it together.

    planner = Planner(module, normalise, (224, 224), torch.device("cpu"))
    scores = CandidateEvaluator(planner)(images, rows, positions, colours)
    print(planner.plan(pixels=1).sentence)
"""
