"""The engine: many searches at once on one victim, in full batches, each success judged again by the victim itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmer_core.attacks.attack import (
    Attack,
    Generation,
    Search,
    Targets,
    check_image,
    check_request,
)
from mmer_core.attacks.candidates import Candidates, Pixel, check_places, list_changes
from mmer_core.attacks.criteria import Criterion
from mmer_core.attacks.judging import Judge, Verdict, render_one
from mmer_core.attacks.outcomes import Outcome, Reading, Status
from mmer_core.attacks.victims import Victim
from mmer_core.errors import AttackError
from mmer_core.heavy import torch
from mmer_core.kernels import exact_float32
from mmer_core.progress import Progress, silent
from mmer_core.transfer import to_device

_FADING = 0.9
"""Weight of a generation's improvements a generation later."""
_RAREST = 1000.0


@exact_float32()
def run_attack(
    victim: Victim,
    criterion: Criterion,
    attack: Attack,
    images: np.ndarray | Sequence[np.ndarray],
    sample_ids: Sequence[str],
    *,
    pixels: int,
    budget: int,
    seed: int = 0,
    batch_size: int = 64,
    progress: Progress = silent,
    read: Reading | None = None,
) -> list[Outcome]:
    """Attack every image and return one outcome each, in order.

    Clean images come first; those that meet the criterion are not attacked. The searches of all
    others share batches until each has succeeded or spent its budget. A candidate that succeeds in a batch
    is judged again by the victim's plain ``scores``; only that judgement makes it a success, otherwise its margin is the
    one judged and the search goes on. Batches of a ``SparseVictim`` are scored in its faster way, what is judged never is.

    Clean images, successes and final images are judged one by one on the CPU, and in batches on other devices. What a batch does
    to a score is rounding; so where a margin is within `judging.ROUNDING` of 0, the image is judged once more, alone in its batch, and
    that judgement counts: no verdict is another than that of the image alone.

    An image's random numbers depend on (seed, attack, K, sample id, number of the query), so shards and batch sizes
    change an outcome only as far as the victim's own rounding depends on the
    batch. The judgements of clean, successful and final images are not queries, and neither are
    candidates of the same batch behind a success.

    Args:
        victim: What is attacked; it and the criterion know an image by its row, 0 to ``n - 1``.
        criterion: What counts as success.
        attack: How candidates are found.
        images: ``(n, H, W, 3)`` uint8 in the victim's size; ``n`` may be 0. For a victim of several sizes ``n`` arrays
            ``(H, W, 3)``.
        sample_ids: ``n`` different ids.
        pixels: Most pixels to change (``K``), from 1 to ``H * W``.
        budget: Most queries for each image, unless the attack has a budget of its own; with 0 every image resists.
        seed: Seed of every search.
        batch_size: Most images in one call of the victim.
        progress: Gets the number of images that are done, others by their share of the budget, after the clean images and
            after every generation.
        read: What of the scores outcomes keep of clean and of final images; nothing when left out.

    Raises:
        AttackError: an argument is outside its range, the victim's scores hold NaN (with the sample's id)
            or have another shape, or an attack changed more than ``K`` pixels or needs gradients that the victim does not give.
    """
    _check_inputs(victim, images, sample_ids, batch_size)
    for size in [victim.size] if victim.size else [image.shape[:2] for image in images]:
        check_request(size, pixels, budget)
    judge = Judge(victim, criterion, images, sample_ids, batch_size, read)
    clean = judge.verdicts(np.arange(len(images)), None)
    attacked = [
        _Attacked(row, attack.paid(images[row].shape[:2], budget), verdict)
        for row, verdict in enumerate(clean)
    ]
    waiting = [one for one in attacked if not one.clean.success and one.budget]
    together = judge.images_at_once(pixels) or max(len(waiting), 1)

    def report(note: str) -> None:
        left = sum(1 - one.queries / one.budget for one in waiting if not one.over)
        progress(len(images) - left, len(images), note)

    report("clean images judged")
    for start in range(0, len(waiting), together):
        group = waiting[start : start + together]
        rows = [one.row for one in group]
        streams = [(seed, attack.name, pixels, sample_ids[row]) for row in rows]
        targets = Targets.of(images, rows, streams, judge.clean, pixels, budget)
        searched = _Group(judge, attack.start(victim, criterion, targets), group)
        while searched.advance():
            report(f"{sum(one.success is not None for one in waiting)} fooled")
        report(f"{sum(one.success is not None for one in waiting)} fooled")
    _judge_last(judge, waiting)
    return [
        Outcome(
            sample=sample,
            attack=attack.name,
            pixels=pixels,
            budget=one.budget,
            seed=seed,
            status=_status(one),
            queries=one.queries,
            clean_margin=one.clean.margin,
            final_margin=one.final.margin,
            changed=one.changed(images[one.row]),
            clean_top=one.clean.top,
            final_top=one.final.top,
            unconfirmed=one.unconfirmed,
            screened=one.screened,
            clean_reading=one.clean.reading,
            final_reading=one.final.reading,
        )
        for one, sample in zip(attacked, sample_ids, strict=True)
    ]


