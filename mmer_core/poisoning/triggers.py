"""Triggers of backdoors: the same few pixels in every image."""

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
import numpy.typing as npt

from mmer_core.errors import PoisonError
from mmer_core.named import Named
from mmer_core.seeding import random_stream

Place = Literal["top-left", "top-right", "bottom-left", "bottom-right", "random"]
PLACES: tuple[Place, ...] = ("top-left", "top-right", "bottom-left", "bottom-right", "random")
Pattern = Literal["checkerboard", "solid"]
PATTERNS: tuple[Pattern, ...] = ("checkerboard", "solid")


class Trigger(Named, ABC):
    """A trigger looks the same in every image of a size, as in Gu, Dolan-Gavitt & Garg 2017, *BadNets*
    (https://arxiv.org/abs/1708.06733); opacity below 1 blends it in, as in Chen, Liu, Li, Lu & Song 2017,
    *Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning* (https://arxiv.org/abs/1712.05526).
    """

    opacity: float

    @abstractmethod
    def pattern(self, size: tuple[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Places ``(K, 2)``, ``(y, x)``, and colours ``(K, 3)`` in an image of ``size`` ``(H, W)``.

        Raises:
            PoisonError: The trigger does not fit into the image.
        """

    def apply(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A copy of ``(B, H, W, 3)`` uint8 images with the trigger in each.

        Raises:
            PoisonError: The images are not uint8 RGB, or smaller than the trigger.
        """
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise PoisonError(f"images to trigger are {images.dtype} {images.shape}; give uint8 (B, H, W, 3)")
        places, colours = self.pattern((images.shape[1], images.shape[2]))
        triggered = np.array(images)
        below = triggered[:, places[:, 0], places[:, 1]].astype(np.float64)  # (B, K, 3)
        blend = (1 - self.opacity) * below + self.opacity * colours
        triggered[:, places[:, 0], places[:, 1]] = np.rint(blend).astype(np.uint8)
        return triggered


class PixelTrigger(Trigger):
    """``pixels`` different pixels at places and in corner colours of the colour cube that the seed draws.

    Args:
        pixels: How many, at least 1.
        opacity: Above 0, at most 1.
        seed: Places and colours depend on it and on the image size.
    """

    name = "pixels"

    def __init__(self, pixels: int = 4, opacity: float = 1.0, seed: int = 0) -> None:
        if pixels < 1:
            raise PoisonError(f"pixels is {pixels} in PixelTrigger; give 1 or more")
        _check_opacity(opacity)
        self.pixels = pixels
        self.opacity = opacity
        self.seed = seed

    def pattern(self, size: tuple[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        if self.pixels > size[0] * size[1]:
            raise PoisonError(f"{self.pixels} pixels do not fit into an image of {size}; give fewer")
        stream = random_stream(self.seed, self.name, self.pixels, *size)
        flat = stream.choice(size[0] * size[1], self.pixels, replace=False)
        colours = 255 * stream.integers(0, 2, (self.pixels, 3), dtype=np.uint8)
        return np.stack(np.divmod(flat, size[1]), axis=1).astype(np.int64), colours


class PatchTrigger(Trigger):
    """A square patch, a checkerboard of black and white pixels or one colour, flush with a corner or at a drawn place.

    Args:
        side: Of the square in pixels, at least 1.
        look: ``checkerboard`` or ``solid``.
        place: A corner, or ``random``: where the seed says, the same in every image of a size.
        colour: Of a solid patch: red, green, blue in 0..255.
        opacity: Above 0, at most 1.
        seed: Of a random place.
    """

    name = "patch"

    def __init__(
        self,
        side: int = 8,
        look: Pattern = "checkerboard",
        place: Place = "bottom-right",
        colour: tuple[int, int, int] = (255, 0, 255),
        opacity: float = 1.0,
        seed: int = 0,
    ) -> None:
        if side < 1 or look not in PATTERNS or place not in PLACES:
            raise PoisonError(
                f"side is {side}, look {look!r} and place {place!r} in PatchTrigger; give 1 or more, one of "
                f"{', '.join(PATTERNS)}, and one of {', '.join(PLACES)}"
            )
        if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
            raise PoisonError(f"colour is {colour} in PatchTrigger; give red, green and blue in 0..255")
        _check_opacity(opacity)
        self.side = side
        self.look = look
        self.place = place
        self.colour = colour
        self.opacity = opacity
        self.seed = seed

    def pattern(self, size: tuple[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        if self.side > min(size):
            raise PoisonError(
                f"a patch of {self.side} pixels does not fit into an image of {size}; give a smaller"
            )
        y, x = (axis.ravel() for axis in np.indices((self.side, self.side)))
        top, left = self._corner(size)
        colours = np.empty((self.side**2, 3), np.uint8)
        colours[:] = self.colour if self.look == "solid" else 255 * ((y + x) % 2)[:, None]
        return np.stack([top + y, left + x], axis=1).astype(np.int64), colours

    def _corner(self, size: tuple[int, int]) -> tuple[int, int]:
        free = (size[0] - self.side, size[1] - self.side)
        if self.place == "random":
            stream = random_stream(self.seed, self.name, self.side, *size)
            return int(stream.integers(free[0] + 1)), int(stream.integers(free[1] + 1))
        vertical, horizontal = self.place.split("-")
        return free[0] * (vertical == "bottom"), free[1] * (horizontal == "right")


TRIGGERS: dict[str, type[Trigger]] = {trigger.name: trigger for trigger in (PixelTrigger, PatchTrigger)}


def _check_opacity(opacity: float) -> None:
    if not 0 < opacity <= 1:
        raise PoisonError(f"opacity is {opacity} of a trigger; give above 0 and at most 1")
