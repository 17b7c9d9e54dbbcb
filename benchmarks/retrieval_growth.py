"""Growth of the automatically chosen index from ten thousand to ten million vectors.

    python -m benchmarks.retrieval_growth --flickr8k DIR --json FILE --plot FILE

Vectors and queries are those of `benchmarks.retrieval`. For every count an index is built by the functions of mmer's
stages, in a process of its own with two threads, tuned to recall@10 0.95 and searched in another process. The peak
memory is the anonymous memory of the building process; pages of files, which the kernel drops under memory pressure, are
listed separately. Building ten million vectors takes some 25 GB of disk in the temporary folder.

A second table extrapolates to a thousand million vectors: the number of machines that an index needs, by the same size
estimates as the choice of an index, and the cost of building, assuming that it remains dominated by the assignment of
vectors to lists and so grows with vectors times lists.
"""

import itertools
import math
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from cyclopts import App, Parameter

from benchmarks.result import Row, finish, joined, kept_rows, run_app
from benchmarks.retrieval import MAIN, TIMINGS
from benchmarks.retrieval_data import WIDTH, embeddings
from benchmarks.retrieval_engines import SHARD
from benchmarks.retrieval_setting import Running, Setting, build, make
from mmer_core.config import RuntimeConfig
from mmer_core.retrieval.choice import CANDIDATES, list_count, packed_bytes

app = App(name="benchmarks.retrieval_growth", help=__doc__)

PAPER = (10**7, 10**8, 10**9)
GIB = 16
"""Memory that an index may take on a machine with 24 GiB."""

PLOTTED = {
    "build s": "building, seconds",
    "peak MiB": "memory of the build, MiB",
    "memory MiB": "memory of the searches, MiB",
    "disk MiB": "disk, MiB",
    "1 by 1 1/s": "queries a second, one by one, one thread",
    "batch, 2 threads 1/s": "queries a second, in a batch, two threads",
}


@app.default
def main(
    *,
    flickr8k: Path | None = None,
    images: int = 1200,
    kept: Path | None = None,
    vectors: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000),
    rounds: int = 3,
    quick: bool = False,
    json: Path | None = None,
    plot: Path | None = None,
    runtime: Annotated[RuntimeConfig, Parameter(name="*")] = RuntimeConfig(),
) -> None:
    """Build, tune and measure every count.

    Parameters
    ----------
    flickr8k:
        Folder of a Flickr8k download from which the vectors are made; without it photos are drawn.
    images:
        Photos to draw.
    kept:
        File (.npz) for their embeddings; if it exists, they are read from it.
    vectors:
        Numbers of vectors.
    rounds:
        Number of timings, of which the median is reported.
    quick:
        Up to 40,000 vectors from 300 drawn photos.
    json:
        File for the figures; its rows of the same machine that are not measured now are kept. Those on paper go into another,
        whose name ends with ``-paper``.
    plot:
        File for the plot; beside the figures by default.
    """
    if quick:
        flickr8k, kept, images, vectors, rounds = None, None, 300, (10_000, 40_000), 1
    measured: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runtime = runtime.model_copy(update={"store": f"{name}/store", "work": folder / "work", "workers": 1})
        setting = make(folder, embeddings(flickr8k, images, runtime, kept), vectors)
        print(f"vectors {setting.about}")
        for count in vectors:
            measured.append(_measured(setting, count, rounds))
            print(measured[-1], flush=True)
    title = "retrieval-growth"
    rows = sorted(joined(kept_rows(title, json), measured, "vectors"), key=lambda row: row["vectors"])
    first, last = rows[0], rows[-1]
    ratios = {
        f"{name}, {last['vectors']} / {first['vectors']} vectors": last[name] / first[name]
        for name in PLOTTED
    }
    finish(title, rows, ratios, json)
    on_paper = [_on_paper(last, count, components) for count in PAPER for components in CANDIDATES]
    finish(f"{title}-paper", on_paper, {}, json and json.with_stem(f"{json.stem}-paper"))
    file = plot or (json and json.with_suffix(".png"))
    if file:
        _plot(rows, file)


def _measured(setting: Setting, count: int, rounds: int) -> Row:
    folder = setting.folder / f"index{count}"
    built = build("mmer", setting, folder, count, MAIN)
    running = Running("mmer", folder, setting, count)
    try:
        about, tuned = running.request("about"), running.request("tune", target=MAIN)
        rates = {
            f"{name} 1/s": statistics.median(
                running.request("time", effort=tuned["effort"], target=MAIN, how=how, threads=threads)[
                    "per second"
                ]
                for _ in range(rounds)
            )
            for name, (how, threads) in TIMINGS.items()
        }
        memory = running.request("memory")
    finally:
        running.close()
        shutil.rmtree(folder)
    return {
        "vectors": count,
        "index": about["index"],
        "effort": tuned["effort"],
        "recall@10": round(tuned["recall"], 4),
        **rates,
        **memory,
        **built,
        "open s": about["open s"],
    }


def _on_paper(measured: Row, count: int, components: int) -> Row:
    """An index that is split over machines, each with its own lists; every query goes to all of them."""
    codes = -(-WIDTH // components)

    def size(vectors: int) -> int:
        return packed_bytes(vectors, WIDTH, list_count(vectors), codes)

    machines = next(m for m in itertools.count(1) if size(math.ceil(count / m)) <= GIB * 2**30)
    part = math.ceil(count / machines)
    work = (count / measured["vectors"]) * (list_count(part) / list_count(measured["vectors"]))
    return {
        "vectors": count,
        "components a code": components,
        "machines": machines,
        "lists on each": list_count(part),
        "memory on each, GiB": size(part) / 2**30,
        "float16 vectors on disk in all, GiB": 2 * WIDTH * count / 2**30,
        "shards": math.ceil(count / SHARD),
        "core-hours to build": measured["build CPU s"] * work / 3600,
    }


def _plot(rows: list[Row], file: Path) -> None:
    figure, axes = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")
    counts = [row["vectors"] for row in rows]
    for axis, (name, title) in zip(axes.flat, PLOTTED.items(), strict=True):
        axis.loglog(counts, [row[name] for row in rows], "o-", color="#1f5f8b")
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
    figure.supxlabel("vectors")
    figure.savefig(file, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    run_app(app)
