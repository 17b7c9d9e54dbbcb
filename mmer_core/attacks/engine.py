"""The engine: many searches at once on one victim, in full batches, each success checked on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmer_core.attacks.attack import Attack, Search, check_image, check_request
from mmer_core.attacks.candidates import (
    Candidates,
    Pixel,
    apply,
    changed_pixels,
    concatenate,
    list_changes,
    write_changes,
)
from mmer_core.attacks.criteria import Criterion
from mmer_core.attacks.outcomes import Outcome, Reading, Status
from mmer_core.attacks.victims import SparseVictim, Victim
from mmer_core.errors import AttackError
from mmer_core.heavy import torch
from mmer_core.kernels import exact_float32
from mmer_core.progress import Progress, silent
from mmer_core.seeding import random_stream


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

    Clean images come first, each alone; those that meet the criterion are not attacked. The searches of all
    others share batches until each has succeeded or spent its budget. A candidate that succeeds in a batch
    is judged again from its list of changed pixels, alone in its batch; only that judgement makes it a
    success, otherwise its margin is the one judged alone and the search goes on. Batches of a
    ``SparseVictim`` are scored in its faster way, what is judged alone never is.

    An image's random stream depends on (seed, attack, K, sample id) and its search not on who shares its
    batches, so shards and batch sizes change an outcome only if the victim's own rounding depends on the
    batch. The extra judgements of clean, successful and final images are not queries, and neither are
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
            after every batch.
        read: What of the scores outcomes keep of clean and of final images; nothing when left out.

    Raises:
        AttackError: an argument is outside its range, the victim's scores hold NaN (with the sample's id)
            or have another shape, or an attack changed more than ``K`` pixels or needs gradients that the victim does not give.
    """
    _check_inputs(victim, images, sample_ids, batch_size)
    for size in [victim.size] if victim.size else [image.shape[:2] for image in images]:
        check_request(size, pixels, budget)
    judge = _Judge(victim, criterion, images, sample_ids, pixels, read)
    searches = []
    for row, sample in enumerate(sample_ids):
        rng = random_stream(seed, attack.name, pixels, sample)
        search = attack.start_on(victim, criterion, row, images[row], pixels, rng, budget)
        searches.append(_ImageSearch(row, search, judge.alone(row, ())))

    active = [
        attacked for attacked in searches if not attacked.clean.success and not attacked.search.finished
    ]
    progress(len(searches) - len(active), len(searches), "clean images judged")
    while active:
        together = judge.images_at_once or len(active)
        active = _advance(judge, active[:together], batch_size) + active[together:]
        fooled = sum(attacked.search.succeeded for attacked in searches)
        left = sum(1 - one.search.queries / one.search.budget for one in active)
        progress(len(searches) - left, len(searches), f"{fooled} fooled")

    outcomes = []
    for attacked, sample in zip(searches, sample_ids, strict=True):
        final = judge.final(attacked)
        outcomes.append(
            Outcome(
                sample=sample,
                attack=attack.name,
                pixels=pixels,
                budget=attacked.search.budget,
                seed=seed,
                status=_status(attacked, final),
                queries=attacked.search.queries,
                clean_margin=attacked.clean.margin,
                final_margin=final.margin,
                changed=final.changed,
                clean_top=attacked.clean.top,
                final_top=final.top,
                unconfirmed=attacked.unconfirmed,
                screened=attacked.search.screened,
                clean_reading=attacked.clean.reading,
                final_reading=final.reading,
            )
        )
    return outcomes


@dataclass(frozen=True)
class _Verdict:
    """The judgement of one image, alone in its batch."""

    margin: float
    top: int
    changed: tuple[Pixel, ...]
    reading: tuple[float, ...]

    @property
    def success(self) -> bool:
        return self.margin <= 0


@dataclass
class _ImageSearch:
    """One image's search, the verdict on its clean image, and what the batches got wrong."""

    row: int
    search: Search
    clean: _Verdict
    unconfirmed: int = 0


