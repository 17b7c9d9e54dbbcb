"""Configuration of datasets: where they are, how they are read, and what to draw if there are none."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mmer_core.base_config import BY_CONTENT, SPEED, Config
from mmer_core.paths import Place


class SyntheticConfig(Config):
    """The miniature dataset that mmer draws if no folder is given."""

    images: int = Field(1200, ge=30, description="Photos to draw, over all splits (70/10/20 %).")
    seed: int = Field(0, ge=0, description="Seed of the drawing; the same seed draws the same files.")
    shuffle_labels: bool = Field(
        False,
        description="Shuffle labels (or captions) among samples: a model must fall back to chance.",
    )


class CaptionConfig(Config):
    """How a captioning model is prompted for texts of photos that have none."""

    prompt: str | None = Field(
        None,
        description="Prompt: a question for models with a chat template ('Describe this photo in one "
        "sentence.' by default), otherwise the beginning of the caption, or a task; most captioners need none.",
    )
    max_tokens: int = Field(40, ge=1, le=1024, description="Maximal number of tokens of a caption.")
    shard_size: Annotated[int, SPEED] = Field(
        256, ge=1, description="Photos in one shard of captions (resume unit)."
    )


class IngestConfig(Config):
    """Raw dataset to prepared arrays."""

    dataset: Literal["emotic", "flickr8k", "manifest"] = Field(
        "emotic",
        description="Layout of the raw dataset; 'manifest' is any dataset listed in a CSV, JSONL or Parquet file.",
    )
    root: Annotated[Place | None, BY_CONTENT] = Field(
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
    captions: Annotated[Place | None, BY_CONTENT] = Field(
        None,
        description="EMOTIC text: a CSV with the columns folder, filename, caption and optionally person "
        "(0-based). People without a row get a neutral template that uses no label.",
    )
    coco_captions: Annotated[tuple[Place, ...], BY_CONTENT] = Field(
        (),
        description="EMOTIC text: COCO's captions_*.json files, for people in COCO photos that the CSV does not "
        "cover; joined by the COCO id in the file name.",
    )
    captioner: Annotated[str | None, BY_CONTENT] = Field(
        None,
        description="Text for people without a caption from either: hf:ID_OR_FOLDER of an image-captioning model, "
        "which describes their photos. Without it, and without --captions, they get the neutral template.",
    )
    caption: Annotated[CaptionConfig, BY_CONTENT] = Field(
        default=CaptionConfig(), description="How the captioner is prompted."
    )
    vocabulary_least: int = Field(
        5,
        ge=1,
        description="Captioned datasets: how often a word must occur in the training captions to get its own index "
        "in vocab.json; all others count as unknown words.",
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


class DatasetCardConfig(Config):
    """The dataset card that every ingestion writes."""

    samples: int = Field(
        24, ge=0, le=300, description="Samples shown on the dataset card, evenly spaced over each split."
    )
