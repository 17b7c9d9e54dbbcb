"""Weight files from disk: read without pickle, refused when they belong to another architecture."""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mmer_core.errors import EncoderError


def load_state(module: nn.Module, path: Path) -> None:
    """Load a ``.safetensors`` file, or a ``.pth``/``.pt`` file that holds tensors only, into a module.

    Raises:
        EncoderError: The file is missing, unreadable, holds more than tensors, or does not fit the module.
    """
    state = _read(path)
    expected = module.state_dict()
    missing, unexpected = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    misshapen = [name for name in expected.keys() & state.keys() if expected[name].shape != state[name].shape]
    if missing or unexpected or misshapen:
        raise EncoderError(
            f"{path} holds weights of another architecture than {type(module).__name__}: "
            f"{len(missing)} tensors missing, {len(unexpected)} unexpected, {len(misshapen)} of another shape "
            f"(first: {(missing + unexpected + sorted(misshapen))[0]}); name the architecture they belong to"
        )
    module.load_state_dict(state)


def file_digest(path: Path) -> str:
    """SHA-256 of a file: the identity of weights in artifact keys."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EncoderError(
            f"cannot read the weights {path}: {error.strerror}; give the path of a file"
        ) from None


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise EncoderError(f"there is no weights file {path}; give the path of a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # foreign bytes make an unpickler raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise EncoderError(f"{path} is not a file of plain tensors ({reason}); save a state_dict") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise EncoderError(f"{path} does not hold a state_dict of tensors; save model.state_dict()")
    # Checkpoints written under DataParallel carry this prefix on every name.
    return {name.removeprefix("module."): value for name, value in state.items()}
