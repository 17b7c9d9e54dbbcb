"""Which photos and texts to read: a single one, photos in a folder, or those of a CSV list."""

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmer_core.confined import picture_limits
from mmer_core.datasets.boxes import box_fault, clamp
from mmer_core.datasets.cells import printable
from mmer_core.datasets.delimited import TABLES, Record, read_table
from mmer_core.datasets.photos import resized
from mmer_core.datasets.pixels import UnreadableImageError, read_rgb
from mmer_core.datasets.sample import Box
from mmer_core.datasets.values import is_given, number_of
from mmer_core.encoders import ImageEncoder
from mmer_core.errors import ConfigError, DatasetError
from mmer_core.text_lines import DAMAGED, read_lines

SUFFIXES = frozenset(chain.from_iterable(picture_limits.SUFFIXES.values()))
_CORNERS = ("x1", "y1", "x2", "y2")
_COLUMNS = ("photo", *_CORNERS, "text")


@dataclass(frozen=True)
class PhotoRequest:
    """A photo to read, or a text alone.

    Attributes:
        name: Its name in the result.
        path: None for a text alone, and for a photo that is no file.
        box: The person, in pixels; None for the whole photo, or for the people found by a detector.
        text: A text that belongs to the photo.
        error: Why it cannot be read, if the list already shows it.
        picture: The decoded photo, where it is no file.
    """

    name: str
    path: Path | None = None
    box: Box | None = None
    text: str | None = None
    error: str | None = None
    picture: Image.Image | None = None

    @property
    def pictured(self) -> bool:
        """Whether there is a photo."""
        return self.path is not None or self.picture is not None

    def decoded(self) -> Image.Image:
        """The photo in RGB, upright. Raises `DatasetError` if there is none, or it cannot be read."""
        if self.picture is not None:
            return self.picture.convert("RGB")
        if self.path is None:
            raise DatasetError(f"{self.name} has no photo; give one")
        return read_photo(self.path)


def listed_photos(path: Path, *, box: Box | None = None, text: str | None = None) -> list[PhotoRequest]:
    """The photos given by a path: a photo, a folder (recursively), or a list (``.csv``, ``.tsv``).

    A list has a header with the column ``photo`` (path, relative to the list's folder), ``text``, or both, and with photos
    optionally ``x1, y1, x2, y2`` (together); an empty cell means no photo, no text, or no box. A row that cannot be read, or
    has an invalid box, is kept with its error.

    Args:
        box, text: Box and text of a single photo.

    Raises:
        ConfigError: A box or a text is given for several photos.
        DatasetError: The folder has no photos, or the list cannot be read.
    """
    listing = is_list(path)
    if not os.path.isdir(path) and not listing:
        return [PhotoRequest(str(path), path, box, text)]
    if box is not None or text is not None:
        raise ConfigError(
            f"--box and --text go with one photo; list those of {path} in a CSV: photo,x1,y1,x2,y2,text"
        )
    return _from_list(path) if listing else _from_folder(path)


def is_list(path: Path) -> bool:
    """Whether a file is a list of photos, by its suffix."""
    return path.suffix.lower() in TABLES


def read_photo(path: Path) -> Image.Image:
    """Decode a photo to RGB, upright. Raises `DatasetError` if it cannot be read."""
    try:
        return read_rgb(path)
    except UnreadableImageError as error:
        cure = "give the path of a whole JPEG, PNG or other picture"
        raise DatasetError(f"cannot read the photo {path}: {error.with_cure(cure)}") from None


def box_inside(request: PhotoRequest, picture: Image.Image) -> Box:
    """The part of a request's box that is inside its photo. Raises `DatasetError` if it is empty."""
    assert request.box is not None
    if fault := box_fault(request.box):
        raise DatasetError(f"the box {request.box} of {request.path} {fault}")
    inside = clamp(request.box, picture.size)
    if inside is None:
        width, height = picture.size
        raise DatasetError(
            f"the box {request.box} is outside {request.path}, which has {width} x {height} pixels"
        )
    return inside


