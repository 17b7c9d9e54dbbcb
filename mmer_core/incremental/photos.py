"""What a model reads of a photo in which few pixels changed, resized anew only where they reach."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mmer_core.datasets.photos import as_photo, height_first, interpolated
from mmer_core.datasets.protocols import with_opencv
from mmer_core.datasets.sample import Box

Pixels = npt.NDArray[np.uint8]

_MOST_BYTES = 2**26
"""Of the rows and columns that are resized at a time."""


class ChangedPhoto:
    """The prepared square of a photo, and of photos that differ from it in ``K`` pixels; all as ingestion makes it, bit
    for bit.

    Resizing is one pass over the rows and one over the columns. So the rows with a changed pixel are resized, then the
    columns of the result that differ. OpenCV's resizing (the protocols ``mat2py`` and ``notebook``) is no such passes, and for very tall
    photos their order is another: there each changed photo is resized whole.

    Args:
        photo: ``(H, W, 3)`` uint8.
        box: What of it is read; None for all of it.
        side: Of the square, in pixels.
        protocol: By which it is resized, see `mmer_core.datasets.photos`.

    Attributes:
        clean: ``(side, side, 3)`` uint8, the square of the photo itself.
    """

    def __init__(self, photo: Pixels, box: Box | None, side: int, protocol: str) -> None:
        self._photo, self._box, self._side, self._protocol = photo, box, side, protocol
        self._x, self._y, x2, y2 = box or (0, 0, photo.shape[1], photo.shape[0])
        self._read = photo[self._y : y2, self._x : x2]
        self.clean = self.square(photo)
        self._rows = interpolated(self._read, len(self._read), side)  # (h, side, 3), before the second pass
        whole = with_opencv(protocol) or height_first(len(self._read), side)
        self._resize = self._whole if whole else self._in_two_passes

    def square(self, photo: Pixels) -> Pixels:
        """The square of another photo of this size."""
        return as_photo(photo, self._protocol).square(self._side, self._box)

    def squares(
        self, positions: npt.NDArray[np.int64], colours: Pixels
    ) -> tuple[npt.NDArray[np.int64], Pixels]:
        """The squares of ``B`` changed photos.

        Args:
            positions: ``(B, K, 2)``, ``(y, x)`` in the photo; of two equal ones, the later wins.
            colours: ``(B, K, 3)``.

        Returns:
            Which of them changed a pixel that is read, ``(b,)`` rising, and their squares ``(b, side, side, 3)``.
        """
        at = positions - (self._y, self._x)
        inside: np.ndarray = np.all((at >= 0) & (at < self._read.shape[:2]), axis=2)
        which = np.flatnonzero(inside.any(axis=1))
        at, inside, colours = at[which], inside[which], colours[which]
        found = np.repeat(self.clean[None], len(which), axis=0)
        for part in self._parts(*inside.shape):
            self._resize(found[part], at[part], inside[part], colours[part])
        return which, found

    def _parts(self, candidates: int, pixels: int) -> Iterator[slice]:
        height, width = self._read.shape[:2]
        columns = 2 + 2 * self._side // width
        step = max(1, _MOST_BYTES // (3 * pixels * (width + columns * height)))
        return (slice(start, start + step) for start in range(0, candidates, step))

    def _whole(self, found: Pixels, at: np.ndarray, inside: np.ndarray, colours: np.ndarray) -> None:
        for square, places, there, shown in zip(found, at, inside, colours, strict=True):
            photo = self._photo.copy()
            for (y, x), colour in zip(places[there], shown[there], strict=True):
                photo[y + self._y, x + self._x] = colour
            square[:] = self.square(photo)

    def _in_two_passes(self, found: Pixels, at: np.ndarray, inside: np.ndarray, colours: np.ndarray) -> None:
        height, width = self._read.shape[:2]
        which, pixel = np.nonzero(inside)
        y, x = at[which, pixel].T
        # The last of equal positions, as each of a candidate's comes in order.
        _, last = np.unique(((which * height + y) * width + x)[::-1], return_index=True)
        last = len(which) - 1 - last

        row, of_row = np.unique((which * height + y)[last], return_inverse=True)  # (R,), a row of a candidate
        rows = self._read[row % height]
        rows[of_row, x[last]] = colours[which, pixel][last]
        rows = interpolated(rows, len(rows), self._side)
        before = self._rows[row % height]
        changed, place = np.nonzero((rows != before).any(axis=2))
        if not len(changed):
            return
        column, of_column = np.unique(
            row[changed] // height * self._side + place, return_inverse=True
        )  # (C,)
        columns = self._rows[:, column % self._side]  # (h, C, 3)
        columns[row[changed] % height, of_column] = rows[changed, place]
        columns = interpolated(columns, self._side, len(column))
        found[column // self._side, :, column % self._side] = columns.transpose(1, 0, 2)


def reach(length: int, side: int, size: int, taps: int) -> int:
    """Most pixels of an axis of an input of ``size`` that one of ``length`` reaches, through a square of ``side``.

    Args:
        taps: Width of the second resizing's kernel: 2 bilinear, 4 bicubic.
    """
    count = 1 if length == side else _reached(1, length, side, 2)
    return min(count if side == size else _reached(count, side, size, taps), size)


def _reached(count: int, length: int, target: int, taps: int) -> int:
    """Of a kernel that spans ``taps`` pixels of the coarser of both."""
    span = (count - 1 + taps * max(1, length / target)) * target / length
    return int(np.ceil(span - 1e-9))
