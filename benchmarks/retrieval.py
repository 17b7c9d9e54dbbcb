"""Speed, size and recall of mmer's automatically chosen index, compared with other engines in one run.

    python -m benchmarks.retrieval --flickr8k DIR --json FILE

All are compared on the same vectors of width 256 (see `benchmarks.retrieval_data`), with two threads for building:
mmer's choice by the functions of its stages; brute force in FAISS; hnswlib with M 16 and ef_construction 200;
autofaiss with its defaults. Each builds and searches in a process of its own.

For every required recall@10, the single search parameter of each engine is tuned by the same procedure on half of the
queries, and measured on the other half. Queries are timed in rounds, engine by engine (A B C D A B C D …), and medians
are reported. The main figure is for single queries in one thread, as in a service; batches in one and two threads are
reported as well. Memory is the growth of the process's proportional set size from opening the index and searching it,
including the pages of mapped files that the searches touched.

Without a folder of Flickr8k, the vectors are made from photos and captions that mmer draws. hnswlib is in the extra
``peers``; autofaiss requires numpy below 2, but works without:
``pip install --no-deps autofaiss embedding-reader fire termcolor``. Missing engines are skipped.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from benchmarks.result import finish, run_app
from benchmarks.retrieval_data import embeddings
from benchmarks.retrieval_engines import ENGINES
from benchmarks.retrieval_setting import Running, Setting, build, make, missing
from mmer_core.config import RuntimeConfig

app = App(name="benchmarks.retrieval", help=__doc__)

MAIN = 0.95
RECALLS = (0.9, MAIN, 0.99)
TIMINGS = {"1 by 1": ("single", 1), "batch": ("batch", 1), "batch, 2 threads": ("batch", 2)}
_EQUAL = 1.05  # memory up to this factor larger counts as equal


@app.default
def main(
    *,
    flickr8k: Path | None = None,
    images: int = 1200,
    kept: Path | None = None,
    vectors: int = 1_000_000,
    rounds: int = 5,
    quick: bool = False,
    json: Path | None = None,
    runtime: Annotated[RuntimeConfig, Parameter(name="*")] = RuntimeConfig(),
) -> None:
    """Build, tune, measure and compare; print a verdict.

    Parameters
    ----------
    flickr8k:
        Folder of a Flickr8k download from which the vectors are made; without it photos are drawn.
    images:
        Photos to draw.
    kept:
        File (.npz) for their embeddings; if it exists, they are read from it.
    vectors:
        Number of vectors to index.
    rounds:
        Rounds of every engine.
    quick:
        30,000 vectors from 300 drawn photos, and two rounds.
    json:
        File for the figures.
    """
    if quick:
        flickr8k, kept, images, vectors, rounds = None, None, 300, 30_000, 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runtime = runtime.model_copy(update={"store": f"{name}/store", "work": folder / "work", "workers": 1})
        setting = make(folder, embeddings(flickr8k, images, runtime, kept), [vectors])
        print(f"{vectors} vectors {setting.about}")
        built, running = _build(setting, vectors)
        try:
            tuned = _tune(running)
            _time(running, tuned, rounds)
            rows = _rows(built, running, tuned)
        finally:
            for one in running.values():
                one.close()
    source = "Flickr8k" if flickr8k else "drawn photos"
    verdict = _verdict(rows)
    print("\n".join(verdict))
    finish("retrieval", rows, _ratios(rows, f"{vectors} vectors from {source}"), json)


def _build(setting: Setting, count: int) -> tuple[dict[str, dict[str, Any]], dict[str, Running]]:
    built, running = {}, {}
    for engine in ENGINES:
        if package := missing(engine):
            print(f"{engine} is left out: {package} is not installed")
            continue
        folder = setting.folder / engine.replace(" ", "-")
        built[engine] = build(engine, setting, folder, count, MAIN)
        running[engine] = Running(engine, folder, setting, count)
    return built, running


def _tune(running: dict[str, Running]) -> dict[tuple[str, float | None], dict[str, Any]]:
    """Effort and recall by engine and required recall; None for the effort that an engine chose itself."""
    tuned: dict[tuple[str, float | None], dict[str, Any]] = {}
    for engine, one in running.items():
        for target in RECALLS:
            tuned[engine, target] = one.request("tune", target=target)
        own = one.request("about")["own effort"]
        if own is not None:
            tuned[engine, None] = {"effort": own} | one.request("recall", effort=own, target=MAIN)
    return tuned


def _time(
    running: dict[str, Running], tuned: dict[tuple[str, float | None], dict[str, Any]], rounds: int
) -> None:
    for _ in range(rounds):
        for (engine, target), found in tuned.items():
            for name, (how, threads) in TIMINGS.items():
                answer = running[engine].request(
                    "time", effort=found["effort"], target=target or MAIN, how=how, threads=threads
                )
                found.setdefault(name, []).append(answer["per second"])


def _rows(
    built: dict[str, dict[str, Any]],
    running: dict[str, Running],
    tuned: dict[tuple[str, float | None], dict[str, Any]],
) -> list[dict[str, Any]]:
    about = {engine: one.request("about") | one.request("memory") for engine, one in running.items()}
    rows = []
    for (engine, target), found in tuned.items():
        asked = "its own" if target is None else str(target) if found["reached"] else f"{target}, not reached"
        rows.append(
            {
                "engine": engine,
                "index": about[engine]["index"],
                "recall asked": asked,
                "effort": found["effort"],
                "recall@10": round(found["recall"], 4),
                **{f"{name} 1/s": statistics.median(found[name]) for name in TIMINGS},
                "memory MiB": about[engine]["memory MiB"],
                **built[engine],
                "open s": about[engine]["open s"],
            }
        )
    return rows


def _verdict(rows: list[dict[str, Any]]) -> list[str]:
    """Whether another engine is as accurate, fast and small as mmer at each recall, or faster with more memory."""
    said = []
    for target in map(str, RECALLS):
        mine = next((row for row in rows if row["engine"] == "mmer" and row["recall asked"] == target), None)
        if mine is None:
            said.append(f"recall {target}: mmer does not reach it")
            continue
        others = [row for row in rows if row["engine"] != "mmer" and row["recall asked"] == target]
        others += [
            row for row in rows if row["recall asked"] == "its own" and row["recall@10"] >= float(target)
        ]
        for name in TIMINGS:
            faster = [row for row in others if row[f"{name} 1/s"] > mine[f"{name} 1/s"]]
            small = [row for row in faster if row["memory MiB"] <= _EQUAL * mine["memory MiB"]]
            on_front = "not on the Pareto front" if small else "on the Pareto front"
            said.append(
                f"recall {target}, {name}: mmer is {on_front} of speed and memory; "
                f"faster at equal memory: {_named(small)}; faster with more memory: "
                f"{_named([row for row in faster if row not in small])}"
            )
    return said


def _named(rows: list[dict[str, Any]]) -> str:
    return ", ".join(sorted({row["engine"] for row in rows})) or "none"


def _ratios(rows: list[dict[str, Any]], what: str) -> dict[str, float]:
    at = {row["engine"]: row for row in rows if row["recall asked"] == str(MAIN)}
    mine = at.get("mmer")
    ratios = {}
    for engine, row in at.items():
        if mine is None or engine == "mmer":
            continue
        for name in TIMINGS:
            title = f"queries a second at recall@10 {MAIN}, {name}, mmer / {engine}, {what}"
            ratios[title] = mine[f"{name} 1/s"] / row[f"{name} 1/s"]
        for name in ("memory MiB", "disk MiB", "build s", "build CPU s", "peak MiB"):
            ratios[f"{name}, mmer / {engine}"] = mine[name] / row[name]
    return ratios


if __name__ == "__main__":
    run_app(app)
