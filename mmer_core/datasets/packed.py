"""Pictures in less space without loss: each row of an image array as a WebP of its own, so that any row is read alone.

``<name>.bin`` holds the pictures one after the other, ``<name>.npy`` ``(N + 1,)`` int64 where each begins and the last ends.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmer_core.confined.pictures import decoded
from mmer_core.files import Files

Images = npt.NDArray[np.uint8]

_AT_ONCE = 256


class PackedPictures:
    """``(N, H, W, 3)`` uint8 RGB; what is asked for is decoded.

    Args:
        name: The ``.bin`` file.
    """

    def __init__(self, files: Files, name: str) -> None:
        self._bytes = files.bytes_of(name)
        self._offsets = np.load(files.path(f"{Path(name).stem}.npy"), allow_pickle=False)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._row(0).shape)

    def __getitem__(self, rows: SupportsIndex | slice | Sequence[int] | npt.NDArray[np.integer]) -> Images:
        """A picture, or several as a new array."""
        if isinstance(rows, SupportsIndex) and not isinstance(rows, np.ndarray):
            return self._row(range(len(self))[rows])
        chosen = np.arange(len(self))[rows]
        pictures = np.empty((len(chosen), *self.shape[1:]), np.uint8)
        for place, row in enumerate(chosen):
            pictures[place] = self._row(row)
        return pictures

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Images:
        return self[:].astype(dtype or np.uint8, copy=False)

    def _row(self, row: int) -> Images:
        data = self._bytes[self._offsets[row] : self._offsets[row + 1]]
        return decoded(data.tobytes(), formats=("WEBP",))[..., :3].copy()


Pictures = Images | PackedPictures


def packed_name(split: str, stream: str) -> str:
    """The file of the pictures of a stream of a prepared split."""
    return f"{split}_{stream}_webp.bin"


def pack(array: Path, path: Path, workers: int) -> None:
    """Replace an npy file of pictures ``(N, H, W, 3)`` uint8 by ``path`` and its offsets."""
    pictures = np.load(array, mmap_mode="r", allow_pickle=False)
    sizes = [0]
    with path.open("wb") as file, ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(pictures), _AT_ONCE):
            for data in pool.map(_webp, pictures[start : start + _AT_ONCE]):
                sizes.append(file.write(data))
    np.save(path.with_suffix(".npy"), np.cumsum(sizes, dtype=np.int64), allow_pickle=False)
    array.unlink()


def _webp(picture: Images) -> bytes:
    file = BytesIO()
    # More effort (method) saves a tenth, and takes 4 to 30 times as long.
    Image.fromarray(picture).save(file, "WEBP", lossless=True, quality=0, method=0)
    return file.getvalue()
