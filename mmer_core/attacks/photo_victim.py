"""Attacking photos as their files hold them, before a model crops and resizes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmer_core.attacks.candidates import Candidates
from mmer_core.attacks.criteria import Criterion
from mmer_core.attacks.victims import Gradients
from mmer_core.datasets.protocols import with_opencv
from mmer_core.datasets.sample import Box
from mmer_core.heavy import functional, inference_mode, torch
from mmer_core.incremental.photos import ChangedPhoto, reach
from mmer_core.tracing import running
from mmer_core.transfer import to_device

if TYPE_CHECKING:
    from mmer_core.encoders import ImageEncoder
    from mmer_core.incremental.evaluator import Evaluator

FEW = 16
"""Pixels of an input that change, beyond which windows around them cost no less than the whole network."""

StreamHead = Callable[[dict[str, "torch.Tensor"], "torch.Tensor"], "torch.Tensor"]
"""Features of streams, each ``(B, D)``, and rows ``(B,)`` to scores ``(B, S)``."""


@dataclass(frozen=True)
class Photos:
    """Decoded photos, and what of them is read as a person.

    Attributes:
        pixels: ``n`` arrays ``(H, W, 3)`` uint8, of any sizes.
        boxes: The part that the stream ``body`` reads of each.
        protocol: By which they are decoded and resized, see `mmer_core.datasets.photos`.
    """

    pixels: Sequence[np.ndarray]
    boxes: Sequence[Box]
    protocol: str

    def box(self, stream: str, row: int) -> Box | None:
        """What a stream reads of a photo; None for all of it."""
        return self.boxes[row] if stream == "body" else None


class PhotoVictim:
    """A model that reads one or more squares of each photo: a changed pixel reaches all of them through resizing.

    Args:
        photos: All that are attacked.
        sides: Side in pixels of the prepared square of every stream that is read.
        encoder: Squares, resized to its input, to features.
        head: Features by stream to scores.
    """

    def __init__(
        self, photos: Photos, sides: Mapping[str, int], encoder: ImageEncoder, head: StreamHead
    ) -> None:
        from mmer_core.incremental.encoded import planner_of

        self._photos, self._sides, self._encoder, self._head = photos, sides, encoder, head
        self._changed = {
            stream: [
                ChangedPhoto(pixels, photos.box(stream, row), side, photos.protocol)
                for row, pixels in enumerate(photos.pixels)
            ]
            for stream, side in sides.items()
        }
        self._inputs = {
            stream: torch.from_numpy(encoder.resize(np.stack([one.clean for one in changed])))
            for stream, changed in self._changed.items()
        }  # (n, h, w, 3) each
        # Each photo alone, as one that is judged alone.
        self._features = {
            stream: torch.cat([encoder.encode(one[None]) for one in inputs])
            for stream, inputs in self._inputs.items()
        }  # (n, D) each
        self._planner = planner_of(encoder)
        self._evaluators: dict[tuple[str, int | None], Evaluator] = {}

    @property
    def size(self) -> None:
        """Photos are of several sizes."""
        return None

    @inference_mode()
    def clean_scores(self) -> torch.Tensor:
        """Scores ``(n, S)`` float32 of the photos themselves."""
        return self._scores(self._features, torch.arange(len(self._photos.pixels)))

    @inference_mode()
    def scores(self, images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Scores ``(B, S)`` float32 of changed photos ``(B, H, W, 3)`` uint8, each prepared as ingestion does it."""
        features = {}
        for stream, changed in self._changed.items():
            read = zip(images.numpy(), rows.tolist(), strict=True)
            squares = np.stack([changed[row].square(image) for image, row in read])
            features[stream] = self._encoder.encode(self._encoder.resize(squares))
        return self._scores(features, rows)

    @inference_mode()
    def candidate_scores(
        self, images: torch.Tensor, rows: torch.Tensor, candidates: Candidates
    ) -> torch.Tensor:
        """Scores ``(B, S)`` float32 of candidates; ``images`` plays no part, as the photos are here."""
        return self._scores(
            {stream: self._candidates(stream, rows.numpy(), candidates) for stream in self._sides}, rows
        )

    def images_at_once(self, pixels: int) -> int | None:
        """As many as incremental evaluation keeps clean maps of, for the stream of which it keeps fewest."""
        kept = [
            self._evaluator(stream, most).images_at_once(most)
            for stream in self._sides
            for most in {self._most(stream, row, pixels) for row in range(len(self._photos.pixels))}
            if most is not None
        ]
        return min((one for one in kept if one is not None), default=None)

    def pass_size(self, useful: float) -> int:
        """One: how many passes a candidate takes depends on what of its photo the streams read."""
        return 1

    def evaluation(self, pixels: int) -> str:
        """How candidates of ``K = pixels`` are scored, in words."""
        found = {
            self._most(stream, row, pixels)
            for stream in self._sides
            for row in range(len(self._photos.pixels))
        }
        few = [
            f"where up to {most} pixels of an input change, {self._planner.plan(most).sentence}"
            for most in sorted(most for most in found if most is not None)
        ]
        return "; ".join([*few, *(["other inputs are computed densely"] if None in found else [])])

    def gradients(self, criterion: Criterion, row: int) -> Gradients:
        """As `WhiteBoxVictim.gradients`: of photos, through crop and resize."""
        return _Gradients(self, criterion, row)

    def margin(self, photo: torch.Tensor, criterion: Criterion, row: int) -> torch.Tensor:
        """The margin ``(1,)`` of a photo, ``(H, W, 3)`` float32 in 0..255; differentiable, so nothing is rounded."""
        features = {}
        for stream, side in self._sides.items():
            x1, y1, x2, y2 = self._photos.box(stream, row) or (0, 0, photo.shape[1], photo.shape[0])
            read = photo[y1:y2, x1:x2].permute(2, 0, 1)[None]
            read = functional.interpolate(
                read, (side, side), mode="bilinear", antialias=not with_opencv(self._photos.protocol)
            )
            if (side, side) != self._encoder.size:
                mode = self._encoder.preprocessing.interpolation
                read = functional.interpolate(read, self._encoder.size, mode=mode, antialias=True).clamp(
                    0, 255
                )
            first_order = self._evaluator(stream, None).first_order
            features[stream] = first_order.features(read[0].permute(1, 2, 0))
        which = torch.tensor([row], device=self.device)
        return criterion.margin(self._head(features, which).float(), which)

    @property
    def device(self) -> torch.device:
        """The encoder's."""
        return self._encoder.device

    def _scores(self, features: dict[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
        with running():
            return self._head(features, to_device(rows, self.device)).float()

    def _candidates(self, stream: str, rows: np.ndarray, candidates: Candidates) -> torch.Tensor:
        """Features ``(B, D)``: those of the photo itself where nothing is changed that the stream reads."""
        features = self._features[stream][to_device(torch.from_numpy(rows), self.device)]
        places, colours = candidates.places.cpu().numpy(), candidates.colours.cpu().numpy()
        together: dict[int | None, list[tuple[np.ndarray, np.ndarray]]] = {}
        for row in np.unique(rows):
            at = np.flatnonzero(rows == row)
            positions = np.stack(np.divmod(places[at], self._photos.pixels[row].shape[1]), axis=2)
            which, squares = self._changed[stream][row].squares(positions, colours[at])
            if len(which):
                most = self._most(stream, int(row), candidates.pixels)
                together.setdefault(most, []).append((at[which], self._encoder.resize(squares)))
        for most, parts in together.items():
            where, inputs = (np.concatenate(each) for each in zip(*parts, strict=True))
            evaluator, clean = self._evaluator(stream, most), self._inputs[stream]
            if most is None:
                found = evaluator.dense(torch.from_numpy(inputs))
            else:
                before = clean[torch.from_numpy(rows[where])].numpy()
                found = evaluator(clean, rows[where].tolist(), *_differences(before, inputs, most))
            features[to_device(torch.from_numpy(where), self.device)] = found.to(features)
        return features

    def _most(self, stream: str, row: int, pixels: int) -> int | None:
        """Changed pixels of an input to evaluate incrementally; None where it is evaluated densely."""
        most = self._reached(stream, row, pixels)
        return None if most > FEW or self._planner.plan(most).start is None else most

    def _reached(self, stream: str, row: int, pixels: int) -> int:
        """How many pixels of the encoder's input ``K`` of a photo reach at most, or more: a power of 4, so that many photos
        are judged together. It depends on the photo and ``K`` alone, and so does the rounding of scores."""
        photo, side, size = self._photos.pixels[row], self._sides[stream], self._encoder.size
        x1, y1, x2, y2 = self._photos.box(stream, row) or (0, 0, photo.shape[1], photo.shape[0])
        taps = 4 if self._encoder.preprocessing.interpolation == "bicubic" else 2
        area = reach(y2 - y1, side, size[0], taps) * reach(x2 - x1, side, size[1], taps)
        return int(min(4 ** int(np.ceil(np.log2(pixels * area) / 2)), size[0] * size[1]))

    def _evaluator(self, stream: str, most: int | None) -> Evaluator:
        """One for each number of pixels, because changing it discards the clean maps."""
        from mmer_core.incremental.encoded import evaluator_of

        if (stream, most) not in self._evaluators:
            self._evaluators[stream, most] = evaluator_of(self._encoder)
        return self._evaluators[stream, most]


@dataclass(frozen=True)
class _Gradients:
    victim: PhotoVictim
    criterion: Criterion
    row: int

    def screen(self, image: np.ndarray, candidates: Candidates) -> np.ndarray:
        margin, slope = self.margin(image.astype(np.float32))
        y, x = candidates.positions(image.shape[1])[:, 0].numpy().T
        moved = candidates.colours[:, 0].numpy().astype(np.float32) - image[y, x]
        return margin + (slope[y, x] * moved).sum(axis=1, dtype=np.float64)

    def margin(self, image: np.ndarray) -> tuple[float, np.ndarray]:
        from mmer_core.incremental.first_order import slopes

        with running(), torch.inference_mode(False), torch.enable_grad():
            photo = torch.tensor(image, device=self.victim.device, requires_grad=True)
            margin = self.victim.margin(photo, self.criterion, self.row)
            (slope,) = slopes(margin, [photo])
        return float(margin.detach()), slope.cpu().numpy()


def _differences(clean: np.ndarray, changed: np.ndarray, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions ``(B, most, 2)`` int64 and colours ``(B, most, 3)`` uint8 that make ``changed`` ``(B, h, w, 3)`` of
    ``clean``; where fewer pixels differ, the first is written as it is."""
    image, flat = np.nonzero((clean != changed).any(axis=3).reshape(len(clean), -1))
    first = np.searchsorted(image, np.arange(len(clean)))
    places = np.zeros((len(clean), most), dtype=np.int64)
    places[image, np.arange(len(image)) - first[image]] = flat
    colours = np.take_along_axis(changed.reshape(len(changed), -1, 3), places[:, :, None], axis=1)
    return torch.from_numpy(np.stack(np.divmod(places, clean.shape[2]), axis=2)), torch.from_numpy(colours)