@dataclass(eq=False)
class _Attacked:
    """One image: the verdicts on it, its best candidate so far, and what was counted."""

    row: int
    budget: int
    clean: Verdict
    queries: int = 0
    unconfirmed: int = 0
    screened: int = 0
    over: bool = False
    best: Candidates | None = None
    success: Verdict | None = None
    last: Verdict | None = None

    @property
    def final(self) -> Verdict:
        """The verdict on the best candidate; on the clean image if nothing was tried."""
        return self.success or self.last or self.clean

    def changed(self, clean: np.ndarray) -> tuple[Pixel, ...]:
        return () if self.best is None else list_changes(clean, render_one(clean, self.best))


def _behind(margins: torch.Tensor, improving: torch.Tensor) -> torch.Tensor:
    """``(n, Q)``: whether a margin of the same image before it is below ``improving`` ``(n,)``."""
    better = margins < improving[:, None]
    return better.cumsum(dim=1) > better


@dataclass(frozen=True, eq=False)
class _Batch:
    """``B`` candidates that are judged together: for the images ``rows`` ``(B,)``, which are ``whose`` of the group's, each the
    ``now``-th of its image's generation and the ``at``-th of the group's."""

    candidates: Candidates
    rows: np.ndarray
    whose: np.ndarray
    now: np.ndarray
    at: torch.Tensor


@dataclass
class _Improvements:
    """How many queries improved their images, mainly of the last few generations. To begin with, half of them do."""

    queries: float = 2.0
    improvements: float = 1.0

    @property
    def queries_each(self) -> float:
        """Queries for each improvement, at most `_RAREST`."""
        return min(self.queries / max(self.improvements, 1e-9), _RAREST)

    def add(self, queries: int, improvements: int) -> None:
        self.queries = _FADING * self.queries + queries
        self.improvements = _FADING * self.improvements + improvements


