"""Scoring sparse candidates with a network, by the fastest method that is exact up to float rounding."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from mmer_core.coinciding import last_colours
from mmer_core.errors import AttackError
from mmer_core.incremental.bases import Base, ScoredPass
from mmer_core.incremental.first_order import FirstOrder, across
from mmer_core.incremental.kept import KeptImages
from mmer_core.incremental.planning import Plan, Planner
from mmer_core.memory import Passes, clean_maps_bytes
from mmer_core.tracing import running
from mmer_core.transfer import to_device

FEWEST = 16
"""Clean images that are kept, however large they are."""


class Evaluator(Protocol):
    """Scores images that differ from clean ones in ``K`` pixels; not thread-safe."""

    @property
    def device(self) -> torch.device:
        """The network's."""
        ...

    def images_at_once(self, pixels: int) -> int | None:
        """Number of clean images kept; cycling through more of them recomputes their maps. None: no limit."""
        ...

    def pass_size(self, useful: float) -> int:
        """Candidates that are best scored in one call, see `SparseVictim.pass_size`."""
        ...

    def exchanges(self, usual: int) -> bool:
        """Whether candidates that exchange so many pixels of a set in use are scored faster on the base of that set."""
        ...

    def __call__(
        self,
        clean: Tensor,
        rows: Sequence[int],
        pixels: Tensor,
        colours: Tensor,
        base: Base | None = None,
    ) -> Tensor:
        """Score ``B`` candidates to ``(B, S)`` float32; arguments as for `CandidateEvaluator`."""
        ...

    def dense(self, images: Tensor) -> Tensor:
        """Score whole images ``(B, H, W, 3)`` uint8 to ``(B, S)`` float32, as candidates of a large ``K`` are."""
        ...

    @property
    def first_order(self) -> FirstOrder:
        """First-order estimates instead of scores."""
        ...


