"""What is needed to build a model again, and how a trained one lies on disk."""

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file

from mmer_core.config import Config, EncoderConfig, Family, Fusion, PromptConfig
from mmer_core.errors import ConfigError
from mmer_core.models.emotion import EmotionModel, JointEmotionModel, SeparateEmotionModel
from mmer_core.models.retrieval import JointRetrievalModel, RetrievalModel, SeparateRetrievalModel
from mmer_core.models.zero_shot import ZeroShotEmotionModel, ZeroShotRetrievalModel
from mmer_core.taxonomy import VAD

SPEC_FILE = "model.json"
WEIGHTS_FILE = "model.safetensors"


class ModelSpec(Config):
    """Architecture of a trained model and the encoders whose features it reads."""

    task: Literal["emotion", "retrieval"]
    family: Family
    streams: dict[str, int] = Field(description="Feature width of every stream the model reads.")
    sides: dict[str, int] = Field(
        {}, description="Side in pixels of the prepared images of every image stream."
    )
    embedding: int
    hidden: int
    dropout: float
    heads: int = Field(1, ge=1, description="Heads that a retrieval model's embedding consists of.")
    parts: dict[str, int] = Field(
        {}, description="Parts that the features of a stream consist of, where they are several."
    )
    power: float = Field(1.0, description="Exponent of a retrieval model's rectified image features.")
    fusion: Fusion = "mean"
    labels: tuple[str, ...] = Field((), description="Categories, in the order of the logits.")
    dimensions: tuple[str, ...] = Field(
        VAD, description="Continuous dimensions, in the order of the ratings; none where nothing is rated."
    )
    words: tuple[str, ...] = Field(
        (), description="Vocabulary of the separate retrieval model's own outputs."
    )
    prompts: PromptConfig = Field(PromptConfig(), description="How the zero-shot family asks for emotions.")
    encoders: EncoderConfig
    dataset: str = Field(description="Name of the dataset it was trained on.")


def build_model(spec: ModelSpec) -> EmotionModel | RetrievalModel:
    """A freshly initialised model; the initial weights follow torch's global random state."""
    if spec.family == "zero-shot":
        return ZeroShotEmotionModel(spec) if spec.task == "emotion" else ZeroShotRetrievalModel(spec)
    if spec.task == "emotion":
        return JointEmotionModel(spec) if spec.family == "joint" else SeparateEmotionModel(spec)
    return JointRetrievalModel(spec) if spec.family == "joint" else SeparateRetrievalModel(spec)


def save_model(model: EmotionModel | RetrievalModel, spec: ModelSpec, folder: Path) -> None:
    """Write ``model.json`` and ``model.safetensors``."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE)
    (folder / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n")


def load_model(folder: Path) -> tuple[EmotionModel | RetrievalModel, ModelSpec]:
    """Read a trained model, in evaluation mode, on the CPU.

    Raises:
        ConfigError: The folder is not a trained model.
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
    model.load_state_dict(state, assign=True)
    return model.eval(), spec
