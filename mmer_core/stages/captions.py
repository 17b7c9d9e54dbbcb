"""Raw dataset -> photos that nothing describes -> captions of a model, shard by shard -> one file for `ingest`."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from mmer_core.captioning import captioner_identity, check_captioner
from mmer_core.config import SPEED, IngestConfig
from mmer_core.datasets.formats import FORMATS
from mmer_core.datasets.ingest import read_raw
from mmer_core.datasets.model_captions import PROVENANCE, photos_to_caption, read_captions, write_captions
from mmer_core.datasets.pixels import UnreadableImageError, read_rgb
from mmer_core.datasets.sample import Text
from mmer_core.errors import ConfigError, DatasetError, listed
from mmer_core.record import Record
from mmer_core.stages.context import Context
from mmer_core.stages.cutting import size_by_cost
from mmer_core.stages.declaration import Sharded, Shards, stage
from mmer_core.stages.identity import key_config, raw_identity
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.threads import shared_cores
from mmer_core.usage import Usage, leg

CAPTIONS_FILE = "captions.csv"
PHOTOS_FILE = "photos.json"
_FIRST = 16  # photos whose cost says how many a shard has
_IMAGES_PER_CAPTION = 8
"""A caption takes many passes of a larger model than an encoder: fewer photos fit into memory together."""


class CaptionPlanSummary(Record):
    """Photos to caption, and whether they are stored in the plan."""

    version: Literal[1] = 1
    photos: int
    stored: bool


class CaptionsSummary(Record):
    """Photos, and how many got a caption, could not be read, or got an empty answer."""

    version: Literal[1] = 1
    photos: int
    captions: int
    unreadable: int
    empty: int


@dataclass(frozen=True)
class CaptionShard:
    """Photos ``start:stop`` of a plan, and what decides their captions: the unit of parallel work and of resume.

    Attributes:
        until: The photos ``stop:until`` are cut into shards by what this one costs.
    """

    start: int
    stop: int
    captioner: Mapping[str, Any]
    until: Annotated[int, SPEED] = 0

    def cut(self, size: int) -> list["CaptionShard"]:
        """The rest in shards."""
        starts = range(self.stop, self.until, size)
        return [replace(self, start=at, stop=min(at + size, self.until), until=0) for at in starts]


def _plan_identity(config: IngestConfig) -> Mapping[str, Any]:
    """Of the configuration, what finding and reading the photos takes."""
    raw = raw_identity(config)
    read = ("dataset", "synthetic", *FORMATS[config.dataset].Options.model_fields)
    return {
        **raw,
        "config": {name: value for name, value in key_config(raw["config"]).items() if name in read},
    }


@stage("caption-plan", version=4, identity=_plan_identity)
def plan_captions(context: Context, workspace: Workspace, config: IngestConfig) -> CaptionPlanSummary:
    """List the photos that no source but a template describes.

    File: ``photos.json``, the photos' names in the dataset and where they lie: below the dataset's folder, or,
    when they had to be drawn or unpacked, in the artifact, so that this is done once and not by every shard.

    Raises:
        DatasetError: The raw dataset is missing, unreadable or not in its layout.
        EncoderError: The captioner is unknown or cannot be had.
    """
    check_captioner(_named(config))
    photos = photos_to_caption(read_raw(config, workspace.scratch))
    paths = list(photos.values())
    stored = any(path.is_relative_to(workspace.scratch) for path in paths)
    files = _store(paths, workspace.out) if stored else _below(paths, _base(config))
    rows = [{"name": name, "file": file} for name, file in zip(photos, files, strict=True)]
    (workspace.out / PHOTOS_FILE).write_text(json.dumps(rows, indent=0) + "\n")
    return CaptionPlanSummary(photos=len(rows), stored=stored)


def caption_shards(context: Context, config: IngestConfig, plan: ArtifactKey) -> list[CaptionShard]:
    """Cut a plan into shards; none where everybody has a text already."""
    count = context.store.manifest(plan).summary_as(CaptionPlanSummary).photos
    if not count:
        return []
    settings = {"prompt": config.caption.prompt, "max_tokens": config.caption.max_tokens}
    # Digested once for all shards: the weights of a captioner are large.
    captioner = {**captioner_identity(_named(config)), **settings}
    if size := config.caption.shard_size:
        return CaptionShard(0, 0, captioner, count).cut(size)
    return [CaptionShard(0, min(_FIRST, count), captioner, count)]


def rest_of_captions(shard: CaptionShard, usage: Callable[[], Usage | None]) -> list[CaptionShard]:
    """What is left of a plan, in shards of about equal time."""
    return shard.cut(size_by_cost(shard.stop - shard.start, usage())) if shard.stop < shard.until else []


def _by_captioner(shard: CaptionShard) -> Mapping[str, Any]:
    """Photos come by the plan; of the configuration the captioner is left, which the shard knows."""
    return {"config": None}


def _samples(context: Context, config: IngestConfig, plan: ArtifactKey, shard: CaptionShard) -> str:
    return listed([name for name, _ in _photos(context, config, plan)[shard.start : shard.stop]], "photo")


@stage(
    "caption-shard",
    version=4,
    title="caption {shard.start}",
    gpu=True,
    identity=_by_captioner,
    samples=_samples,
)
def caption_shard(
    context: Context, workspace: Workspace, config: IngestConfig, plan: ArtifactKey, shard: CaptionShard
) -> CaptionsSummary:
    """Captions of one shard; a photo that cannot be read gets none.

    Raises:
        DatasetError: The dataset's folder is not on this machine.
        EncoderError: The captioner cannot be loaded or asked.
    """
    photos = _photos(context, config, plan)[shard.start : shard.stop]
    with shared_cores(context.runtime.workers):
        captions = _describe(context, config, photos)
    provenance = f"{PROVENANCE}:{shard.captioner['captioner']}"
    written = [(name, Text(text, provenance)) for name, text in captions.items() if text]
    write_captions(workspace.out / CAPTIONS_FILE, written)
    return CaptionsSummary(
        photos=len(photos),
        captions=len(written),
        unreadable=len(photos) - len(captions),
        empty=len(captions) - len(written),
    )


def _captioner(shards: Shards) -> Mapping[str, Any]:
    return {"captioner": shards.plan[0].captioner}


@stage("captions", version=4, identity=_captioner)
def merge_captions(
    context: Context, workspace: Workspace, plan: ArtifactKey, shards: Shards
) -> CaptionsSummary:
    """All captions in one CSV, the same however the photos were cut into shards."""
    parts = [context.artifact(key) for _, key in shards]
    captions = (row for part in parts for row in read_captions(part.folder / CAPTIONS_FILE))
    write_captions(workspace.out / CAPTIONS_FILE, captions)
    counts = [part.manifest.summary_as(CaptionsSummary) for part in parts]
    names = ("photos", "captions", "unreadable", "empty")
    return CaptionsSummary(**{name: sum(getattr(one, name) for one in counts) for name in names})


CAPTIONING = Sharded("caption", caption_shards, caption_shard, merge_captions, rest_of_captions)


def load_captions(context: Context, captions: ArtifactKey) -> dict[str, Text]:
    """The captions of a ``captions`` artifact by photo."""
    return dict(read_captions(context.folder(captions) / CAPTIONS_FILE))


def _describe(context: Context, config: IngestConfig, photos: Sequence[tuple[str, Path]]) -> dict[str, str]:
    """Captions of the readable photos by name; an empty one where the model said nothing."""
    captioner = context.captioner(_named(config), config.caption.prompt, config.caption.max_tokens)
    captions: dict[str, str] = {}
    size = max(1, context.runtime.batch_size // _IMAGES_PER_CAPTION)
    for start in range(0, len(photos), size):
        batch = photos[start : start + size]
        read = {}
        for name, path in batch:
            try:
                read[name] = read_rgb(path)
            except UnreadableImageError:
                continue  # `ingest` puts its people into quarantine, with the reason
        with leg("model"):
            captions.update(zip(read, captioner.describe(list(read.values())), strict=True))
        context.progress(start + len(batch), len(photos), "photos")
    return captions


def _named(config: IngestConfig) -> str:
    if config.captioner is None:
        raise ConfigError("no captioner is given: give --captioner hf:ID_OR_FOLDER")
    return config.captioner


def _photos(context: Context, config: IngestConfig, plan: ArtifactKey) -> list[tuple[str, Path]]:
    artifact = context.artifact(plan)
    stored = artifact.manifest.summary_as(CaptionPlanSummary).stored
    # Photos of a dataset that is elsewhere would pass for unreadable ones, and the shard for done.
    if not stored and not (config.root and config.root.exists()):
        raise DatasetError(f"{config.root} is not on this machine: captions are written where the dataset is")
    base = artifact.folder if stored else _base(config)
    rows = json.loads((artifact.folder / PHOTOS_FILE).read_text())
    return [(row["name"], base / row["file"]) for row in rows]


def _base(config: IngestConfig) -> Path:
    """The folder that a dataset's photos lie in; unused where they are drawn or unpacked."""
    root = config.root or Path()
    return root if root.is_dir() else root.parent


def _below(paths: Sequence[Path], base: Path) -> list[str]:
    return [path.relative_to(base).as_posix() for path in paths]


def _store(paths: Sequence[Path], folder: Path) -> list[str]:
    """Copy photos into an artifact under numbers; one that is missing stays missing."""
    files = [f"photos/{number:07d}" for number, _ in enumerate(paths)]
    (folder / "photos").mkdir()
    for path, file in zip(paths, files, strict=True):
        if path.is_file():
            shutil.copyfile(path, folder / file)
    return files
