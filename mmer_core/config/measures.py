"""What is measured of a model, and how it is shown."""

from typing import Annotated, Literal

from pydantic import Field

from mmer_core.base_config import ADDED_LATER, SPEED, Config, Split


class EvaluationConfig(Config):
    """Metrics with intervals."""

    split: Split = Field("test", description="Split to evaluate.")
    labels: Literal["all", "shared"] = Field(
        "all",
        description="Labels of a model and of another dataset, matched by name: 'all' refuses to evaluate unless "
        "both have the same ones, 'shared' evaluates those that both have.",
    )
    resamples: int = Field(
        1000,
        ge=10,
        description="Random halves of the photos behind every interval of a metric that is no share.",
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Confidence of the intervals.")
    seed: int = Field(0, ge=0, description="Seed of the random halves.")
    beam: Annotated[int, ADDED_LATER] = Field(
        5,
        ge=1,
        le=50,
        description="Models with a decoder: captions of a photo that are followed at a time; 1 always takes the most "
        "probable word.",
    )


class IndexConfig(Config):
    """The FAISS index."""

    factory: str = Field(
        "auto",
        description="FAISS factory string, by inner product on unit vectors; Flat is exact. auto chooses by the number "
        "of vectors, memory and recall: Flat up to 20,000 vectors, then lists of 4-bit product codes.",
    )
    split: Split | Literal["all"] = Field("test", description="Split to index, or all of them.")
    recall: float = Field(
        0.95,
        gt=0,
        le=1,
        description="Share of the true 10 nearest to find; nprobe or efSearch is tuned to it on held-out queries. 1 with "
        "the factory auto is exact.",
    )
    memory_gib: float = Field(
        4.0,
        gt=0,
        description="What auto lets each of the two indexes take in memory when it is searched, in GiB; vectors that "
        "are mapped from disk are not counted.",
    )
    refine: float | None = Field(
        None,
        ge=0,
        description="Candidates for every result that are scored again by float16 vectors on disk; 0 for none. "
        "By default what auto chooses with its codes, 8 or more; none for other factories.",
    )
    shard_size: Annotated[int, SPEED] = Field(
        500_000, ge=1, description="Vectors in a shard, the unit of parallel work and of resume."
    )
    queries: int = Field(
        5000,
        ge=1,
        description="Most held-out queries to tune and measure on: captions for the images, photos for the captions.",
    )
    seed: int = Field(0, ge=0, description="Seed of the choice of training vectors and of queries.")


class ReportConfig(Config):
    """The HTML report."""

    margin: float = Field(
        5.0,
        gt=0,
        lt=100,
        description="Percentage points by which two models may differ and still be called equivalent.",
    )
    title: str = Field("How well, and how safely?", description="Heading of the report.")
    gallery: int = Field(6, ge=0, le=60, description="Attacked images shown per model and dataset.")
    examples: int = Field(4, ge=0, le=60, description="Retrieval examples shown per dataset.")
    points: int = Field(600, ge=50, le=5000, description="Most points in a t-SNE plot.")
    seed: int = Field(0, ge=0, description="Seed of t-SNE and of the choice of examples.")
