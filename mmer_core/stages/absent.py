"""Samples without an image or without a text: what jobs can do with them, said before any work."""

from mmer_core.config import ARCHITECTURES, Family
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.errors import ConfigError
from mmer_core.stages.context import Context
from mmer_core.store import ArtifactKey
from mmer_core.task_kinds import kind_of

_ALONE = "texts alone can be trained on, probed, evaluated, predicted and reported"


def streams_of(split: PreparedSplit) -> tuple[str, ...]:
    """What samples of a split have: image streams, and ``text``."""
    return (*split.streams, *(("text",) if split.texts else ()))


def has_streams_for(context: Context, family: Family, prepared: ArtifactKey) -> bool:
    """Whether a dataset has something that models of a family read."""
    dataset = Prepared.open(context.parts(prepared))
    split = dataset.split(dataset.card.splits[0])
    if family == "zero-shot":
        return bool(kind_of(dataset.card.task).zero_shot_streams(split))
    reads = ARCHITECTURES[family].reads
    return reads is None or not set(reads).isdisjoint(streams_of(split))


def check_family(context: Context, prepared: ArtifactKey, family: Family) -> None:
    """Raises `ConfigError` if a dataset has nothing that models of a family read."""
    if has_streams_for(context, family, prepared):
        return
    dataset = Prepared.open(context.parts(prepared))
    lacks = "text" if family == "text-only" else "image"
    other = "image-only" if lacks == "text" else "text-only"
    raise ConfigError(
        f"no sample of {dataset.card.name} has {'a' if lacks == 'text' else 'an'} {lacks}, which {family} models read; give "
        f"separate, joint or {other} as model.family"
    )


def has_images(context: Context, prepared: ArtifactKey, split: str) -> bool:
    """Whether any sample of a split, or of all splits for ``all``, has an image."""
    dataset = Prepared.open(context.parts(prepared))
    names = dataset.card.splits if split == "all" else (split,)
    return any(len(dataset.split(name).image_sample) for name in names)


def check_has_images(context: Context, prepared: ArtifactKey, split: str, use: str) -> None:
    """Raises `ConfigError` if no sample of a split has an image.

    Args:
        use: What there is nothing of then, as in ``pixel to attack``.
    """
    if not has_images(context, prepared, split):
        name = Prepared.open(context.parts(prepared)).card.name
        where = name if split == "all" else f"{split} in {name}"
        raise ConfigError(f"no sample of {where} has an image, so there is no {use}; {_ALONE}")


def check_every_image(context: Context, prepared: ArtifactKey, splits: tuple[str, ...], what: str) -> None:
    """Raises `ConfigError` if a sample of these splits has no image.

    Args:
        what: Needs one of each, as in ``poisons change images``.
    """
    dataset = Prepared.open(context.parts(prepared))
    for split in map(dataset.split, splits):
        if split.without_image:
            raise ConfigError(
                f"{what}, and {split.without_image:,} of the {len(split):,} samples of {split.split} in {dataset.card.name} have "
                "none; leave them out of the dataset"
            )


def left_out(split: PreparedSplit, of: str) -> str:
    """How many samples without an image are left out of something, in a sentence; empty where every sample has one."""
    if not split.without_image:
        return ""
    return f"{split.without_image:,} of the {len(split):,} samples of {split.split} have no image and are left out of {of}."