def square(picture: Image.Image, side: int, encoder: ImageEncoder) -> np.ndarray:
    """``(H, W, 3)`` uint8 at the encoder's input size, via the prepared size ``side`` in pixels used in training."""
    return encoder.resize(np.asarray(resized(picture, side))[None])[0]


def encode_squares(encoder: ImageEncoder, squares: list[np.ndarray], batch_size: int) -> Tensor:
    """Features ``(n, D)`` on the CPU of ``n`` arrays made by `square`."""
    batches = range(0, len(squares), batch_size)
    return torch.cat([encoder.encode(np.stack(squares[i : i + batch_size])).cpu() for i in batches])


def other_files(folder: Path) -> list[str]:
    """Files below a folder that `listed_photos` skips because of their suffix, without hidden files."""
    files = (one.relative_to(folder) for one in folder.rglob("*") if one.is_file())
    return sorted(
        str(one)
        for one in files
        if one.suffix.lower() not in SUFFIXES and not any(part.startswith(".") for part in one.parts)
    )


def _from_folder(folder: Path) -> list[PhotoRequest]:
    # A pipe or a dangling link with the name of a photo gets a row with its error.
    photos = sorted(one for one in folder.rglob("*") if one.suffix.lower() in SUFFIXES and not one.is_dir())
    if not photos:
        raise DatasetError(f"{folder} holds no photo; their names end in {', '.join(sorted(SUFFIXES))}")
    return [PhotoRequest(str(photo.relative_to(folder)), photo) for photo in photos]


def _from_list(path: Path) -> list[PhotoRequest]:
    wanted = f"it needs photo or text, and with photo may have {','.join(_CORNERS)}"
    try:
        text = read_lines(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"cannot read the list {path}: {reason}; {wanted}") from None
    table = read_table(text, _sound, name=path.name, files="photo")
    if not table.usable:
        state = f"has the columns {', '.join(table.names)}" if table.seen else "is empty"
        raise DatasetError(f"the list {path} {state}; {wanted}{table.seen}")
    names = [name.lower() for name in table.names]
    records = list(table.records)
    if not records:
        raise DatasetError(f"the list {path} has no rows; write one per photo, or one per person with a box")
    requests = [_listed(path, names, record) for record in records]
    if all(record.problem or record.damaged for record in records):
        raise DatasetError(f"cannot read the list {path}: {requests[0].error}; {wanted}")
    return requests


def _sound(names: Collection[str]) -> bool:
    columns = set(names)
    known = columns <= set(_COLUMNS) and len(columns) == len(names)
    return known and bool(columns & {"photo", "text"}) and len(columns & set(_CORNERS)) in (0, 4)


def _listed(path: Path, head: list[str], record: Record) -> PhotoRequest:
    row = dict(zip(head, record.cells, strict=False))
    name, text = printable(row.get("photo", "")), row.get("text")
    if not os.path.exists(path.parent / name):
        name = name.strip()
    there = path.parent / name if name.strip() else None
    request = PhotoRequest(
        name or f"line {record.line}", there, text=text if text and is_given(text) else None
    )
    problem = record.problem or (f"it holds {DAMAGED}" if record.damaged else "")
    if problem:
        return replace(request, text=None, error=f"line {record.line} of {path.name}: {problem}")
    if there is None and not request.text:
        return replace(request, error=f"line {record.line} of {path.name}: it has neither a photo nor a text")
    corners = [row.get(corner, "").strip() for corner in _CORNERS]
    if there is None or not any(corners):
        return request
    try:
        x1, y1, x2, y2 = (round(number_of(corner)) for corner in corners)
    except (ValueError, OverflowError):
        return replace(request, error=f"the box {', '.join(corners)} is not four numbers")
    return replace(request, box=(x1, y1, x2, y2))
