"""What is measured of a model, and how it is shown."""

from typing import Literal

from pydantic import Field

from mmer_core.config.base import Config, Split


class EvaluationConfig(Config):
    """Metrics with intervals."""

    split: Split = Field("test", description="Split to evaluate.")
    labels: Literal["all", "shared"] = Field(
        "all",
        description="Emotions of a model and of another dataset, matched by name: 'all' refuses to evaluate unless "
        "both have the same ones, 'shared' evaluates those that both have.",
    )
    resamples: int = Field(1000, ge=10, description="Bootstrap resamples behind every interval.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Confidence of the intervals.")
    seed: int = Field(0, ge=0, description="Seed of the bootstrap.")


class IndexConfig(Config):
    """The FAISS index."""

    factory: str = Field(
        "Flat", description="FAISS factory string, by inner product on unit vectors; Flat is exact."
    )
    split: Split = Field("test", description="Split to index.")


class ReportConfig(Config):
    """The HTML report."""

    title: str = Field("How well, and how safely?", description="Heading of the report.")
    gallery: int = Field(6, ge=0, le=60, description="Attacked images shown per model and dataset.")
    examples: int = Field(4, ge=0, le=60, description="Retrieval examples shown per dataset.")
    points: int = Field(600, ge=50, le=5000, description="Most points in a t-SNE plot.")
    seed: int = Field(0, ge=0, description="Seed of t-SNE and of the choice of examples.")
