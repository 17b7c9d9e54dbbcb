"""Torch's antialiased bilinear resizing of uint8 pictures, bit for bit, in NumPy: for as many pictures as importing torch
would take longer than resizing them.

Torch computes with integers: each output pixel is a sum of input pixels times 16-bit weights, rounded once along each axis
(``ATen/native/cpu/UpSampleKernelAVXAntialias.h``, after Pillow-SIMD). Here the sums are products of matrices of floats, wide
enough to hold every partial sum exactly, so that neither the order of additions nor the library of the products plays a part.
A matrix for a whole axis would be almost empty, so neighbouring output pixels are computed together, from the input pixels
that they reach.
"""

import math
import threading
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.floating[Any]]

_CHANNELS = 3
_TOGETHER = 8
"""Output pixels of one product."""
_EXACT_BITS = 16
"""Fractional bits of weights up to which sums of 8-bit values are exact in float32, whose integers are exact below 2**24:
the weights of a pixel add up to 1, but for their rounding."""
_KEPT = 32
"""Sizes whose weights are kept: whole photos have few sizes, boxes many."""
_MOST_KEPT = 2**24
"""Bytes of each kind that a thread keeps for its next picture."""
_VALUES = 2**21
"""Input values that are converted to floats at once."""


class _Scratch(threading.local):
    """Memory of a thread that the next picture takes again: the system maps new pages one by one."""

    def __init__(self) -> None:
        self._held: dict[str, npt.NDArray[np.uint8]] = {}

    def floats(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> _Floats:
        """Uninitialised."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        held = self._held.get(name)
        if held is None or held.size < size:
            held = np.empty(size, np.uint8)
            if size <= _MOST_KEPT:
                self._held[name] = held
        return held[:size].view(dtype).reshape(shape)


_scratch = _Scratch()


def interpolated(picture: Picture, height: int, width: int) -> Picture:
    """A picture ``(H, W, 3)`` or ``(H, W, 4)``, whose fourth channel is padding, as ``(height, width, 3)``: the width is
    resized first, as torch does."""
    rows = _along_rows(picture, width)
    return _along_columns(rows, height).astype(np.uint8).reshape(height, width, _CHANNELS)


def _along_rows(picture: Picture, length: int) -> _Floats:
    """``(H, length * 3)`` whole numbers."""
    height, width, channels = picture.shape
    if width == length:
        return picture[..., :_CHANNELS].astype(np.float32, order="C").reshape(height, -1)
    starts, products = _products(width, length, channels)
    count, reach, together = products.shape
    sums = _scratch.floats("sums", (height, count * together), products.dtype)
    strip = max(1, _VALUES // (width * channels))
    for top in range(0, height, strip):
        bytes_there = picture[top : top + strip]
        rows = _scratch.floats("rows", bytes_there.shape, products.dtype)
        np.copyto(rows, bytes_there)
        rows, into = rows.reshape(-1, width * channels), sums[top : top + strip]
        for number, start in enumerate(starts):
            place = slice(number * together, (number + 1) * together)
            np.matmul(rows[:, start : start + reach], products[number], out=into[:, place])
    return _rounded(sums)[:, : length * _CHANNELS]


def _along_columns(rows: _Floats, length: int) -> _Floats:
    """``(length, width * 3)`` of ``(H, width * 3)``."""
    if len(rows) == length:
        return rows
    starts, bands = _bands(len(rows), length)
    count, together, reach = bands.shape
    rows = rows.astype(bands.dtype, copy=False)
    sums = _scratch.floats("all", (count * together, rows.shape[1]), bands.dtype)
    for number, start in enumerate(starts):
        place = slice(number * together, (number + 1) * together)
        np.matmul(bands[number], rows[start : start + reach], out=sums[place])
    return _rounded(sums)[:length]


def _rounded(sums: _Floats) -> _Floats:
    sums += 0.5
    return np.floor(np.minimum(sums, 255, out=sums), out=sums)


class _Products(NamedTuple):
    """Matrices that each give some neighbouring output values, and the first input value that each of them reaches."""

    starts: list[int]
    matrices: _Floats


@lru_cache(_KEPT)
def _products(width: int, length: int, channels: int) -> _Products:
    """For rows of interleaved channels, from the right: ``(n, reach * channels, together * 3)``."""
    starts, bands = _bands(width, length)
    apart = np.eye(channels, _CHANNELS, dtype=bands.dtype)
    matrices = bands.transpose(0, 2, 1)[:, :, None, :, None] * apart[:, None, :]
    count, together, reach = bands.shape
    return _Products(
        [channels * start for start in starts],
        matrices.reshape(count, reach * channels, together * _CHANNELS),
    )


@lru_cache(_KEPT)
def _bands(size: int, length: int) -> _Products:
    """For columns, from the left: ``(n, together, reach)``, of which the last may have rows too many."""
    first, weights, bits = _weights(size, length)
    taps = weights.shape[1]
    place = np.arange(length)
    starts = first[::_TOGETHER]
    reach = min(size, int((first - starts[place // _TOGETHER]).max()) + taps)
    starts = np.minimum(starts, size - reach)
    bands = np.zeros((len(starts), _TOGETHER, reach), np.float32 if bits <= _EXACT_BITS else np.float64)
    pixel = (first - starts[place // _TOGETHER])[:, None] + np.arange(taps)
    inside = pixel < reach  # the others have no weight
    output = np.broadcast_to(place[:, None], pixel.shape)[inside]
    bands[output // _TOGETHER, output % _TOGETHER, pixel[inside]] = weights[inside] / (1 << bits)
    return _Products(starts.tolist(), bands)


def _weights(width: int, length: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], int]:
    """The first input pixel of every output pixel, the weights ``(length, taps)``, and their number of fractional bits."""
    scale = width / length
    support = max(scale, 1.0)
    centre = scale * (np.arange(length) + 0.5)
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    count = np.minimum((centre + support + 0.5).astype(np.int64), width) - first
    taps = np.arange(2 * int(np.ceil(support)) + 1)
    distance = (taps + first[:, None] - centre[:, None] + 0.5) * (1 / support)
    triangle = np.maximum(1 - abs(distance), 0) * (taps < count[:, None])
    total = np.zeros(length)
    for column in triangle.T:  # in torch's order: np.sum adds in pairs
        total += column
    shares = triangle / total[:, None]
    bits = 0
    while bits < 22 and int(0.5 + shares.max() * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    return first, (0.5 + shares * (1 << bits)).astype(np.int32), bits
