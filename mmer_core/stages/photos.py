"""Raw dataset -> the photos of the samples that an attack changes as files, checked against the prepared arrays."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmer_core.attacks.photo_victim import Photos
from mmer_core.config import AttackConfig, IngestConfig
from mmer_core.datasets.crops import Crop, crop_person
from mmer_core.datasets.formats import FORMATS
from mmer_core.datasets.ingest import read_raw
from mmer_core.datasets.photos import Photo, photo_reader
from mmer_core.datasets.pixels import UnreadableImageError
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.datasets.proportions import photo_size
from mmer_core.datasets.sample import Sample
from mmer_core.errors import DatasetError
from mmer_core.record import Record
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.identity import key_config, raw_identity
from mmer_core.store import ArtifactKey, Manifest, Workspace
from mmer_core.task_kinds.measured import names_of_streams

PHOTOS_FILE = "photos.json"
_MOST_PIXELS = 2**24
"""Of photos in memory together; a search may keep some 50 bytes for each pixel."""


class PhotosSummary(Record):
    """Photos, the samples that they show, their protocol, and their size in pixels at the median over the samples."""

    version: Literal[1] = 1
    photos: int
    samples: int
    protocol: str
    height: int
    width: int


def attacked_rows(config: AttackConfig, split: PreparedSplit) -> list[int]:
    """The samples to attack, drawn at random from those with an image, the same for every model."""
    generator = np.random.default_rng(config.seed)
    shown = split.image_sample
    return np.sort(generator.choice(shown, size=min(config.images, len(shown)), replace=False)).tolist()


def _identity(config: AttackConfig, dataset: IngestConfig) -> Mapping[str, Any]:
    """Of the dataset, what finding and reading the photos takes; of the attack, which samples it draws."""
    raw = raw_identity(dataset)
    read = ("dataset", "synthetic", *FORMATS[dataset.dataset].Options.model_fields)
    return {
        "raw": raw["raw"],
        "dataset": {name: value for name, value in key_config(raw["config"]).items() if name in read},
        "config": {name: getattr(config, name) for name in ("split", "images", "seed")},
    }


@stage("photos", version=1, identity=_identity)
def collect_photos(
    context: Context, workspace: Workspace, config: AttackConfig, dataset: IngestConfig, prepared: ArtifactKey
) -> PhotosSummary:
    """The files of the photos to attack, so that shards and reports find them wherever they run.

    Files: ``photos/<number>``, the photos as they were found; ``photos.json``, by row of the split the file and the box
    that is read as the person, in pixels of the photo.

    Args:
        dataset: That ``prepared`` was made of.

    Raises:
        DatasetError: A photo is missing, cannot be read, or is no more what was prepared.
    """
    split = Prepared.open(context.parts(prepared)).split(config.split)
    raw = read_raw(dataset, workspace.scratch)
    samples = {sample.id: sample for sample in raw.by_split()[config.split]}
    reader = photo_reader(raw.protocol)
    (workspace.out / "photos").mkdir()
    files: dict[Path, str] = {}
    boxes: dict[str, dict[str, Any]] = {}
    sizes = []
    rows = attacked_rows(config, split)
    for done, row in enumerate(rows, start=1):
        sample = samples.get(split.ids[row])
        if sample is None:
            raise DatasetError(
                f"{raw.name} has no sample {split.ids[row]!r} in its {config.split}, which {prepared} has: give the dataset "
                "that it was made of, with the same settings (--dataset, --root and its options)"
            )
        assert sample.image  # `attacked_rows` draws no other
        file = files.get(sample.image) or _copy(sample, sample.image, workspace.out, files)

        def check(photo: Photo | UnreadableImageError, sample: Sample = sample, row: int = row) -> Crop:
            return _checked(photo, sample, row, split, raw.protocol)

        (crop,) = reader.each([workspace.out / file], check)
        boxes[str(row)] = {"file": file, "box": crop.pixels}
        sizes.append(crop.size)
        context.progress(done, len(rows), "photos")
    (workspace.out / PHOTOS_FILE).write_text(json.dumps(boxes, indent=0) + "\n")
    width, height = np.median(sizes, axis=0).round().astype(int).tolist()
    return PhotosSummary(
        photos=len(files), samples=len(rows), protocol=raw.protocol, height=height, width=width
    )


def load_photos(context: Context, photos: ArtifactKey, rows: Sequence[int]) -> Photos:
    """The decoded photos of some rows of the split."""
    artifact = context.artifact(photos)
    known = json.loads((artifact.folder / PHOTOS_FILE).read_text())
    reader = photo_reader(artifact.manifest.summary_as(PhotosSummary).protocol)
    found = [known[str(row)] for row in rows]
    pixels = reader.each([artifact.folder / one["file"] for one in found], _pixels)
    return Photos(pixels, [tuple(one["box"]) for one in found], reader.protocol)


def rows_together(split: PreparedSplit, rows: Sequence[int]) -> Iterator[list[int]]:
    """Cut rows so that their photos fit into memory together: many of usual size, one of a very large one."""
    part: list[int] = []
    total = 0
    for row in rows:
        width, height = photo_size(split, row)
        if part and total + width * height > _MOST_PIXELS:
            yield part
            part, total = [], 0
        part.append(row)
        total += width * height
    if part:
        yield part


def attacked_pixels(context: Context, robustness: Manifest) -> str:
    """Which pixels the attacks of a ``robustness`` artifact changed, in words."""
    photos = robustness.inputs.get("photos")
    if photos is None:
        config = robustness.settings_as(AttackConfig)
        prepared = Prepared.open(context.parts(ArtifactKey.parse(robustness.inputs["prepared"])))
        names = names_of_streams(prepared.split(config.split))
        image = names.get(config.stream, f"{config.stream} image")
        return f"pixels of the {image}, as the model reads it"
    of = context.store.manifest(ArtifactKey.parse(photos)).summary_as(PhotosSummary)
    return f"pixels of the photo file, {of.height} x {of.width} at the median"


def _pixels(photo: Photo | UnreadableImageError) -> np.ndarray:
    if isinstance(photo, UnreadableImageError):
        raise DatasetError(f"a photo in the store cannot be read: {photo}; check it: mmer artifacts verify")
    return photo.pixels[..., :3].copy()


def _copy(sample: Sample, image: Path, folder: Path, files: dict[Path, str]) -> str:
    files[image] = file = f"photos/{len(files):07d}"
    try:
        shutil.copyfile(image, folder / file)
    except OSError as error:
        raise DatasetError(
            f"cannot read the photo {image} of sample {sample.id!r}: {error.strerror or error}; put it back, or ingest "
            "and train anew without it"
        ) from None
    return file


def _checked(
    photo: Photo | UnreadableImageError, sample: Sample, row: int, split: PreparedSplit, protocol: str
) -> Crop:
    """What of the photo is read, where it gives the prepared arrays bit for bit."""
    fault = (
        f"{photo}"
        if isinstance(photo, UnreadableImageError)
        else "its pixels are no more those that were prepared"
    )
    if not isinstance(photo, UnreadableImageError):
        crop = crop_person(sample, photo.size, protocol)
        if isinstance(crop, Crop) and all(
            np.array_equal(
                photo.square(images.shape[1], crop.pixels if stream == "body" else None),
                images[split.image_rows(row)],
            )
            for stream in split.streams
            for images in [split.images(stream)]
        ):
            return crop
    raise DatasetError(
        f"the photo {sample.image} of sample {sample.id!r} cannot be attacked: {fault}; put the file back that was "
        "ingested, give the same settings of the dataset, or ingest and train anew"
    )
