"""The pictures of search results: original photos below one folder, or their versions in a prepared dataset."""

import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmer_core.confined.picture_bounds import sniffed
from mmer_core.confined.pictures import UnreadableImageError
from mmer_core.datasets.pixels import read_rgb
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.datasets.proportions import with_aspect_ratio
from mmer_core.errors import ConfigError, DatasetError
from mmer_core.querying.searcher import Searcher
from mmer_core.stages.context import Context

Picture = npt.NDArray[np.uint8]

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
}
"""Formats that every browser can display, by Pillow's names."""

MAX_BYTES = 2**26
_TRIED = 20


class NoPicture(DatasetError):
    """There is no picture to display under this name."""


class Pictures(Protocol):
    """A source of pictures."""

    def picture(self, id: str, path: str | None) -> Picture:
        """``(H, W, 3)`` uint8 RGB of a photo in its own aspect ratio. Raises `NoPicture`."""
        ...


PIECE_BYTES = 2**18
"""Bytes read from a photo at a time."""


class PhotoChanged(Exception):
    """A photo became shorter while it was being read."""


@dataclass(frozen=True)
class PhotoFile:
    """An open photo with its media type, and a tag that changes with the file."""

    file: BinaryIO
    size: int
    media_type: str
    tag: str

    def pieces(self) -> Iterator[bytes]:
        """The file's bytes, as many as it had when opened; closes it. Raises `PhotoChanged`."""
        with self.file:
            left = self.size
            while left:
                piece = self.file.read(min(left, PIECE_BYTES))
                if not piece:
                    raise PhotoChanged
                left -= len(piece)
                yield piece


class PhotoRoot:
    """A folder of photos; nothing outside it is ever read.

    Args:
        root: The folder that the dataset's paths are relative to.

    Raises:
        ConfigError: It is not a folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise ConfigError(f"{root} is not a folder; give the one that contains the dataset's photos")
        self._root = root.resolve(strict=True)

    def check(self, paths: list[str]) -> None:
        """Raise `ConfigError` if none of these paths of the dataset is a file here."""
        tried = paths[:_TRIED]
        if tried and not any(self.holds(path) for path in tried):
            raise ConfigError(
                f"{self._root} does not hold the photos of this index: there is no {tried[0]} in it"
            )

    def holds(self, path: str) -> bool:
        """Whether the file exists."""
        try:
            self.locate(path)
        except NoPicture:
            return False
        return True

    def locate(self, path: str) -> Path:
        """The file for a relative path, with all links resolved.

        Raises:
            NoPicture: It is not a regular file below the root: absolute, outside by ``..`` or a link, or missing.
        """
        parts = path.split("/")
        if "\0" in path or "\\" in path or not all(parts) or {".", ".."} & set(parts):
            raise NoPicture(f"{path[:200]!r} is not the path of a photo")
        try:
            found = self._root.joinpath(*parts).resolve(strict=True)
            regular = stat.S_ISREG(found.stat().st_mode)
        except (OSError, ValueError, RuntimeError):  # missing, too long, not encodable, a loop of links
            raise NoPicture(f"there is no photo {path[:200]!r}") from None
        if not regular or not found.is_relative_to(self._root):
            raise NoPicture(f"there is no photo {path[:200]!r}")
        return found

    def open(self, path: str) -> PhotoFile:
        """Open a photo, to be read and closed. Raises `NoPicture` also for formats that browsers cannot display."""
        found = self.locate(path)
        try:
            # Between the check and the opening, the file may have been replaced by a link or a pipe.
            handle = os.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            raise NoPicture(f"there is no photo {path[:200]!r}") from None
        file = os.fdopen(handle, "rb")
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
                raise NoPicture(f"{path[:200]!r} is not a photo of at most {MAX_BYTES // 2**20} MiB")
            # By the first bytes: nothing is decoded, and the response headers forbid browsers to guess.
            kind = sniffed(file.read(16), tuple(MEDIA_TYPES))
            if kind is None:
                raise NoPicture(f"{path[:200]!r} is not a picture that browsers can show")
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return PhotoFile(
            file, status.st_size, MEDIA_TYPES[kind], f"{status.st_mtime_ns:x}-{status.st_size:x}"
        )

    def picture(self, id: str, path: str | None) -> Picture:
        """As `Pictures.picture`."""
        if path is None:
            raise NoPicture(
                f"the index does not say where the photo {id!r} is; build it again with mmer index"
            )
        try:
            return np.asarray(read_rgb(self.locate(path)))
        except UnreadableImageError as error:
            raise NoPicture(f"cannot read the photo {path}: {error}") from None


def encoded(picture: Picture) -> tuple[bytes, str]:
    """Encode as JPEG; returns the file's bytes and the media type."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="JPEG", quality=90, subsampling=0)
    return buffer.getvalue(), "image/jpeg"


@dataclass(frozen=True)
class PreparedPictures:
    """The arrays of prepared datasets, stretched from squares back to the photos' aspect ratios.

    Attributes:
        prepared: If several contain a photo, the last one applies.
    """

    prepared: tuple[Prepared, ...]

    @classmethod
    def of(cls, context: Context, searcher: Searcher) -> "PreparedPictures":
        """The pictures of the datasets from which an index was made."""
        opened = cls(tuple(Prepared.open(context.folder(key)) for key in searcher.prepared))
        _ = opened._places  # read now, because the datasets may be deleted later
        return opened

    def holds(self, id: str) -> bool:
        """Whether there is a picture of this photo."""
        return id in self._places

    def picture(self, id: str, path: str | None = None) -> Picture:
        """As `Pictures.picture`; the longest side is that of the arrays."""
        place = self._places.get(id)
        if place is None:
            raise NoPicture(f"the prepared dataset has no photo with the id {id[:200]!r}")
        split, row = place
        try:
            return with_aspect_ratio(split, row)
        except OSError:
            raise NoPicture(
                f"the picture of {id[:200]!r} is gone: its prepared dataset was deleted since it was opened"
            ) from None

    @cached_property
    def _places(self) -> dict[str, tuple[PreparedSplit, int]]:
        splits = [prepared.split(name) for prepared in self.prepared for name in prepared.card.splits]
        return {split.ids[row]: (split, row) for split in splits for row in split.image_sample.tolist()}
