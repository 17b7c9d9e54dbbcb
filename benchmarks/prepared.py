"""What prepared images take on disk, and to read at random: arrays beside images compressed without loss.

    python -m benchmarks.prepared --flickr8k DIR

The same photos are ingested in both formats; every image is then read alone, in random order, by one thread from the
page cache, and all of them must be the same. Ingestion is in CPU seconds of this process; reading is by the clock, because
a child process decompresses.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App

from benchmarks.raw_trees import flickr8k_tree
from benchmarks.result import finish, run_app
from mmer_core.config import IngestConfig, RuntimeConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.stages import Context
from mmer_core.stages.ingest import ingest

app = App(name="benchmarks.prepared", help=__doc__)


@app.default
def main(
    *, flickr8k: Path | None = None, photos: int = 1000, quick: bool = False, json: Path | None = None
) -> None:
    """Print size and speed of both formats.

    Parameters
    ----------
    flickr8k:
        Folder of a Flickr8k download, of which a sample is used; without it a miniature is drawn.
    photos:
        Photos to ingest.
    quick:
        A smoke test: 100 photos.
    json:
        File for the figures.
    """
    with tempfile.TemporaryDirectory() as place:
        root = flickr8k_tree(Path(place) / "raw", 100 if quick else photos, flickr8k)
        formats = {form: _measured(form, root, Path(place) / form) for form in ("npy", "webp")}
    (one, row), (other, packed) = formats.values()
    if not np.array_equal(one, other):
        raise SystemExit("the formats hold different pictures")
    finish("prepared", [row, packed], {"bytes, webp of npy": packed["bytes"] / row["bytes"]}, json)


def _measured(form: str, root: Path, place: Path) -> tuple[np.ndarray, dict[str, Any]]:
    context = Context(RuntimeConfig(store=str(place)))
    config = IngestConfig.model_validate({"dataset": "flickr8k", "root": root, "prepared_format": form})
    start = time.process_time()
    made = ingest(context, config)
    took = time.process_time() - start
    images = Prepared.open(made.folder).split("train").images("context")
    order = np.random.default_rng(0).permutation(len(images))
    start = time.perf_counter()
    read = [np.array(images[row]) for row in order]
    each = (time.perf_counter() - start) / len(order)
    files = [*made.folder.glob("train_context_*")]
    figures = {
        "format": form,
        "images": len(images),
        "bytes": sum(file.stat().st_size for file in files),
        "KiB an image": sum(file.stat().st_size for file in files) / len(images) / 1024,
        "ms to read one": 1000 * each,
        "ingestion, CPU s": took,
    }
    return np.stack(read), figures


if __name__ == "__main__":
    run_app(app)
