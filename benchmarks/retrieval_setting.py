"""The vectors, queries and exact neighbours of a retrieval benchmark, and the processes of its engines."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.retrieval_data import Real, SyntheticVectors
from benchmarks.retrieval_engines import NEEDS, VectorFile
from mmer_core.retrieval.ranking import Neighbours, merge

QUERIES = 2000
_EXACT = 20  # exact neighbours to keep, so that ties with the tenth are included
_AT_ONCE = 250_000


@dataclass(frozen=True)
class Setting:
    """A folder with ``base.npy`` (``(N, D)``) and ``queries.npy``; smaller counts use the first rows of the base."""

    folder: Path
    about: str

    @property
    def base(self) -> Path:
        return self.folder / "base.npy"

    @property
    def queries(self) -> Path:
        return self.folder / "queries.npy"

    def exact(self, count: int) -> Path:
        """File of the exact neighbours among the first ``count`` vectors."""
        return self.folder / f"exact_{count}.npz"


def make(folder: Path, real: Real, counts: Sequence[int]) -> Setting:
    """Write vectors, queries, and the exact neighbours among the first ``count`` vectors for every count."""
    images, texts = SyntheticVectors(real.images), SyntheticVectors(real.texts)
    about = (
        f"from {len(real.images)} photos (local dimension {images.dimension:.1f}, noise x {images.width:.2f}) and "
        f"{len(real.texts)} captions ({texts.dimension:.1f}, x {texts.width:.2f})"
    )
    setting = Setting(folder, about)
    images.write(setting.base, max(counts), seed=1)
    queries = texts.draw(QUERIES, seed=2)
    np.save(setting.queries, queries, allow_pickle=False)
    best = Neighbours(np.full((QUERIES, _EXACT), -1), np.full((QUERIES, _EXACT), -np.inf))
    vector_file = VectorFile(setting.base)
    ends = sorted({*counts, *range(_AT_ONCE, max(counts), _AT_ONCE)})
    for start, end in zip([0, *ends], ends, strict=False):
        index = faiss.IndexFlatIP(vector_file.width)
        index.add(vector_file.read(start, end))
        scores, rows = index.search(queries, min(_EXACT, end - start))
        best = merge([best, Neighbours(rows + start, scores.astype(np.float64))], _EXACT)
        if end in counts:
            np.savez(setting.exact(end), rows=best.rows, scores=best.scores)
    return setting


class Running:
    """An engine that serves its index in a separate process."""

    def __init__(self, engine: str, folder: Path, setting: Setting, count: int) -> None:
        command = _command("serve", engine, folder, setting.queries, setting.exact(count))
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.engine, self.folder = engine, folder

    def request(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Send one of the requests of `benchmarks.retrieval_run.Server`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([name, arguments]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.engine} ended with exit code {self._process.wait()}")
        return dict(json.loads(answer))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def build(engine: str, setting: Setting, folder: Path, count: int, recall: float) -> dict[str, Any]:
    """Build in a separate process."""
    folder.mkdir()
    command = _command("build", engine, setting.base, folder, count, recall)
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def missing(engine: str) -> str | None:
    """The package that an engine requires and that is not installed, if any."""
    return next((name for name in NEEDS.get(engine, ()) if importlib.util.find_spec(name) is None), None)


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "benchmarks.retrieval_run", *map(str, arguments)]
