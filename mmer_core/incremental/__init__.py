"""Fast evaluation of a network on images that differ from known ones in a few pixels.

The region that a changed pixel can influence is a window that grows from layer to layer. ``lowering`` converts a module
to a list of local steps, ``spans`` and ``layout`` determine the windows, ``patches`` gathers and pastes them,
``network`` computes them, ``choice`` decides up to which layer this pays off, and ``evaluator`` combines it all.
    planner = Planner(module, normalise, (224, 224), torch.device("cpu"))
    scores = CandidateEvaluator(planner)(images, rows, positions, colours)
    print(planner.plan(pixels=1).sentence)
"""
