"""Trained models on disk: the specification as JSON, the weights as safetensors."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mmer_core.errors import ConfigError
from mmer_core.models.spec import SPEC_FILE, ModelSpec
from mmer_core.named import Registry

WEIGHTS_FILE = "model.safetensors"

MODELS: Registry[Any] = Registry("model", nn.Module, "mmer_core.models")
"""Networks, each named by its embedding and kind of task."""


def build_model(spec: ModelSpec) -> nn.Module:
    """A freshly initialised model; the initial weights follow torch's global random state."""
    model: nn.Module = MODELS[f"{spec.network} {spec.task}"](spec)
    return model


def save_model(model: nn.Module, spec: ModelSpec, folder: Path) -> None:
    """Write ``model.json`` and ``model.safetensors``."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE)
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
    with torch.device("meta"):
        model = build_model(spec)
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError:
        raise ConfigError(
            f"the weights in {folder / WEIGHTS_FILE} are not those of a {spec.family} {spec.task} model as this version "
            "of mmer builds it: train the model again"
        ) from None
    return model.eval(), spec
