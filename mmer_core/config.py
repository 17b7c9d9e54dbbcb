"""The parameters of every job.

One field here is one flag of the command line, one box of the form in the Prefect UI and one row of
`--help`; all three show the description written next to it. Whatever can change a result is part of an
artifact's key, so settings that only say *where* and *how fast* live apart, in `RuntimeConfig`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field, model_validator

Family = Literal["separate", "joint", "zero-shot"]
Split = Literal["train", "val", "test"]
AttackName = Literal["de", "sparse-rs", "pixle", "corner", "exhaustive", "random"]
EmotionCriterion = Literal["dominant", "target", "top", "labels", "suppress", "appear", "shift"]
MatchCriterion = Literal["image-to-text", "text-to-image", "both", "caption-rises", "image-rises"]
FAMILIES: tuple[Family, ...] = ("separate", "joint")
Fusion = Literal["mean", "weighted", "gated", "concat", "attention"]


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


class CaptionConfig(Config):
    """How a captioning model is asked for the text of photos that have none."""

    prompt: str | None = Field(
        None,
        description="What the model is asked: a question for one with a chat template ('Describe this photo in one "
        "sentence.' by default), else the beginning of the caption or the name of the task; most captioners need none.",
    )
    max_tokens: int = Field(40, ge=1, le=1024, description="Most tokens of a caption.")
    shard_size: int = Field(256, ge=1, description="Photos in one shard of captions (resume unit).")


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
    captioner: str | None = Field(
        None,
        description="Text for people whom neither of these describes: hf:ID_OR_FOLDER of an image-captioning model, "
        "which describes their photos. Without it, and without --captions, they get the neutral template.",
    )
    caption: CaptionConfig = Field(default=CaptionConfig(), description="How the captioner is asked.")
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

    @model_validator(mode="after")
    def _captions_of_people_are_no_ground_truth(self) -> Self:
        if self.dataset == "flickr8k" and self.captioner:
            raise ValueError("a captioner writes text for emotion datasets; Flickr8k's captions are its own")
        return self


class CardConfig(Config):
    """The dataset card that every ingestion leaves."""

    samples: int = Field(
        24, ge=0, le=300, description="Samples shown on the dataset card, evenly spaced over each split."
    )


WRAPPERS = ("mirror", "meanmax", "regions", "tokens")
"""What may stand in front of an encoder's name: other views or another pooling, with the same weights."""


def bare_name(encoder: str) -> str:
    """An encoder's name without what stands in front of it."""
    wrapper, _, inner = encoder.partition(":")
    return bare_name(inner) if wrapper in WRAPPERS else encoder


class EncoderConfig(Config):
    """The frozen encoders that turn pixels and text into features."""

    image: str = Field(
        "mirror:packaged:efficientnet_lite2",
        description="packaged:efficientnet_lite0|efficientnet_lite2, torchvision:ARCH@WEIGHTS_FILE, "
        "places365:FILE, hf:ID_OR_FOLDER, or adapted:ADAPTER (what mmer finetune made); mirror: in front averages every "
        "image with its mirror image; regions: in front of all gives 4 x 4 regions, which a captioned dataset's model "
        "pools by learned attention.",
    )
    image_size: int | None = Field(
        None,
        ge=32,
        le=1024,
        description="Input side in pixels of the image encoder; its native side when not given, 224 for packaged: "
        "ones.",
    )
    text: str = Field(
        "meanmax:packaged:all-MiniLM-L6-v2",
        description="packaged:all-MiniLM-L6-v2, hf:ID_OR_FOLDER, or adapted:ADAPTER; meanmax: in front gives mean and "
        "maximum over the tokens; tokens: in front gives the first 32, which a captioned dataset's model pools by "
        "learned attention.",
    )
    shard_size: int = Field(
        1024, ge=16, description="Images or texts in one shard of features (resume unit)."
    )

    @model_validator(mode="before")
    @classmethod
    def _packaged_read_prepared_images(cls, fields: Any) -> Any:
        """Convolutions take any side, so by default that of the prepared images; most transformers take but one."""
        if not isinstance(fields, dict) or fields.get("image_size") is not None:
            return fields
        name = bare_name(str(fields.get("image", cls.model_fields["image"].default)))
        return fields | ({"image_size": 224} if name.startswith("packaged:") else {})

    def bare(self) -> "EncoderConfig":
        """The same encoders without what stands in front of their names."""
        return self.model_copy(update={"image": bare_name(self.image), "text": bare_name(self.text)})