class _Group:
    """Images that are attacked together: a search for all of them, and the best candidate of each so far."""

    def __init__(self, judge: Judge, search: Search, attacked: Sequence[_Attacked]) -> None:
        self._judge, self._search, self._alive = judge, search, list(attacked)
        self._improvements = _Improvements()
        targets = search.targets
        self._best_margins = targets.unknown()
        self._best_places = torch.zeros(
            len(targets), targets.pixels, dtype=torch.int64, device=targets.device
        )
        self._best_colours = torch.zeros(
            *self._best_places.shape, 3, dtype=torch.uint8, device=targets.device
        )

    def advance(self) -> bool:
        """Judge a generation; whether a search is left that is not over."""
        self._search.room = self._judge.room(len(self._alive), self._improvements.queries_each)
        generation = self._search.propose()
        asked = self._asked(generation)
        if generation is None or not asked.any():
            self._end(range(len(self._alive)))
            return False
        before = sum(one.queries for one in self._alive)
        margins, successes = self._judged(generation, asked)
        improved = self._take_best(generation, margins, successes)
        if (
            improved.device.type == "cpu"
        ):  # elsewhere passes are of one size, and looking would wait for the device
            self._improvements.add(sum(one.queries for one in self._alive) - before, int(improved.sum()))
        over = []
        for number, one in enumerate(self._alive):
            if number in successes:
                one.success = successes[number]
                changed = len(list_changes(self._search.targets.images[number], self._attacked_image(number)))
                if not self._search.goes_on(number, changed):
                    over.append(number)
                    continue
            if one.queries >= one.budget or not asked[number]:
                over.append(number)
        if over:
            margins = margins[self._end(over)]
        if self._alive:
            self._search.learn(margins)
        return bool(self._alive)

    def _asked(self, generation: Generation | None) -> np.ndarray:
        """``(n,)``: how many candidates of each image are judged, as far as the budget goes."""
        if generation is None:
            return np.zeros(len(self._alive), dtype=np.int64)
        targets = self._search.targets
        if generation.places.shape[2] > targets.pixels:
            raise AttackError(
                f"the attack {targets.streams[0][1]!r} changed {generation.places.shape[2]} pixels where K is "
                f"{targets.pixels}; an attack may not propose more than K"
            )
        check_places(generation.places, targets.areas[:, None, None])
        left = np.array([one.budget - one.queries for one in self._alive])
        counts = generation.places.shape[1] if generation.counts is None else generation.counts
        return np.minimum(left, counts)

    def _judged(self, generation: Generation, asked: np.ndarray) -> tuple[torch.Tensor, dict[int, Verdict]]:
        """Margins ``(n, Q)``, ``inf`` where nothing counts, and the verdicts on successes by number; counts the queries.

        The first candidates of all images come first, so that nothing more is asked of an image that succeeded.
        """
        proposed = Candidates(
            generation.places.flatten(0, 1),
            generation.colours.flatten(0, 1),
            generation.distinct,
            generation.exchange,
        )
        several = generation.places.shape[1]
        rows = np.array([one.row for one in self._alive])
        margins = self._search.targets.unknown(several)
        column, number = np.nonzero(np.arange(several)[:, None] < asked)
        successes: dict[int, Verdict] = {}
        counted = asked.copy()
        while len(number):
            now, column = column[: self._judge.batch_size], column[self._judge.batch_size :]
            whose, number = number[: self._judge.batch_size], number[self._judge.batch_size :]
            at = to_device(torch.from_numpy(whose * several + now), margins.device)
            # All of them are in order where each image has one.
            candidates = proposed if several == 1 and len(at) == len(proposed) else proposed[at]
            found, hit = self._judge.margins(rows[whose], candidates)
            margins.view(-1)[at] = found
            if hit:
                batch = _Batch(candidates, rows[whose], whose, now, at)
                for index, verdict in self._confirm(batch, margins, generation.improving):
                    counted[whose[index]] = now[index] + 1
                    successes[int(whose[index])] = verdict
                left = ~np.isin(number, [*successes])
                column, number = column[left], number[left]
        if generation.improving is not None:
            behind = _behind(margins, generation.improving)
            margins = margins.masked_fill(behind, torch.inf)
            counted = np.minimum(counted, several - behind.sum(dim=1).cpu().numpy())
        for one, count in zip(self._alive, counted.tolist(), strict=True):
            one.queries += count
        return margins, successes

    def _confirm(
        self, batch: _Batch, margins: torch.Tensor, improving: torch.Tensor | None
    ) -> list[tuple[int, Verdict]]:
        """Replace the margins of a batch's apparent successes by those judged, up to the first of an image that holds.

        What is behind that does not count. Returns the verdicts that hold, with their numbers in the batch.
        """
        flat = margins.view(-1)
        fooled: list[tuple[int, Verdict]] = []
        hits = (flat[batch.at] <= 0).cpu().numpy()
        while True:
            behind = None if improving is None else _behind(margins, improving).view(-1)[batch.at]
            at = np.flatnonzero(hits if behind is None else hits & ~behind.cpu().numpy())
            if not at.size:
                return fooled
            at = at[np.sort(np.unique(batch.whose[at], return_index=True)[1])]  # the first of each image
            which = to_device(torch.from_numpy(at), flat.device)
            judged = self._judge.verdicts(batch.rows[at], batch.candidates[which])
            for index, verdict in zip(at.tolist(), judged, strict=True):
                flat[batch.at[index]], hits[index] = verdict.margin, False
                of_image = batch.whose == batch.whose[index]
                if not verdict.success:
                    self._alive[batch.whose[index]].unconfirmed += 1
                    continue
                fooled.append((index, verdict))
                hits[of_image] = False
                later = np.flatnonzero(of_image & (batch.now > batch.now[index]))
                flat[batch.at[to_device(torch.from_numpy(later), flat.device)]] = torch.inf

    def _take_best(
        self, generation: Generation, margins: torch.Tensor, successes: dict[int, Verdict]
    ) -> torch.Tensor:
        """The first of the lowest margins, or the success; after one only another success. Returns which are better than
        before, ``(n,)``."""
        lowest, places, colours = margins[:, 0], generation.places[:, 0], generation.colours[:, 0]
        if margins.shape[1] > 1:
            leader = margins.argmin(dim=1)
            of_image = torch.arange(len(leader), device=leader.device)
            lowest, places, colours = (
                each[of_image, leader] for each in (margins, generation.places, generation.colours)
            )
        better = lowest < self._best_margins
        for number, one in enumerate(self._alive):
            if number in successes or one.success is not None:
                better[number] = number in successes
        self._best_margins = torch.where(better, lowest, self._best_margins)
        self._best_places = torch.where(better[:, None], places, self._best_places)
        self._best_colours = torch.where(better[:, None, None], colours, self._best_colours)
        return better

    def _attacked_image(self, number: int) -> np.ndarray:
        best = Candidates(self._best_places[number : number + 1], self._best_colours[number : number + 1])
        return render_one(self._search.targets.images[number], best)

    def _end(self, over: Sequence[int]) -> torch.Tensor:
        """Take searches that are over out of the group; returns the numbers of the others."""
        places, colours = self._best_places, self._best_colours
        for number in over:
            one = self._alive[number]
            one.over, one.screened = True, self._search.screened(number)
            if one.queries:
                one.best = Candidates(places[number : number + 1], colours[number : number + 1])
        ended = set(over)
        left = [number for number in range(len(self._alive)) if number not in ended]
        those = to_device(torch.tensor(left, dtype=torch.int64), places.device)
        self._alive = [self._alive[number] for number in left]
        self._search.keep(those)
        self._best_margins = self._best_margins[those]
        self._best_places, self._best_colours = places[those], colours[those]
        return those


