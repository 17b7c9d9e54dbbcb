"""Configuration of datasets: where they are, how they are read, and what to draw if there are none."""

import inspect
from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, SerializerFunctionWrapHandler, create_model, model_serializer, model_validator

from mmer_core.base_config import BY_CONTENT, SPEED, Config
from mmer_core.datasets.formats import FORMATS, Format
from mmer_core.datasets.manifest_rows import FORMATS as MANIFESTS
from mmer_core.datasets.protocols import NOTEBOOK
from mmer_core.datasets.synthetic_config import SyntheticConfig
from mmer_core.paths import Place


class CaptionConfig(Config):
    """How a captioning model is prompted for texts of photos that have none."""

    prompt: str | None = Field(
        None,
        description="Prompt: a question for models with a chat template ('Describe this photo in one "
        "sentence.' by default), otherwise the beginning of the caption, or a task; most captioners need none.",
    )
    max_tokens: int = Field(40, ge=1, le=1024, description="Maximal number of tokens of a caption.")
    shard_size: Annotated[int | None, SPEED] = Field(
        None,
        ge=1,
        description="Photos in one shard of captions (resume unit); by default as many as take 20 to 40 seconds.",
    )


C = TypeVar("C", bound=Config)


def _with_formats(config: type[C]) -> type[C]:
    """The configuration with the choice of a format, and the options of all formats as fields.

    Raises:
        TypeError: Two options, or an option and another field, have the same name.
    """
    options = [each.Options for each in FORMATS.values() if each.Options.model_fields]
    # An option that several formats inherit is one option.
    declared = {(name, _declares(each, name)) for each in options for name in each.model_fields}
    names = chain(config.model_fields, (name for name, _ in declared))
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise TypeError(f"several options of dataset formats are called {', '.join(twice)}: rename one")
    about = f"{config.model_fields['dataset'].description} {FORMATS.listed}"
    chosen: Any = Literal[tuple(FORMATS)]
    return create_model(
        config.__name__,
        __base__=(*reversed(options), config),  # type: ignore[arg-type]
        __module__=config.__module__,
        __doc__=config.__doc__,
        dataset=(chosen, Field("emotic", description=about)),
    )


def _declares(options: type[Config], name: str) -> type:
    return next(kind for kind in options.__mro__ if name in inspect.get_annotations(kind))


@_with_formats
class IngestConfig(Config):
    """Raw dataset to prepared arrays."""

    dataset: str = Field("emotic", description="Layout of the raw dataset.")
    root: Annotated[Place | None, BY_CONTENT] = Field(
        None,
        description="Folder of the raw dataset (unpacked, or with its archives), a .zip or .tar archive of it, or the "
        "manifest file, which needs no --dataset. Without it mmer draws a synthetic one in the same layout.",
    )
    synthetic: SyntheticConfig = Field(
        default=SyntheticConfig(), description="The dataset to draw when root is not given."
    )
    captioner: Annotated[str | None, BY_CONTENT] = Field(
        None,
        description="Text for people without a caption from elsewhere: hf:ID_OR_FOLDER of an image-captioning model, "
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

    prepared_format: Annotated[Literal["npy", "webp"], SPEED] = Field(
        "npy",
        description="How prepared images are kept: npy, memory-mapped arrays; webp, each image compressed without loss to two "
        "fifths, and a millisecond to read. Results are the same; what is in the store already stays as it is.",
    )

    @property
    def format(self) -> Format:
        """The format, with its options."""
        chosen = FORMATS[self.dataset]
        return chosen(**{name: getattr(self, name) for name in chosen.Options.model_fields})

    @model_validator(mode="before")
    @classmethod
    def _manifest_by_its_name(cls, fields: Any) -> Any:
        """A table as root is a manifest, where no format is named."""
        if not isinstance(fields, Mapping) or "dataset" in fields:
            return fields
        is_table = str(fields.get("root")).lower().endswith(tuple(MANIFESTS))
        return {**fields, "dataset": "manifest"} if is_table else fields

    @model_validator(mode="before")
    @classmethod
    def _splits_of_the_protocol(cls, fields: Any) -> Any:
        """The notebooks' arrays have the notebooks' splits."""
        if isinstance(fields, Mapping) and fields.get("protocol") == NOTEBOOK:
            return {"splits": NOTEBOOK, **fields}
        return fields

    @model_validator(mode="after")
    def _has_the_protocol(self) -> Self:
        options, has = self.format.options, FORMATS[self.dataset].protocols
        protocol = getattr(options, "protocol", "")
        if has and protocol not in has:
            raise ValueError(f"{self.dataset} has no protocol {protocol}: it has {' and '.join(has)}")
        if protocol == NOTEBOOK and options.splits != NOTEBOOK:  # type: ignore[attr-defined]
            raise ValueError("the protocol notebook has splits of its own: leave --splits out")
        return self

    @model_validator(mode="after")
    def _can_be_had(self) -> Self:
        chosen = FORMATS[self.dataset]
        if self.root is None and chosen.draw is Format.draw:
            raise ValueError(
                f"mmer draws no dataset in the format {self.dataset}: give --root FILE_OR_FOLDER"
            )
        if self.captioner and chosen.captioned:
            raise ValueError(
                f"a captioner writes text for labelled datasets; the captions of {self.dataset} are its own"
            )
        return self

    @model_serializer(mode="wrap")
    def _of_this_format(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Options of other formats decide nothing, so they are not written out."""
        own = FORMATS[self.dataset].Options.model_fields
        others = {name for each in FORMATS.values() for name in each.Options.model_fields} - {*own}
        return {name: value for name, value in handler(self).items() if name not in others}


class DatasetCardConfig(Config):
    """The dataset card that every ingestion writes."""

    samples: int = Field(
        24, ge=0, le=300, description="Samples shown on the dataset card, evenly spaced over each split."
    )
