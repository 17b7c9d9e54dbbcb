"""Weight files from disk: no code in them is ever run, and weights of another architecture are refused."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmer_core.errors import EncoderError
from mmer_core.heavy import Tensor, nn, torch


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a weights file.

    Attributes:
        state: Tensors by name, without the prefix of ``DataParallel``.
        architecture: Name of the architecture, if the training recorded it (``arch``).
    """

    state: dict[str, Tensor]
    architecture: str | None


def load_state(module: nn.Module, path: Path) -> None:
    """Load a weights file, see `read_checkpoint`, into a module.

    Raises:
        EncoderError: The file cannot be read, or does not fit the module.
    """
    fit_state(module, read_checkpoint(path).state, path)


def fit_state(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load tensors into a module. Raises `EncoderError`, which names ``path``, if they do not fit."""
    expected = module.state_dict()
    # Batch norms before PyTorch 0.4 had no batch counter, and nothing reads it.
    needed = {name for name in expected if not name.endswith(".num_batches_tracked")}
    missing, unexpected = sorted(needed - state.keys()), sorted(state.keys() - expected.keys())
    misshapen = [name for name in expected.keys() & state.keys() if expected[name].shape != state[name].shape]
    if missing or unexpected or misshapen:
        raise EncoderError(
            f"{path} holds weights of another architecture than {type(module).__name__}: "
            f"{len(missing)} tensors missing, {len(unexpected)} unexpected, {len(misshapen)} of another shape "
            f"(first: {(missing + unexpected + sorted(misshapen))[0]}); name the architecture they belong to"
        )
    module.load_state_dict(state, strict=False)


def file_digest(path: Path) -> str:
    """SHA-256 of a file: the identity of weights in artifact keys."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EncoderError(
            f"cannot read the weights {path}: {error.strerror}; give the path of a file"
        ) from None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a ``.safetensors`` file or a file of ``torch.save``: a state_dict, bare or within a checkpoint.

    Raises:
        EncoderError: The file is missing, unreadable, or holds anything other than tensors, strings and numbers.
    """
    from safetensors.torch import load_file

    if not path.is_file():
        raise EncoderError(f"there is no weights file {path}; give the path of a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            return Checkpoint(load_file(path), None)
        saved = _plain_objects(path)
    except Exception as error:  # malformed bytes make an unpickler raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise EncoderError(f"{path} is not a file of plain tensors ({reason}); save a state_dict") from None
    nested = isinstance(saved, dict) and isinstance(saved.get("state_dict"), dict)
    state = saved["state_dict"] if nested else saved
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise EncoderError(f"{path} does not hold a state_dict of tensors; save model.state_dict()")
    architecture = saved.get("arch") if nested else None
    # Checkpoints written under DataParallel carry this prefix on every name.
    tensors = {name.removeprefix("module."): value for name, value in state.items()}
    return Checkpoint(tensors, architecture if isinstance(architecture, str) else None)


def _plain_objects(path: Path) -> Any:
    with torch.serialization.safe_globals(_NUMPY), warnings.catch_warnings():
        # Torch warns about old files and files not written by itself; unreadable content is an error anyway.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except UnicodeDecodeError:
            # Python 2 wrote bytes as text. Torch warns that it ignores the encoding here, but uses it.
            return torch.load(path, map_location="cpu", weights_only=True, encoding="latin1")


class _Ignored:
    """Replaces a NumPy number beside the weights (``best_prec1``): it is skipped, and none of its code is run."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


_NUMPY: list[Any] = [
    (_Ignored, name)
    for name in (
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.dtype",
        "_codecs.encode",
    )
]
