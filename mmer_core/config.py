"""The parameters of every job.

One field here is one flag of the command line, one box of the form in the Prefect UI and one row of
`--help`; all three show the description written next to it. Whatever can change a result is part of an
artifact's key, so settings that only say *where* and *how fast* live apart, in `RuntimeConfig`.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field, model_validator

Family = Literal["separate", "joint"]
Split = Literal["train", "val", "test"]
FAMILIES: tuple[Family, ...] = ("separate", "joint")


class Config(BaseModel):
    """Base of all configurations: immutable, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SyntheticConfig(Config):
    """The miniature dataset that mmer draws when it is given no folder."""

    images: int = Field(1200, ge=30, description="Photos to draw, over all splits (70/10/20 %).")
    seed: int = Field(0, ge=0, description="Seed of the drawing; the same seed draws the same files.")
    shuffle_labels: bool = Field(
        False,
        description="Shuffle labels (or captions) among samples: a model must fall back to chance.",
    )


class IngestConfig(Config):
    """Raw dataset to prepared arrays."""

    dataset: Literal["emotic", "flickr8k", "manifest"] = Field(
        "emotic",
        description="Layout of the raw dataset; 'manifest' is any dataset listed in a CSV, JSONL or Parquet file.",
    )
    root: Path | None = Field(
        None,
        description="Folder of the raw dataset (unpacked, or with its archives), a .zip or .tar archive of it, or the "
        "manifest file. Without it mmer draws a synthetic one in the same layout.",
    )
    synthetic: SyntheticConfig = Field(
        default=SyntheticConfig(), description="The dataset to draw when root is not given."
    )
    protocol: Literal["corrected", "mat2py"] = Field(
        "corrected",
        description="EMOTIC boxes: 'corrected' clamps to the decoded image, 'mat2py' to the (sometimes swapped) "
        "size in the annotations, as the reference converter does.",
    )
    splits: Literal["official", "karpathy", "notebook"] = Field(
        "official",
        description="Flickr8k splits: official lists, Karpathy's JSON, or the notebooks' 70/15/15.",
    )
    captions: Path | None = Field(
        None,
        description="EMOTIC text: a CSV with the columns folder, filename, caption and optionally person "
        "(0-based). People without a row get a neutral template that uses no label.",
    )
    coco_captions: tuple[Path, ...] = Field(
        (),
        description="EMOTIC text: COCO's captions_*.json files, for people in COCO photos whom the CSV does not "
        "describe; joined by the COCO id in the file name.",
    )
    vocabulary_least: int = Field(
        5,
        ge=1,
        description="Captioned datasets: how often a word must stand in the training captions to get an index "
        "of its own in vocab.json; all others are unknown words.",
    )
    context_size: int = Field(224, ge=16, le=1024, description="Side of the square context image, in pixels.")
    body_size: int = Field(128, ge=16, le=1024, description="Side of the square body crop, in pixels.")

    @model_validator(mode="after")
    def _manifests_are_given(self) -> Self:
        if self.dataset == "manifest" and self.root is None:
            raise ValueError("a manifest dataset needs its file: give --root FILE")
        return self


class EncoderConfig(Config):
    """The frozen encoders that turn pixels and text into features."""

    image: str = Field(
        "mirror:packaged:efficientnet_lite2",
        description="packaged:efficientnet_lite0|efficientnet_lite2, torchvision:ARCH@WEIGHTS_FILE, "
        "or hf:ID_OR_FOLDER; mirror: in front averages every image with its mirror image.",
    )
    image_size: int | None = Field(
        224,
        ge=32,
        le=1024,
        description="Input side in pixels of the image encoder; None (null) for its native side.",
    )
    text: str = Field(
        "meanmax:packaged:all-MiniLM-L6-v2",
        description="packaged:all-MiniLM-L6-v2, or hf:ID_OR_FOLDER; meanmax: in front gives mean and maximum over "
        "the tokens.",
    )
    shard_size: int = Field(
        1024, ge=16, description="Images or texts in one shard of features (resume unit)."
    )


