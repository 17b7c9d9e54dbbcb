"""Datasets: where they are, how they are read, and what is drawn where there are none."""

from typing import Literal, Self

from pydantic import Field, model_validator

from mmer_core.base_config import Config
from mmer_core.paths import Place


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
    root: Place | None = Field(
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
    captions: Place | None = Field(
        None,
        description="EMOTIC text: a CSV with the columns folder, filename, caption and optionally person "
        "(0-based). People without a row get a neutral template that uses no label.",
    )
    coco_captions: tuple[Place, ...] = Field(
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


class DatasetCardConfig(Config):
    """The dataset card that every ingestion leaves."""

    samples: int = Field(
        24, ge=0, le=300, description="Samples shown on the dataset card, evenly spaced over each split."
    )
