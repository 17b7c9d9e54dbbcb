"""The architecture of a trained model, and what it reads."""

from pydantic import Field

from mmer_core.config import ARCHITECTURES, Config, EncoderConfig, Family, Fusion, PromptConfig
from mmer_core.taxonomy import VAD

SPEC_FILE = "model.json"


class ModelSpec(Config):
    """Architecture of a trained model and the encoders whose features it reads."""

    task: str = Field(description="The kind of task, see `mmer_core.task_kinds`.")
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
    prompts: PromptConfig = Field(PromptConfig(), description="How the zero-shot family asks for labels.")
    encoders: EncoderConfig
    dataset: str = Field(description="Name of the dataset it was trained on.")

    @property
    def network(self) -> str:
        """Name of its network, which says what its embedding is: ``separate``, ``joint`` or ``zero-shot``."""
        return ARCHITECTURES[self.family].network