class ModelConfig(Config):
    """The trained part: projections and heads on top of frozen features."""

    family: Family = Field(
        "joint", description="'separate': a space per modality; 'joint': one shared latent space."
    )
    embedding: int | None = Field(
        None,
        ge=2,
        description="Embedding width; 256 for separate, 128 for joint emotion models, 512 for each head of joint retrieval.",
    )
    heads: int = Field(
        3,
        ge=1,
        description="Joint retrieval: projections of each modality that stand side by side in the embedding, each "
        "trained by itself.",
    )
    hidden: int = Field(
        512, ge=0, description="Width of the hidden layer of a projection; 0 for a linear one."
    )
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Dropout on features and hidden layers; 0.4 for emotion datasets, 0.5 for captioned ones.",
    )
    power: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Captioned datasets: exponent that evens out image features which are never negative; 1 for "
        "none.",
    )
    fusion: Literal["mean", "gated", "concat"] = Field(
        "mean", description="How the joint emotion model fuses the streams' embeddings."
    )

    def width(self, task: str) -> int:
        """Embedding width for a task ('emotion' or 'retrieval'): ``D``, or that of one of its heads."""
        if self.embedding is not None:
            return self.embedding
        if self.family == "separate":
            return 256
        return 128 if task == "emotion" else 512

    def head_count(self, task: str) -> int:
        """Heads of the embedding for a task; only joint retrieval has several."""
        return self.heads if task == "retrieval" and self.family == "joint" else 1

    def dropout_rate(self, task: str) -> float:
        """Dropout for a task ('emotion' or 'retrieval')."""
        if self.dropout is not None:
            return self.dropout
        return 0.4 if task == "emotion" else 0.5


class TrainingConfig(Config):
    """The training loop."""

    epochs: int | None = Field(
        None,
        ge=1,
        description="Most passes over the training split; 30 for emotion datasets, 50 for captioned ones.",
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Epochs without a better validation metric before stopping; 5 for emotion datasets, 15 for "
        "captioned ones.",
    )
    batch_size: int | None = Field(
        None,
        ge=2,
        description="Samples a step, smaller where an epoch would have fewer than 8 steps; 512 for emotion datasets, "
        "256 photos for captioned ones.",
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Peak learning rate of AdamW (cosine decay); 2e-3 for emotion datasets, 3e-3 for captioned "
        "ones.",
    )
    captions: int = Field(
        5,
        ge=1,
        description="Captioned datasets: most captions of a photo that are shown in one step; they are no negatives "
        "of one another.",
    )
    weight_decay: float = Field(1e-2, ge=0, description="Decoupled weight decay.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of all steps with a linear warm-up.")
    average: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Decay of the exponential moving average of the weights, which is what is validated and kept; "
        "0 for the weights as they are.",
    )
    categories: Literal["bce", "focal", "asymmetric", "weighted_mse"] = Field(
        "bce", description="Objective of the emotion categories."
    )
    continuous: Literal["smooth_l1", "margin_l2"] = Field(
        "smooth_l1", description="Objective of valence, arousal and dominance."
    )
    contrastive: Literal["infonce", "siglip", "triplet", "cosine_margin"] = Field(
        "infonce", description="Objective that aligns image and text."
    )
    continuous_weight: float = Field(0.5, ge=0, description="Weight of the continuous objective.")
    contrastive_weight: float = Field(
        0.1, ge=0, description="Weight of image-text alignment in the joint emotion model."
    )
    seed: int = Field(0, ge=0, description="Seed of initialisation, order and dropout.")

    def of_task(self, task: str) -> "TaskTraining":
        """The same with what depends on the task filled in ('emotion' or 'retrieval')."""
        given = {name: value for name, value in self.model_dump().items() if value is not None}
        return TaskTraining(**{**_SCHEDULES[task], **given})


class TaskTraining(TrainingConfig):
    """The training loop on one task: what is left open in general is decided."""

    epochs: int
    patience: int
    batch_size: int
    learning_rate: float


_SCHEDULES: dict[str, dict[str, float]] = {
    "emotion": {"epochs": 30, "patience": 5, "batch_size": 512, "learning_rate": 2e-3},
    "retrieval": {"epochs": 50, "patience": 15, "batch_size": 256, "learning_rate": 3e-3},
}


class EvaluationConfig(Config):
    """Metrics with intervals."""

    split: Split = Field("test", description="Split to evaluate.")
    resamples: int = Field(1000, ge=10, description="Bootstrap resamples behind every interval.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Confidence of the intervals.")
    seed: int = Field(0, ge=0, description="Seed of the bootstrap.")


class IndexConfig(Config):
    """The FAISS index."""

    factory: str = Field(
        "Flat", description="FAISS factory string, by inner product on unit vectors; Flat is exact."
    )
    split: Split = Field("test", description="Split to index.")


class AttackConfig(Config):
    """Few-pixel attacks on the image a model reads."""

    attacks: tuple[Literal["de", "random"], ...] = Field(
        ("de", "random"),
        min_length=1,
        description="'de': differential evolution (Su et al. 2019); 'random': the random-pixel control.",
    )
    pixels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 5), min_length=1, description="How many pixels (K) may change; one curve point each."
    )
    stream: Literal["context", "body"] = Field(
        "context",
        description="Image that an emotion model is attacked through; text and the other stay as they are.",
    )
    images: int = Field(50, ge=1, description="Images to attack, drawn at random from the split.")
    budget: int = Field(400, ge=1, description="Most queries to the victim per image, attack and K.")
    population: int = Field(50, ge=4, description="Population of differential evolution (400 in the paper).")
    top: int = Field(
        10, ge=1, description="Retrieval counts as fooled when no own caption is left in the first so many."
    )
    split: Split = Field("test", description="Split to attack.")
    shard_size: int = Field(10, ge=1, description="Images in one shard; shards run in parallel and resume.")
    seed: int = Field(0, ge=0, description="Seed of the choice of images and of every search.")


