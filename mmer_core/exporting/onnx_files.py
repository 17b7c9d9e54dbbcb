"""One tower to one ONNX file, and the check that both agree."""

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim

from mmer_core.errors import ConfigError, MmerError
from mmer_core.exporting.towers import Tower

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
MOST_AT_ONCE = 4096
"""Largest supported batch size of a file."""


class ExportError(MmerError):
    """A model cannot be written as ONNX, or the file disagrees with the model."""


def require_onnx() -> None:
    """Raise `ConfigError` if a package that export needs is not installed."""
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise ConfigError(
            f"export needs {', '.join(missing)}, which is not installed: pip install 'mmer[onnx]'"
        )


def write_onnx(tower: Tower, example: Sequence[Tensor], longest: int, path: Path) -> None:
    """Write a tower as one self-contained ONNX file with dynamic batch size (and number of tokens).

    Args:
        example: Inputs in order, at least 2 samples.
        longest: Maximal number of tokens of a text; if the example has that many, every text must be padded to it.
        path: The file to write.

    Raises:
        ExportError: PyTorch cannot trace the module, or ONNX lacks one of its operations.
    """
    batch = Dim("batch", min=1, max=MOST_AT_ONCE)
    shapes: list[dict[int, object]] = [{0: batch} for _ in tower.images]
    for tokens in example[len(tower.images) :]:
        free = tokens.shape[1] < longest
        shapes.append({0: batch, 1: Dim("tokens", min=2, max=longest)} if free else {0: batch})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two inputs share the name of a dimension on purpose
            program = torch.onnx.export(
                tower.module,
                tuple(example),
                dynamo=True,
                dynamic_shapes=(tuple(shapes),),  # *inputs are one parameter, a tuple
                input_names=[*tower.images, *tower.tokens],
                output_names=list(tower.outputs),
                verbose=False,
            )
            assert program is not None  # None only for the legacy exporter
            _forget_traces(program.model)
            program.save(path, external_data=False)
    except Exception as error:  # the exporter raises its own types and those of all underlying libraries
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ExportError(
            f"{tower.name} cannot be written as ONNX ({reason}); export a model on another encoder"
        ) from error


def _forget_traces(model: Any) -> None:
    """Remove the source location in Python files of this machine that the exporter records for every operation."""
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        for node in graph.all_nodes():
            node.metadata_props.clear()


def largest_difference(tower: Tower, path: Path, cases: Sequence[Sequence[Tensor]]) -> float:
    """The largest difference between the outputs of ONNX Runtime and PyTorch, over all cases and outputs.

    Absolute for outputs up to 1 in magnitude, relative to PyTorch's beyond; NaN if either output is NaN.

    Args:
        cases: Inputs in order, of several batch sizes.

    Raises:
        ExportError: ONNX Runtime cannot load or run the file, or returns another shape.
    """
    import onnxruntime

    names = [*tower.images, *tower.tokens]
    worst = 0.0
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for case in cases:
            said = session.run(
                list(tower.outputs), dict(zip(names, (one.numpy() for one in case), strict=True))
            )
            with torch.inference_mode():
                expected = [output.numpy() for output in tower.module(*case)]
            for one, other in zip(said, expected, strict=True):
                if one.shape != other.shape:
                    raise ExportError(f"{path.name} returns shape {one.shape} instead of {other.shape}")
                worst = float(np.maximum(worst, (np.abs(one - other) / np.maximum(1, np.abs(other))).max()))
    except ExportError:
        raise
    except Exception as error:  # ONNX Runtime has one exception type per status code
        raise ExportError(
            f"ONNX Runtime does not run {path.name}: {' '.join(str(error).split())[:300]}"
        ) from error
    return worst