class PromptConfig(Config):
    """How a dual encoder is asked for emotions without any training."""

    template: str = Field(
        "a photo of a person who feels {label}",
        description="Text that stands for a category; {label} becomes its name in small letters.",
    )
    scores: Literal["softmax", "sigmoid"] = Field(
        "softmax",
        description="'softmax': categories compete for a photo, as in CLIP; 'sigmoid': each is judged alone, as in "
        "SigLIP.",
    )

    @model_validator(mode="after")
    def _template_asks_for_the_label(self) -> Self:
        if "{label}" not in self.template:
            raise ValueError("the template of a prompt must hold {label}")
        return self


class ModelConfig(Config):
    """The trained part: projections and heads on top of frozen features."""

    family: Family = Field(
        "joint",
        description="'separate': a space per modality; 'joint': one shared latent space; 'zero-shot': no training, "
        "the two towers of a dual encoder as they are.",
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
    fusion: Fusion = Field(
        "mean",
        description="How the joint emotion model fuses the streams' embeddings: their mean, a mean weighted by "
        "stream, weighted anew for every sample (gated), a map of all side by side, or attention.",
    )
    start: Literal["random", "zero-shot"] = Field(
        "random",
        description="Joint retrieval on a dual encoder: 'zero-shot' starts from the towers' own similarity, with their "
        "width as embedding, and learns what to add to it.",
    )
    prompts: PromptConfig = Field(
        default=PromptConfig(), description="How the zero-shot family reads emotions."
    )

    @model_validator(mode="after")
    def _starts_in_the_towers_space(self) -> Self:
        if self.start == "zero-shot" and self.embedding is not None:
            raise ValueError("a start from zero-shot has the width of the towers; leave out the embedding")
        return self

    def width(self, task: str) -> int:
        """Embedding width for a task ('emotion' or 'retrieval'): ``D``, or that of one of its heads."""
        if self.embedding is not None:
            return self.embedding
        if self.family == "separate":
            return 256
        return 128 if task == "emotion" else 512

    def head_count(self, task: str) -> int:
        """Heads of the embedding for a task; only joint retrieval has several, and not in the towers' own space."""
        several = task == "retrieval" and self.family == "joint" and self.start == "random"
        return self.heads if several else 1

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
    category_weights: Literal["mean", "static", "dynamic"] = Field(
        "dynamic",
        description="Weights of the categories in weighted_mse: all the same, or more for the rare ones of "
        "the training split (static) or of the batch (dynamic).",
    )
    contrastive: Literal["infonce", "siglip", "triplet", "cosine_margin"] = Field(
        "infonce", description="Objective that aligns image and text."
    )
    temperature: float | None = Field(
        None,
        ge=0.01,
        description="Temperature of the contrastive objective, held all through training; learned when not given.",
    )
    hardness: float = Field(
        0.0,
        ge=0,
        description="Captioned datasets, infonce: the closer a negative, the more it counts, by the power of this; "
        "0 for all the same.",
    )
    continuous_weight: float = Field(0.5, ge=0, description="Weight of the continuous objective.")
    contrastive_weight: float = Field(
        0.1, ge=0, description="Weight of image-text alignment in the joint emotion model."
    )
    modality_dropout: float = Field(
        0.15,
        ge=0,
        lt=1,
        description="The joint emotion model reads every training batch twice, whole and with streams missing: "
        "this is the share of samples that lose a stream, each stream by its own draw and never all. 0 for once.",
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="Parts in which a batch is computed, for less memory at a time; contrastive objectives then "
        "contrast within a part.",
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


class FineTuneConfig(Config):
    """Adapting an encoder's own weights to a dataset, before its features are cached."""

    method: Literal["lora", "last"] = Field(
        "lora",
        description="'lora': low-rank additions to the attention (Hu et al. 2021); 'last': the last block and what "
        "comes after it.",
    )
    towers: Literal["both", "image", "text"] = Field(
        "both", description="Encoders to adapt; the other stays as it is."
    )
    rank: int = Field(8, ge=1, description="Rank of the additions of lora.")
    alpha: float = Field(16.0, gt=0, description="The additions of lora are scaled by alpha / rank.")
    targets: tuple[str, ...] = Field(
        (),
        description="Names of the linear layers that lora adds to; by default an attention's queries and values.",
    )
    epochs: int = Field(
        3, ge=1, description="Passes over the training split; the best by validation is kept."
    )
    batch_size: int = Field(64, ge=2, description="Samples a step.")
    learning_rate: float = Field(1e-4, gt=0, description="Peak learning rate of AdamW (cosine decay).")
    weight_decay: float = Field(1e-2, ge=0, description="Decoupled weight decay.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of all steps with a linear warm-up.")
    seed: int = Field(0, ge=0, description="Seed of initialisation, order and choice of captions.")

    def training(self) -> TaskTraining:
        """The same as parameters of the training loop."""
        fields = self.model_dump(
            include={"epochs", "batch_size", "learning_rate", "weight_decay", "warmup", "seed"}
        )
        return TaskTraining(**fields, patience=self.epochs)


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


class SearchConfig(Config):
    """Few-pixel attacks on an image that a model reads, and what counts as success."""

    attacks: tuple[AttackName, ...] = Field(
        ("de", "random"),
        min_length=1,
        description="'de': differential evolution (Su et al. 2019); 'sparse-rs': random search over sets of pixels "
        "(Croce et al. 2022); 'pixle': copies of the image's own pixels (Pomponi et al. 2022); 'corner': the best "
        "single pixels combined (Croce & Hein 2019); 'exhaustive': one pixel, every place and corner colour that "
        "the budget pays; 'random': the random-pixel control.",
    )
    pixels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 5), min_length=1, description="How many pixels (K) may change; one curve point each."
    )
    stream: Literal["context", "body", "photo"] = Field(
        "context",
        description="What is attacked: an image as the model reads it, 'context' or 'body', while text and the other "
        "stay as they are; or the 'photo' itself, whose pixels reach both through cropping and resizing.",
    )
    budget: int = Field(400, ge=1, description="Most queries to the victim per image, attack and K.")
    population: int = Field(50, ge=4, description="Population of differential evolution (400 in the paper).")
    original: bool = Field(
        False,
        description="Differential evolution with the parameters of its paper: 400 members, 100 generations.",
    )
    criterion: EmotionCriterion = Field(
        "dominant",
        description="An emotion model is fooled when: 'dominant': its dominant emotion changes; 'target': 'category' "
        "becomes the dominant one; 'top': any of the first 'top_emotions' changes; 'labels': any category appears or "
        "goes; 'suppress', 'appear': 'category' goes, appears; 'shift': the rating 'dimension' moves by 'tau'.",
    )
    category: str | None = Field(None, description="Emotion that the criterion is about.")
    top_emotions: int = Field(3, ge=1, description="How many emotions the criterion 'top' looks at.")
    dimension: str = Field("valence", description="Rating that the criterion 'shift' looks at.")
    tau: float = Field(1.0, gt=0, description="Least movement for 'shift', in points of the rating.")
    direction: Literal["either", "up", "down"] = Field("either", description="Way to move for 'shift'.")
    match_criterion: MatchCriterion = Field(
        "image-to-text",
        description="A retrieval model is fooled when: 'image-to-text': no own caption is in the first 'top' for the "
        "image; 'text-to-image': the image is in the first 'top' for no own caption; 'both': both; 'caption-rises', "
        "'image-rises': the first caption of the sample 'target' is found by the image, finds the image.",
    )
    target: str | None = Field(None, description="Id of the sample whose caption a targeted attack is after.")
    top: int = Field(10, ge=1, description="How deep a match may stand in retrieval and still be found.")
    seed: int = Field(0, ge=0, description="Seed of the choice of images and of every search.")

    @model_validator(mode="after")
    def _criteria_know_their_target(self) -> Self:
        if self.criterion in ("target", "suppress", "appear") and self.category is None:
            raise ValueError(f"the criterion {self.criterion!r} is about one emotion: name it as category")
        if self.match_criterion in ("caption-rises", "image-rises") and self.target is None:
            raise ValueError(
                f"the criterion {self.match_criterion!r} is about a caption: give the id of its sample as target"
            )
        return self


