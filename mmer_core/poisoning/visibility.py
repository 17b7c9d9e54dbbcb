"""How visible a change of an image is."""

from dataclasses import dataclass

import numpy as np

from mmer_core.errors import PoisonError

_SIDE, _SIGMA = 11, 1.5  # the window of the paper
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


@dataclass(frozen=True)
class Visibility:
    """How far an image is from the one it was made of, in gray levels 0..255.

    Attributes:
        l2: Euclidean length of the difference over all ``H * W * 3`` values.
        linf: Largest difference of one value.
        changed: Pixels that differ in any channel.
        psnr: Peak signal-to-noise ratio in dB; ``inf`` for equal images.
        ssim: Structural similarity, at most 1 (equal images).
    """

    l2: float
    linf: int
    changed: int
    psnr: float
    ssim: float


def visibility(clean: np.ndarray, changed: np.ndarray) -> Visibility:
    """Compare two ``(H, W, 3)`` uint8 images.

    Raises:
        PoisonError: They are not uint8 RGB images of one size.
    """
    if clean.dtype != np.uint8 or changed.dtype != np.uint8 or clean.ndim != 3 or clean.shape[2] != 3:
        raise PoisonError(f"images to compare are {clean.dtype} {clean.shape}; give uint8 (H, W, 3)")
    if clean.shape != changed.shape:
        raise PoisonError(f"an image of {clean.shape} is compared with one of {changed.shape}; give one size")
    difference = clean.astype(np.float64) - changed
    squares = float((difference**2).sum())
    error = squares / difference.size
    return Visibility(
        l2=squares**0.5,
        linf=int(np.abs(difference).max()),
        changed=int(difference.any(axis=2).sum()),
        psnr=float(10 * np.log10(255**2 / error)) if error else np.inf,
        ssim=structural_similarity(clean, changed),
    )


def structural_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Wang, Bovik, Sheikh & Simoncelli 2004, *Image Quality Assessment: From Error Visibility to Structural Similarity*.

    https://doi.org/10.1109/TIP.2003.819861, with its constants and its Gaussian window of 11 x 11, averaged
    over the places where the window lies inside the image and over the channels. On images of fewer than
    11 pixels the window is the largest odd one that fits.

    Args:
        a, b: ``(H, W, 3)`` in 0..255.
    """
    from scipy.ndimage import correlate1d

    side = min(_SIDE, *(length - 1 + length % 2 for length in a.shape[:2]))
    weights = np.exp(-(((np.arange(side) - side // 2) / _SIGMA) ** 2) / 2)
    weights /= weights.sum()
    inside = slice(side // 2, -(side // 2) or None)

    def blur(values: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(values, weights, axis=0), weights, axis=1)[inside, inside]

    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = blur(a), blur(b)
    variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return float((luminance * (2 * covariance + _C2) / (variance_a + variance_b + _C2)).mean())
