"""What it would save to decode a JPEG at a fraction of its size, and by how much its pixels would be others.

    python -m benchmarks.scaled_decoding

A drawn photo is decoded whole and, by libjpeg's scaled inverse transforms, no smaller than twice the side that is kept; both are
resized as ingestion does it. Why ingestion decodes whole is in docs/decisions.md.
"""

import statistics
import time
from io import BytesIO
from pathlib import Path

import numpy as np
from cyclopts import App
from PIL import Image

from benchmarks.raw_trees import NOISE
from benchmarks.result import finish, run_app
from mmer_core.config import SyntheticConfig
from mmer_core.datasets.photos import resized
from mmer_core.datasets.synthetic.shares import draw_photo, generator

app = App(name="benchmarks.scaled_decoding", help=__doc__)

KEPT = 224
SIZES = ((640, 480), (1280, 960), (4000, 3000))


@app.default
def main(*, repeats: int = 20, quick: bool = False, json: Path | None = None) -> None:
    """Print milliseconds of CPU a photo, and the mean difference in gray levels.

    Parameters
    ----------
    repeats:
        Decodings of each kind, in turn; the table shows medians.
    quick:
        A smoke test.
    json:
        File for the figures.
    """
    _, drawing = draw_photo(generator(SyntheticConfig(), "scaled decoding", 0))
    noise = np.random.default_rng(0)
    rows = []
    for size in SIZES:
        pixels = np.asarray(drawing.image.convert("RGB").resize(size), np.float32)
        grainy = np.clip(pixels + noise.normal(0, NOISE, pixels.shape), 0, 255).astype(np.uint8)
        file = BytesIO()
        Image.fromarray(grainy).save(file, "JPEG", quality=90)
        times: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(3 if quick else repeats):
            for scaled, taken in times.items():
                taken.append(_milliseconds(file, scaled))
        whole, fraction = (_decoded(file, scaled) for scaled in times)
        apart = np.abs(resized(whole, KEPT).astype(int) - resized(fraction, KEPT))
        rows.append(
            {
                "photo": f"{size[0]} x {size[1]}",
                "whole, ms": statistics.median(times[False]),
                "scaled, ms": statistics.median(times[True]),
                "scaled to": f"{fraction.width} x {fraction.height}",
                "mean difference of 255": float(apart.mean()),
            }
        )
    finish("scaled-decoding", rows, {}, json)


def _decoded(file: BytesIO, scaled: bool) -> Image.Image:
    file.seek(0)
    image = Image.open(file)
    if scaled:
        image.draft("RGB", (2 * KEPT, 2 * KEPT))
    image.load()
    return image


def _milliseconds(file: BytesIO, scaled: bool) -> float:
    start = time.process_time()
    _decoded(file, scaled)
    return 1000 * (time.process_time() - start)


if __name__ == "__main__":
    run_app(app)