class AttackConfig(SearchConfig):
    """Few-pixel attacks on many images of a dataset."""

    stream: Literal["context", "body"] = Field(
        "context",
        description="Image that an emotion model is attacked through; text and the other stay as they are.",
    )
    images: int = Field(50, ge=1, description="Images to attack, drawn at random from the split.")
    split: Split = Field("test", description="Split to attack.")
    shard_size: int = Field(10, ge=1, description="Images in one shard; shards run in parallel and resume.")

    def aim(self) -> dict[str, Any]:
        """What is attacked and what counts as success, without how: by which attacks, how often, on which images."""
        how = {"attacks", "pixels", "budget", "population", "original", "images", "shard_size", "seed"}
        return self.model_dump(exclude=how)


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
    compile: bool = Field(
        False,
        description="Compile training steps with torch.compile; without a compiler mmer says so and goes on.",
    )
    logs: Path | None = Field(
        None,
        description="Folder for training curves and throughput as TensorBoard reads them, one folder in it a "
        "training; none are kept without it (history.csv in the model has the curves in any case).",
    )
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
    card: CardConfig = Field(default=CardConfig(), description="Dataset card.")
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
        """The splits that this job cannot do without."""
        if self.model.family == "zero-shot":
            return {self.evaluation.split}
        return {"train", "val", self.evaluation.split}