class CandidateEvaluator:
    """Scores images that differ from clean ones in ``K`` pixels; not thread-safe.

    Args:
        planner: Determines the method.
        memory: Bytes for the clean maps kept by incremental evaluation; those of 16 images are kept in
            any case. By default the share of the device that one shard may take.
    """

    def __init__(self, planner: Planner, memory: int | None = None) -> None:
        self._planner = planner
        self._memory = clean_maps_bytes(planner.device) if memory is None else memory
        self._plan: Plan | None = None
        self._kept: KeptImages | None = None
        self._clean: Tensor | None = None
        self._passes = Passes()

    @property
    def device(self) -> torch.device:
        """The network's."""
        return self._planner.device

    def images_at_once(self, pixels: int) -> int | None:
        """Number of clean images kept; cycling through more of them recomputes their maps. None: no limit."""
        # More maps are kept for candidates that exchange one pixel.
        most = max(self._planner.bytes_per_image(number) for number in (pixels, min(pixels, 2)))
        return self._capacity_of(most)

    def exchanges(self, usual: int) -> bool:
        """As `Evaluator.exchanges`."""
        return self._planner.exchanges(usual)

    def pass_size(self, useful: float) -> int:
        """As `Evaluator.pass_size`, for candidates as those before; 1 before the first."""
        plan = self._plan
        if plan is None:
            return 1
        return self._planner.together(useful) if plan.any_size else plan.batch

    @cached_property
    def first_order(self) -> FirstOrder:
        """First-order estimates instead of scores."""
        return FirstOrder(self._planner)

    def _capacity_of(self, bytes_per_image: int) -> int | None:
        # All images of a pass need a slot.
        most = max(FEWEST, self._planner.most_windows)
        return max(most, self._memory // bytes_per_image) if bytes_per_image else None

    @torch.inference_mode()
    def __call__(
        self,
        clean: Tensor,
        rows: Sequence[int],
        pixels: Tensor,
        colours: Tensor,
        base: Base | None = None,
    ) -> Tensor:
        """Score candidates.

        Args:
            clean: ``(n, H, W, 3)`` uint8, all images under attack; not to be written to while it is in use here.
            rows: ``B`` indices into ``clean``.
            pixels: ``(B, K, 2)`` int64, ``(y, x)``; of two equal positions, the later one wins.
            colours: ``(B, K, 3)`` uint8.
            base: What is written into the images before, if anything; only where it `exchanges` so many.

        Returns:
            ``(B, S)`` float32 on the device.

        Raises:
            AttackError: A position is outside the image.
        """
        limits = to_device(torch.tensor(self._planner.size), pixels.device)
        if bool(((pixels < 0) | (pixels >= limits)).any()):
            raise AttackError(
                f"a candidate's position lies outside an image of {self._planner.size}; keep it inside"
            )
        # May trace the network, so it comes before any network runs.
        plan = self._planner.plan(2 * base.usual if base else pixels.shape[1], with_windows=base is not None)
        with running():
            self._follow(plan, len(clean), 0 if base is None else base.before.shape[1])
            kept = self._kept
            if kept is None:
                return self._densely(
                    plan, _write(clean[to_device(torch.tensor(rows), clean.device)], pixels, colours)
                )
            kept.begin(same_images=clean is self._clean)
            self._clean = clean
            last = last_colours(_places(pixels, self._planner.size[1]), colours)
            values = self._planner.input(last[:, :, None]).permute(0, 2, 3, 1)[:, :, 0].contiguous()
            where = pixels.to(self._planner.device, torch.int32)

            def score(numbers: Sequence[int]) -> Tensor:
                before = None if base is None else _taken(base.before, numbers)
                slots = kept.slots(clean, [rows[number] for number in numbers], before)
                of_pass = to_device(torch.tensor(slots, dtype=torch.int32), where.device)
                here = _taken(where, numbers)
                scores, windows = kept.network(of_pass, here, _taken(values, numbers))
                if base is not None:
                    kept.remember(slots, ScoredPass(_taken(base.after, numbers).cpu(), here, windows))
                return scores

            scores = [self._passes(score, numbers) for numbers in _in_passes(len(rows), plan)]
        return torch.cat(scores)[: len(rows)].float()

    @torch.inference_mode()
    def dense(self, images: Tensor) -> Tensor:
        """As `Evaluator.dense`."""
        plan = self._planner.dense
        with running():
            return self._densely(plan, images)

    def _densely(self, plan: Plan, images: Tensor) -> Tensor:
        assert plan.dense is not None
        run = plan.dense.run

        def score(numbers: Sequence[int]) -> Tensor:
            return run(self._planner.input(_taken(images, numbers)))

        scores = [self._passes(score, numbers) for numbers in _in_passes(len(images), plan)]
        return torch.cat(scores)[: len(images)].float()

    def _follow(self, plan: Plan, images: int, written: int) -> None:
        """Switch to a plan for images with so many pixels written, and drop what was kept for another one, or with room for
        fewer images."""
        capacity = min(self._capacity_of(plan.bytes_per_image) or 0, images)
        kept = self._kept
        if plan is self._plan and (kept is None or (capacity <= kept.capacity and written == kept.written)):
            return
        self._plan, self._kept = plan, None
        if plan.start:
            self._kept = KeptImages(plan.start(capacity), capacity, written, self._planner.input)


class MirroredEvaluator:
    """Mean of a network's scores of an image and of its mirror image, each by a `CandidateEvaluator`.

    Args:
        planner: Planner of the network for a single view.
        memory: Bytes for the clean maps of both views.
    """

    def __init__(self, planner: Planner, memory: int | None = None) -> None:
        self._planner, self._width = planner, planner.size[1]
        memory = clean_maps_bytes(planner.device) if memory is None else memory
        self._view, self._mirrored = (CandidateEvaluator(planner, memory // 2) for _ in range(2))
        self._clean: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """The network's."""
        return self._planner.device

    def images_at_once(self, pixels: int) -> int | None:
        """As `Evaluator.images_at_once`."""
        return self._view.images_at_once(pixels)

    def pass_size(self, useful: float) -> int:
        """As `Evaluator.pass_size`."""
        return self._view.pass_size(useful)

    def exchanges(self, usual: int) -> bool:
        """As `Evaluator.exchanges`."""
        return self._view.exchanges(usual)

    def dense(self, images: Tensor) -> Tensor:
        """As `Evaluator.dense`."""
        return torch.stack([self._view.dense(images), self._mirrored.dense(images.flip(2))]).mean(dim=0)

    @cached_property
    def first_order(self) -> FirstOrder:
        """As `Evaluator.first_order`."""
        return FirstOrder(self._planner, mirrored=True)

    def __call__(
        self,
        clean: Tensor,
        rows: Sequence[int],
        pixels: Tensor,
        colours: Tensor,
        base: Base | None = None,
    ) -> Tensor:
        """As `Evaluator`."""
        if self._clean is not clean:
            self._clean, self._mirror = clean, clean.flip(2)
        views = [
            self._view(clean, rows, pixels, colours, base),
            self._mirrored(
                self._mirror,
                rows,
                across(pixels, self._width),
                colours,
                None if base is None else base.mirrored(self._width),
            ),
        ]
        return torch.stack(views).mean(dim=0)


def _in_passes(count: int, plan: Plan) -> Iterator[Sequence[int]]:
    """The numbers of ``count`` candidates in passes: as large as the plan's, then halves, so that few sizes are compiled.

    In a pass that is to be filled up, the last is repeated.
    """
    start, size = 0, plan.batch
    while start < count:
        while plan.any_size and size > 1 and (count - start) * 8 < size * 7:
            size //= 2
        numbers = range(start, start + size)
        yield numbers if numbers.stop <= count else [min(number, count - 1) for number in numbers]
        start += size


def _taken(each: Tensor, numbers: Sequence[int]) -> Tensor:
    """Those rows of ``each``; without a copy where they follow each other."""
    return each[numbers.start : numbers.stop] if isinstance(numbers, range) else each[numbers]


def _write(images: Tensor, pixels: Tensor, colours: Tensor) -> Tensor:
    """``images`` ``(B, H, W, 3)`` with the pixels written into them, in order."""
    places = _places(pixels, images.shape[2])
    where = places[..., None].expand(-1, -1, 3)
    images.flatten(1, 2).scatter_(1, where, last_colours(places, colours))
    return images


def _places(pixels: Tensor, width: int) -> Tensor:
    """``(B, K)``: pixels ``(B, K, 2)``, ``(y, x)``, numbered in reading order."""
    return pixels[..., 0] * width + pixels[..., 1]