class ReportConfig(Config):
    """The HTML report."""

    title: str = Field("How well, and how safely?", description="Heading of the report.")
    gallery: int = Field(6, ge=0, le=60, description="Attacked images shown per model and dataset.")
    examples: int = Field(4, ge=0, le=60, description="Retrieval examples shown per dataset.")
    points: int = Field(600, ge=50, le=5000, description="Most points in a t-SNE plot.")
    seed: int = Field(0, ge=0, description="Seed of t-SNE and of the choice of examples.")


class RuntimeConfig(Config):
    """Where and how fast; nothing here changes a result beyond floating-point rounding."""

    store: str = Field(
        ".mmer/store", description="Artifact store: a folder, file:///…, or s3://bucket/prefix."
    )
    work: Path = Field(Path(".mmer/work"), description="Folder for unfinished work and fetched artifacts.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Device for tensors.")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Precision of training on CUDA (autocast); attacks always judge in float32."
    )
    workers: int = Field(2, ge=1, description="Shards that run at the same time.")
    batch_size: int = Field(64, ge=1, description="Images in one forward pass of an encoder.")
    checkpoint_seconds: float = Field(
        10.0,
        ge=0,
        description="Least time between two checkpoints of a training; 0 for one after every epoch.",
    )


# On the command line these are --store, --device, ...: not worth a prefix.
Runtime = Annotated[RuntimeConfig, Parameter(name="*")]


class IngestJob(Config):
    """Prepare one dataset."""

    dataset: Annotated[IngestConfig, Parameter(name="*")] = Field(
        default=IngestConfig(), description="The dataset."
    )
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")


class TrainJob(Config):
    """Prepare and encode one dataset, train one model on it and evaluate it; what is there is reused."""

    dataset: Annotated[IngestConfig, Parameter(name="*")] = Field(
        default=IngestConfig(), description="The dataset."
    )
    prepared: str | None = Field(
        None, description="Key of prepared arrays in the store, instead of the dataset."
    )
    encoders: EncoderConfig = Field(default=EncoderConfig(), description="Frozen encoders.")
    model: ModelConfig = Field(default=ModelConfig(), description="Trained part.")
    training: TrainingConfig = Field(default=TrainingConfig(), description="Training loop.")
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="Metrics.")
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")

    def splits(self) -> set[Split]:
        """The splits that this job reads."""
        return {"train", "val", self.evaluation.split}


class IndexJob(TrainJob):
    """Index a dataset's embeddings, training the model first where it is not there."""

    index: IndexConfig = Field(default=IndexConfig(), description="FAISS index.")

    def splits(self) -> set[Split]:
        return super().splits() | {self.index.split}


class RobustnessJob(TrainJob):
    """Attack a model, training it first where it is not there."""

    attack: AttackConfig = Field(default=AttackConfig(), description="Pixel attacks.")

    def splits(self) -> set[Split]:
        return super().splits() | {self.attack.split}


class ReportJob(Config):
    """Write the report from artifacts that are there."""

    models: tuple[str, ...] = Field(
        (), description="Keys of the models to report; the newest of every dataset and family when empty."
    )
    report: ReportConfig = Field(default=ReportConfig(), description="HTML report.")
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")


class PipelineConfig(Config):
    """Everything from raw datasets to the report."""

    datasets: dict[str, IngestConfig] = Field(
        default={"emotic": IngestConfig(dataset="emotic"), "flickr8k": IngestConfig(dataset="flickr8k")},
        min_length=1,
        description="Datasets by name.",
    )
    families: tuple[Family, ...] = Field(FAMILIES, min_length=1, description="Model families to compare.")
    encoders: EncoderConfig = Field(default=EncoderConfig(), description="Frozen encoders.")
    model: ModelConfig = Field(
        default=ModelConfig(), description="Trained part; its family is set by families."
    )
    training: TrainingConfig = Field(default=TrainingConfig(), description="Training loop.")
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="Metrics.")
    index: IndexConfig = Field(default=IndexConfig(), description="FAISS index.")
    attack: AttackConfig = Field(default=AttackConfig(), description="Pixel attacks.")
    report: ReportConfig = Field(default=ReportConfig(), description="HTML report.")
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")

    @model_validator(mode="after")
    def _names_are_path_safe(self) -> Self:
        for name in self.datasets:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"dataset name {name!r} may hold letters, digits, '-' and '_' only")
        return self
