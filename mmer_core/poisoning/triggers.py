"""Triggers of backdoors: the same few pixels in every image."""

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.errors import PoisonError
from mmer_core.named import Named
from mmer_core.seeding import random_stream

Level = Annotated[int, Field(ge=0, le=255)]


class TriggerOptions(Config):
    """Options of every trigger."""

    opacity: float = Field(1.0, gt=0, le=1, description="How much of the image it covers; 1 for all.")
    seed: int = Field(0, ge=0, description="Seed of drawn places and colours.")


class Trigger(Named, ABC):
    """A trigger looks the same in every image of a size, as in Gu, Dolan-Gavitt & Garg 2017, *BadNets*
    (https://arxiv.org/abs/1708.06733); opacity below 1 blends it in, as in Chen, Liu, Li, Lu & Song 2017,
    *Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning* (https://arxiv.org/abs/1712.05526).
    """

    refusal = PoisonError
    options: TriggerOptions

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
        blend = (1 - self.options.opacity) * below + self.options.opacity * colours
        triggered[:, places[:, 0], places[:, 1]] = np.rint(blend).astype(np.uint8)
        return triggered


class PixelTrigger(Trigger):
    """``pixels`` different pixels at places and in corner colours of the colour cube that the seed draws."""

    name = "pixels"
    summary = "a few single pixels at drawn places"

    class Options(TriggerOptions):
        pixels: int = Field(16, ge=1, description="How many pixels.")

    options: Options

    def pattern(self, size: tuple[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        if self.options.pixels > size[0] * size[1]:
            raise PoisonError(f"{self.options.pixels} pixels do not fit into an image of {size}; give fewer")
        stream = random_stream(self.options.seed, self.name, self.options.pixels, *size)
        flat = stream.choice(size[0] * size[1], self.options.pixels, replace=False)
        colours = 255 * stream.integers(0, 2, (self.options.pixels, 3), dtype=np.uint8)
        return np.stack(np.divmod(flat, size[1]), axis=1).astype(np.int64), colours


class PatchTrigger(Trigger):
    """A square patch, a checkerboard of black and white pixels or one colour, flush with a corner or at a drawn place."""

    name = "patch"
    summary = "a square, checkerboard or solid, in a corner or at a drawn place"

    class Options(TriggerOptions):
        side: int = Field(16, ge=1, description="Side of the square in pixels.")
        look: Literal["checkerboard", "solid"] = Field(
            "checkerboard", description="Black and white pixels, or one colour."
        )
        place: Literal["top-left", "top-right", "bottom-left", "bottom-right", "random"] = Field(
            "bottom-right", description="A corner, or where the seed says, the same in every image of a size."
        )
        colour: tuple[Level, Level, Level] = Field(
            (255, 0, 255), description="Of a solid patch: red, green, blue in 0..255."
        )

    options: Options

    def pattern(self, size: tuple[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        if self.options.side > min(size):
            raise PoisonError(
                f"a patch of {self.options.side} pixels does not fit into an image of {size}; give a smaller"
            )
        y, x = (axis.ravel() for axis in np.indices((self.options.side, self.options.side)))
        top, left = self._corner(size)
        colours = np.empty((self.options.side**2, 3), np.uint8)
        colours[:] = self.options.colour if self.options.look == "solid" else 255 * ((y + x) % 2)[:, None]
        return np.stack([top + y, left + x], axis=1).astype(np.int64), colours

    def _corner(self, size: tuple[int, int]) -> tuple[int, int]:
        free = (size[0] - self.options.side, size[1] - self.options.side)
        if self.options.place == "random":
            stream = random_stream(self.options.seed, self.name, self.options.side, *size)
            return int(stream.integers(free[0] + 1)), int(stream.integers(free[1] + 1))
        vertical, horizontal = self.options.place.split("-")
        return free[0] * (vertical == "bottom"), free[1] * (horizontal == "right")
