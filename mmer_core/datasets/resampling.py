"""Torch's antialiased bilinear resizing of uint8 pictures, bit for bit, in NumPy: for few pictures, where importing torch
would take most of the time.

Torch computes with integers, too: each output pixel is a sum of input pixels times 16-bit weights, rounded once along each
axis (``ATen/native/cpu/UpSampleKernelAVXAntialias.h``, after Pillow-SIMD), so that the order of additions plays no part.
"""

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


def interpolated(picture: Picture, height: int, width: int) -> Picture:
    """A picture ``(H, W, C)`` as ``(height, width, C)``: the width is resized first, as torch does."""
    return _along_rows(_along_rows(picture, width).swapaxes(0, 1), height).swapaxes(0, 1)


def _along_rows(picture: Picture, length: int) -> Picture:
    """A picture with rows of this length."""
    width = picture.shape[1]
    if width == length:
        return picture
    first, weights, bits = _weights(width, length)
    total = np.full((len(picture), length, picture.shape[2]), 1 << (bits - 1), np.int32)
    for place in range(weights.shape[1]):
        total += picture[:, np.minimum(first + place, width - 1)] * weights[:, place, None]
    return np.clip(total >> bits, 0, 255).astype(np.uint8)


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
