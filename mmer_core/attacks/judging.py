"""Judging: what a victim and a criterion say of images and of candidates, with everything checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmer_core.attacks.attack import precision
from mmer_core.attacks.candidates import Candidates, Renderer
from mmer_core.attacks.criteria import Criterion
from mmer_core.attacks.outcomes import Reading
from mmer_core.attacks.victims import SparseVictim, Victim
from mmer_core.errors import AttackError, at, listed
from mmer_core.heavy import torch
from mmer_core.transfer import to_device

ROUNDING = 1e-3
"""Of the largest score of an image: by less, its scores in a batch differ from those alone. Far above the rounding of
float32, which victims compute in; one that computes in half precision may round by more."""


@dataclass(frozen=True)
class Verdict:
    """The judgement of one image."""

    margin: float
    top: int
    reading: tuple[float, ...]

    @property
    def success(self) -> bool:
        return self.margin <= 0


class Judge:
    """Victim and criterion as one: images or candidates in, margins out, everything checked.

    A victim may score candidates in a faster way that rounds differently; verdicts are always by its plain ``scores``.

    Attributes:
        clean: ``(n, H, W, 3)`` uint8, all images on the device where candidates are made; None where they are of several
            sizes.
    """

    def __init__(
        self,
        victim: Victim,
        criterion: Criterion,
        images: np.ndarray | Sequence[np.ndarray],
        sample_ids: Sequence[str],
        batch_size: int,
        read: Reading | None,
    ) -> None:
        self._victim, self._criterion, self._images, self._ids = victim, criterion, images, sample_ids
        self._read, self.batch_size = read, batch_size
        self._faster = victim if isinstance(victim, SparseVictim) else None
        self.clean: torch.Tensor | None = None
        if isinstance(images, np.ndarray) and victim.size:
            there = self._faster.device if self._faster else torch.device("cpu")
            self.clean = torch.from_numpy(np.require(images, requirements=["C", "W"])).to(there)
            self._render = Renderer(self.clean)

    def images_at_once(self, pixels: int) -> int | None:
        """How many images the victim is best asked about in turn; None: any number."""
        return self._faster.images_at_once(pixels) if self._faster else None

    def room(self, images: int, queries_each: float) -> int:
        """Candidates that are best judged together, at least one of each image, where one of ``queries_each`` queries improves
        its image."""
        size = self._faster.pass_size(images * queries_each) if self._faster else 1
        return max(images, min(-(-images // size) * size, self.batch_size))

    def margins(self, rows: np.ndarray, candidates: Candidates) -> tuple[torch.Tensor, bool]:
        """Candidates for the images of ``rows`` ``(B,)`` to margins ``(B,)``, on their device, and whether one is a success."""
        which = torch.from_numpy(rows)
        with at(lambda: self._named(rows)):
            if self._faster:
                clean = torch.empty(0, dtype=torch.uint8) if self.clean is None else self.clean
                scores = self._faster.candidate_scores(clean, which, candidates)
            else:
                scores = self._victim.scores(self._render(which, candidates), which)
        there = candidates.places.device
        margins, lowest = self._checked(scores, rows)
        return margins.to(there, precision(there)), lowest <= 0

    def verdicts(self, rows: np.ndarray, candidates: Candidates | None) -> list[Verdict]:
        """Judge candidates for ``rows`` ``(B,)``, or the clean images, by plain scores."""
        found = []
        size = 1 if self.clean is None else _judged_together(self.clean.device, self.batch_size)
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            found += self._together(rows[part], candidates and candidates[part])
        return found

    def _together(self, rows: np.ndarray, candidates: Candidates | None) -> list[Verdict]:
        with at(lambda: self._named(rows)):
            scores = self._victim.scores(self._drawn(rows, candidates), torch.from_numpy(rows))
        margins, _ = self._checked(scores, rows)
        near = margins.abs() <= ROUNDING * scores.abs().amax(dim=1).to(margins)
        columns = zip(margins.tolist(), scores.argmax(dim=1).tolist(), near.tolist(), strict=True)
        scores, verdicts = scores.cpu(), []
        for number, (margin, top, close) in enumerate(columns):
            if close and len(rows) > 1:
                one = slice(number, number + 1)
                verdicts += self._together(rows[one], candidates and candidates[one])
                continue
            row = int(rows[number])
            reading = () if self._read is None else tuple(map(float, self._read(scores[number], row)))
            verdicts.append(Verdict(margin, top, reading))
        return verdicts

    def _drawn(self, rows: np.ndarray, candidates: Candidates | None) -> torch.Tensor:
        """``(B, H, W, 3)`` uint8: what candidates make of the images ``rows``, or these as they are."""
        if self.clean is None:
            (row,) = rows  # images of several sizes are judged one by one
            image = self._images[row]
            return torch.from_numpy(
                image[None].copy() if candidates is None else render_one(image, candidates)[None]
            )
        which = torch.from_numpy(rows)
        return (
            self.clean[to_device(which, self.clean.device)]
            if candidates is None
            else self._render(which, candidates)
        )

    def _named(self, rows: np.ndarray) -> str:
        return listed([self._ids[row] for row in np.unique(rows).tolist()], "sample")

    def _checked(self, scores: torch.Tensor, rows: np.ndarray) -> tuple[torch.Tensor, float]:
        """The margins ``(B,)`` of scores, and the lowest."""
        if scores.ndim != 2 or len(scores) != len(rows):
            raise AttackError(f"the victim's scores for {len(rows)} images have shape {tuple(scores.shape)}")
        self._lowest("scores", scores, rows)
        margins = self._criterion.margin(scores, torch.from_numpy(rows))
        return margins, self._lowest("margins", margins[:, None], rows)

    def _lowest(self, what: str, numbers: torch.Tensor, rows: np.ndarray) -> float:
        """The lowest of numbers that are refused where there is NaN, which is the lowest wherever it is."""
        lowest = float(numbers.amin())
        if math.isnan(lowest):
            sample = self._ids[int(rows[numbers.isnan().any(dim=1).cpu().numpy()][0])]
            by = f" by {self._criterion!r}" if what == "margins" else ""
            raise AttackError(
                f"the victim's {what}{by} for sample {sample!r} hold NaN, which can be compared with nothing; "
                "repair the victim or leave the sample out"
            )
        return lowest


def _judged_together(device: torch.device, batch_size: int) -> int:
    """How many verdicts are asked for at once: on the CPU, where batches win little, one. So what is published there is the same
    to the last bit, however the work is cut."""
    return 1 if device.type == "cpu" else batch_size


def render_one(clean: np.ndarray, candidate: Candidates) -> np.ndarray:
    """``(H, W, 3)``: the image that one candidate makes of ``clean``."""
    attacked = clean.copy()
    attacked.reshape(-1, 3)[candidate.places[0].cpu().numpy()] = candidate.final_colours()[0].cpu().numpy()
    return attacked