class _Judge:
    """Victim and criterion as one: images or candidates in, margins out, everything checked.

    A victim may score candidates in a faster way that rounds differently; what is judged alone is always
    judged by its plain ``scores``.
    """

    def __init__(
        self,
        victim: Victim,
        criterion: Criterion,
        images: np.ndarray | Sequence[np.ndarray],
        sample_ids: Sequence[str],
        pixels: int,
        read: Reading | None,
    ) -> None:
        self.images, self._read = images, read
        self._clean = torch.tensor(images) if victim.size else torch.empty(0, dtype=torch.uint8)
        self._victim, self._criterion, self._ids, self._pixels = victim, criterion, sample_ids, pixels

    def _scores(self, attacked: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        """``(B, H, W, 3)`` images of ``rows`` ``(B,)`` to ``(B, S)``."""
        return self._victim.scores(torch.from_numpy(attacked), torch.from_numpy(rows))

    def candidates(self, candidates: Candidates, rows: np.ndarray) -> np.ndarray:
        """Candidates for the images of ``rows`` ``(B,)`` to margins ``(B,)`` float64."""
        if not isinstance(self._victim, SparseVictim):
            attacked = apply(np.stack([self.images[row] for row in rows]), candidates)
            return self._margins(self._scores(attacked, rows), rows)
        scores = self._victim.candidate_scores(self._clean, torch.from_numpy(rows), candidates)
        return self._margins(scores, rows)

    @property
    def images_at_once(self) -> int | None:
        """How many images the victim is best asked about in turn; None: any number."""
        return self._victim.images_at_once(self._pixels) if isinstance(self._victim, SparseVictim) else None

    def _margins(self, scores: torch.Tensor, rows: np.ndarray) -> np.ndarray:
        """``(B,)`` float64."""
        if scores.ndim != 2 or len(scores) != len(rows):
            raise AttackError(f"the victim's scores for {len(rows)} images have shape {tuple(scores.shape)}")
        self._refuse_nan("scores", scores.isnan().any(dim=1), rows)
        margins = self._criterion.margin(scores, torch.from_numpy(rows))
        self._refuse_nan(f"margins by {self._criterion!r}", margins.isnan(), rows)
        return margins.cpu().double().numpy()

    def alone(self, row: int, changed: tuple[Pixel, ...]) -> _Verdict:
        """Judge an image from the list of its changed pixels: what anybody can repeat from the outcome."""
        attacked = write_changes(self.images[row], changed)
        if changed_pixels(self.images[row], attacked) > self._pixels:
            raise AttackError(
                f"the attack on sample {self._ids[row]!r} changed {len(changed)} pixels where K is "
                f"{self._pixels}; an attack may not propose more than K"
            )
        scores = self._scores(attacked[None], np.array([row]))
        margin = float(self._margins(scores, np.array([row]))[0])
        reading = () if self._read is None else tuple(map(float, self._read(scores[0].cpu(), row)))
        return _Verdict(margin, int(scores[0].argmax()), changed, reading)

    def final(self, attacked: _ImageSearch) -> _Verdict:
        """The verdict on the best image of a search that is over; on the clean one if nothing was tried."""
        if attacked.search.best is None:
            return attacked.clean
        return self.alone(attacked.row, self.changes(attacked.row, attacked.search.best))

    def changes(self, row: int, candidate: Candidates) -> tuple[Pixel, ...]:
        """The pixels that one candidate changes in the image of ``row``."""
        clean = self.images[row]
        return list_changes(clean, apply(clean[None], candidate)[0])

    def _refuse_nan(self, what: str, broken: torch.Tensor, rows: np.ndarray) -> None:
        if broken.any():
            sample = self._ids[int(rows[broken.cpu().numpy()][0])]
            raise AttackError(
                f"the victim's {what} for sample {sample!r} hold NaN, which can be compared with nothing; "
                "repair the victim or leave the sample out"
            )


def _advance(judge: _Judge, active: list[_ImageSearch], batch_size: int) -> list[_ImageSearch]:
    """Judge one batch pooled from the active searches; return those that are not over, next ones first."""
    asked: list[tuple[_ImageSearch, Candidates]] = []
    waiting: list[_ImageSearch] = []
    room = batch_size
    for position, attacked in enumerate(active):
        if not room:
            waiting = active[position:]
            break
        share = -(-room // (len(active) - position))
        candidates = attacked.search.ask(share)
        if candidates is not None:
            asked.append((attacked, candidates))
            room -= len(candidates)
    if not asked:
        return waiting
    rows = np.repeat([attacked.row for attacked, _ in asked], [len(candidates) for _, candidates in asked])
    margins = judge.candidates(concatenate([candidates for _, candidates in asked]), rows)
    start = 0
    for attacked, candidates in asked:
        part = slice(start, start + len(candidates))
        _confirm(judge, attacked, candidates, margins[part])
        attacked.search.tell(margins[part])
        start = part.stop
    return waiting + [attacked for attacked, _ in asked if not attacked.search.finished]


def _confirm(judge: _Judge, attacked: _ImageSearch, candidates: Candidates, margins: np.ndarray) -> None:
    """Replace the margins of apparent successes by those judged alone, up to the first that holds."""
    for index in np.flatnonzero(margins <= 0):
        verdict = judge.alone(attacked.row, judge.changes(attacked.row, candidates[index : index + 1]))
        margins[index] = verdict.margin
        if verdict.success:
            return
        attacked.unconfirmed += 1


def _status(attacked: _ImageSearch, final: _Verdict) -> Status:
    if attacked.clean.success:
        return "already"
    return "fooled" if final.success else "resisted"


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