class SeedsJob(TrainJob):
    """Train and evaluate with one or several seeds; all else is the same."""

    seeds: int = Field(
        1,
        ge=1,
        description="Trainings, with the seeds from training.seed on; several print mean and standard deviation.",
    )


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


class FineTuneJob(Config):
    """Adapt the encoders to one dataset; the result is an encoder by the name ``adapted:KEY``."""

    dataset: Annotated[IngestConfig, Parameter(name="*")] = Field(
        default=IngestConfig(), description="The dataset."
    )
    prepared: str | None = Field(
        None, description="Key of prepared arrays in the store, instead of the dataset."
    )
    encoders: EncoderConfig = Field(default=EncoderConfig(), description="Encoders to adapt.")
    finetune: FineTuneConfig = Field(default=FineTuneConfig(), description="How to adapt them.")
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")


class EvaluateJob(Config):
    """Evaluate a model that is there on any split of any dataset, or a dual encoder without training."""

    dataset: Annotated[IngestConfig, Parameter(name="*")] = Field(
        default=IngestConfig(),
        description="The dataset; when none is given, the one that the model was trained on.",
    )
    prepared: str | None = Field(
        None, description="Key of prepared arrays in the store, instead of the dataset."
    )
    model: str | None = Field(
        None, description="Key of the model; the newest one that fits the dataset by default."
    )
    zero_shot: str | None = Field(
        None,
        description="A dual encoder to evaluate without any training, instead of a model: hf:ID_OR_FOLDER.",
    )
    prompts: PromptConfig = Field(default=PromptConfig(), description="How zero_shot reads emotions.")
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="Metrics.")
    runtime: Runtime = Field(default=RuntimeConfig(), description="Where and how fast.")

    @model_validator(mode="after")
    def _one_thing_is_evaluated(self) -> Self:
        if self.model and self.zero_shot:
            raise ValueError("give either the key of a model or a dual encoder for zero-shot, not both")
        return self


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
