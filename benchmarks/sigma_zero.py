"""σ-zero beside adv-lib's, on the same classifier and images: success at each K, pixels needed, time.

    pip install "setuptools<81" && pip install --no-build-isolation adv-lib
    python -m benchmarks.sigma_zero --json sigma_zero.json

Both attack the classifier of `benchmarks.attack` on one thread, several images at once; time is CPU time. adv-lib's counts channels and knows no
K: one run gives its figures for every K, as the number of pixels with a changed channel in the image that it returns,
rounded to 8 bits and judged alone by the plain model; an image that no longer succeeds then counts as failed. So does
an image of mmer's `fewest`, which is one run as well; it may change at most `--most` pixels. mmer's runs for one K end
with their first success. mmer gets four fifths of adv-lib's steps, because one of its steps judges an 8-bit image as
well.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App

from benchmarks.attack_case import AttackedPhotos
from benchmarks.result import finish, run_app
from mmer_core.attacks import changed_pixels
from mmer_core.attacks.sigma_zero import SigmaZero

Run = Callable[[slice], tuple[np.ndarray, float]]
"""Numbers of images to the attacked images, ``(n, H, W, 3)`` uint8, and CPU seconds."""

app = App(name="benchmarks.sigma_zero", help=__doc__)


@app.default
def main(
    *,
    pixels: Sequence[int] = (1, 5, 20),
    images: int = 32,
    steps: int = 300,
    most: int = 200,
    side: int = 224,
    at_once: int = 16,
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
    side:
        Height and width of the images.
    at_once:
        Images that each attacks together.
    quick:
        A smoke test on two images.
    json:
        File for the figures.
    """
    torch.set_num_threads(1)
    if quick:
        images, steps, most = 2, 20, 50
    case, queries = _Case(images, (side, side)), 4 * steps // 5
    runs: dict[str, Run] = {"mmer, fewest": partial(case.ours, SigmaZero(fewest=True), most, queries)}
    runs |= {f"mmer, K = {k}": partial(case.ours, SigmaZero(), k, queries) for k in pixels}
    try:
        import adv_lib.attacks.sigma_zero  # noqa: F401
    except ImportError as error:
        print(f"adv-lib's is not compared: {error}")
    else:
        runs["adv-lib"] = partial(case.theirs, steps)
    needed = {name: np.full(images, np.inf) for name in runs}
    seconds = dict.fromkeys(runs, 0.0)
    for start in range(0, images, at_once):  # in turn, so that all run under the same conditions
        rows = slice(start, min(start + at_once, images))
        for name, run in runs.items():
            made, spent = run(rows)
            seconds[name] += spent
            needed[name][rows] = case.needed(rows, made)
            print(f"images {rows.start} to {rows.stop - 1}, {name}: {spent:.0f} s", flush=True)
    table = [_row(name, needed[name], seconds[name], pixels) for name in runs]
    ratios: dict[str, float] = {}
    if "adv-lib" in runs:
        theirs, ours = needed["adv-lib"], needed["mmer, fewest"]
        for name in runs:
            ratios[f"{name}: time / adv-lib's"] = seconds[name] / seconds["adv-lib"]
        for k in pixels:
            more = (needed[f"mmer, K = {k}"] <= k).sum() - (theirs <= k).sum()
            ratios[f"K = {k}: images fooled, mmer's - adv-lib's"] = float(more)
        ratios["fewest: share of images that need no more pixels than with adv-lib"] = float(
            (ours <= theirs).mean()
        )
    finish("sigma_zero", table, ratios, json)


def _row(name: str, needed: np.ndarray, seconds: float, pixels: Sequence[int]) -> dict[str, Any]:
    """A row of the table from the pixels ``(n,)`` that each image needed, infinite where it was not fooled."""
    success = {f"K = {k}": f"{100 * (needed <= k).mean():.0f} %" for k in pixels}
    median = np.median(needed)
    return {
        "what": name,
        **success,
        "median pixels": "-" if np.isinf(median) else float(median),
        "CPU s an image": seconds / len(needed),
    }


class _Case(AttackedPhotos):
    """Attacks on some images; each returns images ``(n, H, W, 3)`` uint8 and CPU seconds."""

    def ours(self, attack: SigmaZero, pixels: int, queries: int, rows: slice) -> tuple[np.ndarray, float]:
        _, made, seconds = self.attack(attack, rows, pixels, queries)
        return made, seconds

    def theirs(self, steps: int, rows: slice) -> tuple[np.ndarray, float]:
        from adv_lib.attacks.sigma_zero import sigma_zero

        pixels = torch.from_numpy(self.images[rows]).permute(0, 3, 1, 2).float() / 255
        start = time.process_time()
        found = sigma_zero(self.plain, pixels, torch.from_numpy(self.labels[rows]), num_steps=steps)
        seconds = time.process_time() - start
        return np.rint(255 * found.permute(0, 2, 3, 1).numpy()).clip(0, 255).astype(np.uint8), seconds

    def needed(self, rows: slice, made: np.ndarray) -> np.ndarray:
        """Pixels that differ in each image, infinite where the plain model is not fooled."""
        changed = [*map(changed_pixels, self.images[rows], made)]
        return np.where(self.read(made) != self.labels[rows], changed, np.inf)


if __name__ == "__main__":
    run_app(app)