def _judge_last(judge: Judge, attacked: Sequence[_Attacked]) -> None:
    """Judge the best candidates of searches that are over and had no success."""
    open_ones = [one for one in attacked if one.best is not None and one.success is None]
    if open_ones:
        tried = [one.best for one in open_ones if one.best is not None]
        best = Candidates(torch.cat([one.places for one in tried]), torch.cat([one.colours for one in tried]))
        rows = np.array([one.row for one in open_ones])
        for one, verdict in zip(open_ones, judge.verdicts(rows, best), strict=True):
            one.last = verdict


def _status(attacked: _Attacked) -> Status:
    if attacked.clean.success:
        return "already"
    return "fooled" if attacked.success else "resisted"


def _check_inputs(
    victim: Victim, images: np.ndarray | Sequence[np.ndarray], sample_ids: Sequence[str], batch_size: int
) -> None:
    if victim.size is None:
        for image in images:
            check_image(image)
    elif not isinstance(images, np.ndarray):
        raise AttackError(
            f"images to attack are a {type(images).__name__}; give a NumPy array, uint8 (n, H, W, 3)"
        )
    elif images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (*victim.size, 3):
        raise AttackError(
            f"images to attack are {images.dtype} {images.shape}; this victim reads "
            f"uint8 RGB (n, {victim.size[0]}, {victim.size[1]}, 3)"
        )
    if len(sample_ids) != len(images) or len(set(sample_ids)) != len(images):
        raise AttackError(
            f"{len(images)} images came with {len(sample_ids)} sample ids, {len(set(sample_ids))} of them "
            "different; give each image an id of its own"
        )
    if batch_size < 1:
        raise AttackError(f"batch_size is {batch_size}; give 1 or more")
