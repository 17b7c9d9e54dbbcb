"""σ-zero beside adv-lib's, on the same classifier and images: success at each K, pixels needed, time.

    pip install adv-lib
    python -m benchmarks.sigma_zero --json sigma_zero.json

Both attack the classifier of `benchmarks.attack` on one thread; time is CPU time. adv-lib's counts channels and knows no
K: one run gives its figures for every K, as the number of pixels with a changed channel in the image that it returns,
rounded to 8 bits and judged alone by the plain model; an image that no longer succeeds then counts as failed. So does
an image of mmer's `fewest`, which is one run as well; it may change at most `--most` pixels. mmer's runs for one K end
with their first success. mmer gets two thirds of adv-lib's steps: one of its steps judges an 8-bit image as well.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App

from benchmarks.attack import MEAN, SIZE, STD, classifier, photos
from benchmarks.attack_peers import CountedClassifier
from benchmarks.result import finish
from mmer_core.attacks import (
    ClassifierVictim,
    DominantEmotionFlip,
    changed_pixels,
    run_attack,
    write_changes,
)
from mmer_core.attacks.sigma_zero import SigmaZero

app = App(name="benchmarks.sigma_zero", help=__doc__)


@app.default
def main(
    *,
    pixels: Sequence[int] = (1, 5, 20),
    images: int = 32,
    steps: int = 300,
    most: int = 200,
    quick: bool = False,
    json: Path | None = None,
) -> None:
    """Print success, pixels and time.

    Parameters
    ----------
    pixels:
        Numbers of changed pixels (K).
    images:
        Images to attack.
    steps:
        Steps of adv-lib's.
    most:
        Most pixels that mmer may need where it looks for the fewest.
    quick:
        A smoke test on two images.
    json:
        File for the figures.
    """
    torch.set_num_threads(1)
    if quick:
        images, steps, most = 2, 20, 50
    case = _Case(images)
    fewest, seconds = case.ours(SigmaZero(fewest=True), most, 2 * steps // 3)
    rows = [_row("mmer, fewest", fewest, seconds, pixels)]
    ratios: dict[str, float] = {}
    try:
        theirs, their_seconds = case.theirs(steps)
        rows.append(_row("adv-lib", theirs, their_seconds, pixels))
    except ImportError as error:
        print(f"adv-lib's is not compared: {error}")
        theirs, their_seconds = np.full(images, np.inf), np.inf
    for k in pixels:
        found, spent = case.ours(SigmaZero(), k, 2 * steps // 3)
        rows.append(_row(f"mmer, K = {k}", found, spent, pixels))
        if np.isfinite(their_seconds):
            ratios[f"K = {k}: images fooled, mmer - adv-lib"] = float(
                (found <= k).sum() - (theirs <= k).sum()
            )
            ratios[f"K = {k}: time, mmer / adv-lib"] = spent / their_seconds
    if np.isfinite(their_seconds):
        ratios["fewest: median pixels, mmer - adv-lib"] = float(np.median(fewest) - np.median(theirs))
        ratios["fewest: images that need no more pixels with mmer"] = float((fewest <= theirs).mean())
        ratios["fewest: time, mmer / adv-lib"] = seconds / their_seconds
    finish("sigma_zero", rows, ratios, json)


def _row(name: str, needed: np.ndarray, seconds: float, pixels: Sequence[int]) -> dict[str, Any]:
    """A row of the table from the pixels ``(n,)`` that each image needed, infinite where it was not fooled."""
    success = {f"K = {k}": f"{100 * (needed <= k).mean():.0f} %" for k in pixels}
    row = {
        "what": name,
        **success,
        "median pixels": np.median(needed),
        "seconds an image": seconds / len(needed),
    }
    print(*row.values(), sep=", ", flush=True)
    return row


class _Case:
    """A classifier, images, and its predictions for them."""

    def __init__(self, count: int) -> None:
        module = classifier()
        self._victim = ClassifierVictim(module, MEAN, STD, SIZE)
        self._plain = CountedClassifier(module, torch.tensor(MEAN), torch.tensor(STD)).eval()
        self._images = photos(count)
        self._labels = self._read(self._images)

    def ours(self, attack: SigmaZero, pixels: int, queries: int) -> tuple[np.ndarray, float]:
        """Pixels needed ``(n,)``, and seconds; the time excludes planning."""
        self._victim.planner.plan(pixels)
        ids, criterion = [str(row) for row in range(len(self._images))], DominantEmotionFlip(self._labels)
        start = time.process_time()
        outcomes = run_attack(
            self._victim, criterion, attack, self._images, ids, pixels=pixels, budget=queries
        )
        seconds = time.process_time() - start
        made = [write_changes(image, o.changed) for image, o in zip(self._images, outcomes, strict=True)]
        return self._needed(np.stack(made)), seconds

    def theirs(self, steps: int) -> tuple[np.ndarray, float]:
        """The same of adv-lib's."""
        from adv_lib.attacks.sigma_zero import sigma_zero

        made = []
        start = time.process_time()
        for image, label in zip(self._images, self._labels, strict=True):
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            made.append(sigma_zero(self._plain, pixels, torch.tensor([label]), num_steps=steps))
        seconds = time.process_time() - start
        found = 255 * torch.cat(made).permute(0, 2, 3, 1).numpy()
        return self._needed(np.rint(found).clip(0, 255).astype(np.uint8)), seconds

    def _needed(self, made: np.ndarray) -> np.ndarray:
        fooled = self._read(made) != self._labels
        changed = [changed_pixels(clean, one) for clean, one in zip(self._images, made, strict=True)]
        return np.where(fooled, changed, np.inf)

    def _read(self, images: np.ndarray) -> np.ndarray:
        """The plain model's label for each image, with batch size 1."""
        with torch.inference_mode():
            tensors = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2) / 255
            return np.array([int(self._plain(one).argmax()) for one in tensors.split(1)])


if __name__ == "__main__":
    app()
