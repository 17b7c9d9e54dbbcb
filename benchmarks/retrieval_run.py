"""One engine in a separate process, to measure its time and memory separately.

    python -m benchmarks.retrieval_run build ENGINE VECTORS FOLDER COUNT
    python -m benchmarks.retrieval_run serve ENGINE FOLDER QUERIES EXACT

``build`` prints its cost as one line of JSON; ``serve`` reads requests and prints answers, one line of JSON each.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.memory import peak
from benchmarks.retrieval_engines import ENGINES, Engine, VectorFile, Vectors
from mmer_core.retrieval.ranking import Neighbours, recall
from mmer_core.retrieval.tuning import least_effort

_SECONDS = 3.0  # approximate upper bound of one timing


def build(engine: str, vectors: Path, folder: Path, count: int, target: float) -> dict[str, Any]:
    """Build an index; report seconds, CPU seconds, peak anonymous memory, and bytes on disk."""
    watch = _Watch()
    vector_file = VectorFile(vectors, count)
    watch.start()
    started, cpu = time.perf_counter(), time.process_time()
    made = ENGINES[engine]()
    made.build(vector_file, folder, target)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {
        "build s": wall,
        "build CPU s": cpu,
        "peak MiB": watch.stop() / 2**20,
        "peak with files MiB": peak(),
        "disk MiB": made.size(folder) / 2**20,
    }


class Server:
    """An opened index that answers requests; even-numbered queries are for tuning, odd-numbered ones for measuring."""

    def __init__(self, engine: str, folder: Path, queries: Path, exact: Path) -> None:
        self._queries: Vectors = np.load(queries, allow_pickle=False)
        both = np.load(exact, allow_pickle=False)
        self._exact = Neighbours(both["rows"], both["scores"])
        self._engine: Engine = ENGINES[engine]()
        before, started = _proportional(), time.perf_counter()
        self._engine.open(folder)
        self._opened = time.perf_counter() - started
        self._engine.threads(1)
        self._before = before

    def about(self) -> dict[str, Any]:
        """The index, its opening time, and the effort that the engine chose itself."""
        engine = self._engine
        return {
            "index": engine.name,  # type: ignore[attr-defined]
            "parameter": engine.parameter,
            "open s": self._opened,
            "own effort": engine.own_effort(),
        }

    def tune(self, target: float) -> dict[str, Any]:
        """The smallest effort that reaches a recall on the tuning queries, and the recall on the others."""
        rows = np.arange(0, len(self._queries), 2)

        def enough(effort: int) -> bool:
            found = self._engine.search(self._queries[rows], effort, target)
            return recall(found, self._of(rows)) >= target

        effort, reached = (
            (1, True) if self._engine.parameter is None else least_effort(enough, self._engine.largest)
        )
        return {"effort": effort, "reached": reached} | self.recall(effort, target)

    def recall(self, effort: int, target: float) -> dict[str, Any]:
        """Recall on the odd-numbered queries."""
        rows = np.arange(1, len(self._queries), 2)
        return {"recall": recall(self._engine.search(self._queries[rows], effort, target), self._of(rows))}

    def time(self, effort: int, target: float, how: str, threads: int) -> dict[str, Any]:
        """Queries per second, one by one or as one batch."""
        self._engine.threads(threads)
        queries = self._queries[1::2]
        step = 1 if how == "single" else len(queries)
        self._engine.search(queries[:1], effort, target)
        done, started = 0, time.perf_counter()
        while done < len(queries) and time.perf_counter() - started < _SECONDS:
            self._engine.search(queries[done : done + step], effort, target)
            done += step
        rate = min(done, len(queries)) / (time.perf_counter() - started)
        self._engine.threads(1)
        return {"per second": rate}

    def memory(self) -> dict[str, Any]:
        """Growth of the process's proportional set size since before opening the index, including mapped files."""
        return {"memory MiB": (_proportional() - self._before) / 2**20}

    def _of(self, rows: np.ndarray) -> Neighbours:
        return Neighbours(self._exact.rows[rows], self._exact.scores[rows])


class _Watch(threading.Thread):
    """Tracks the peak anonymous memory; the kernel can drop pages of files."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._largest, self._ended = 0, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.05):
            self._largest = max(self._largest, _status("RssAnon"))

    def stop(self) -> int:
        self._ended.set()
        self.join()
        return self._largest


def _status(name: str) -> int:
    return _bytes(Path("/proc/self/status"), name)


def _proportional() -> int:
    return _bytes(Path("/proc/self/smaps_rollup"), "Pss")


def _bytes(file: Path, name: str) -> int:
    line = next(line for line in file.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def _main(what: str, engine: str, *rest: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output printed by an engine must not be mistaken for an answer
    if what == "build":
        vectors, folder, count, target = rest
        print(
            json.dumps(build(engine, Path(vectors), Path(folder), int(count), float(target))),
            file=answers,
            flush=True,
        )
        return
    server = Server(engine, *map(Path, rest))
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(server, name)(**arguments)), file=answers, flush=True)


if __name__ == "__main__":
    faiss.omp_set_num_threads(2)
    _main(*sys.argv[1:])
