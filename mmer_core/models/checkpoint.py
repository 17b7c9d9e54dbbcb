"""Trained models on disk: the specification as JSON, the weights as safetensors."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmer_core.errors import ConfigError
from mmer_core.models.spec import SPEC_FILE, ModelSpec
from mmer_core.named import Registry

WEIGHTS_FILE = "model.safetensors"
M = TypeVar("M", bound=nn.Module)

MODELS: Registry[Any] = Registry("model", nn.Module, "mmer_core.models")
"""Networks, each named by its embedding and kind of task."""


def build_model(spec: ModelSpec) -> nn.Module:
    """A freshly initialised model; the initial weights follow torch's global random state."""
    model: nn.Module = MODELS[f"{spec.network} {spec.task}"](spec)
    return model


def save_model(model: nn.Module, spec: ModelSpec, folder: Path) -> None:
    """Write ``model.json`` and ``model.safetensors``."""
    save_weights(model, folder / WEIGHTS_FILE)
    (folder / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n")


def load_model(folder: Path) -> tuple[nn.Module, ModelSpec]:
    """Read a trained model, in evaluation mode, on the CPU.

    Raises:
        ConfigError: The folder is not a trained model, or its weights are not those of such a model now.
    """
    try:
        spec = ModelSpec.model_validate_json((folder / SPEC_FILE).read_text())
        state = load_file(folder / WEIGHTS_FILE)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{folder} is not a trained model: it has no {Path(error.filename or '').name}"
        ) from None
    kind = f"{spec.family} {spec.task} model"
    return with_weights(lambda: build_model(spec), state, folder / WEIGHTS_FILE, kind), spec


def save_weights(module: nn.Module, path: Path) -> None:
    """Write the weights of a module as safetensors."""
    save_file({name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}, path)


def with_weights(build: Callable[[], M], state: Mapping[str, Tensor], path: Path, kind: str) -> M:
    """A module with the weights that were read from ``path``, in evaluation mode.

    Raises:
        ConfigError: They are not those of such a module; ``kind`` says of what.
    """
    with torch.device("meta"):
        made = build()
    try:
        made.load_state_dict(state, assign=True)
    except RuntimeError:
        raise ConfigError(
            f"the weights in {path} are not those of a {kind} as this version of mmer builds it: train the model again"
        ) from None
    return made.eval()
