"""The compared engines: each builds an index of a file of vectors in a folder, and searches it."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from mmer_core.retrieval.building import join_shards, refinable, train, write_shard
from mmer_core.retrieval.choice import choose, training_rows
from mmer_core.retrieval.index import OneIndex, Settings
from mmer_core.retrieval.tuning import effort_of, search_parameters

Vectors = npt.NDArray[np.float32]
Found = npt.NDArray[np.int64]

K = 10
SHARD = 500_000
GIB = 4.0


class VectorFile:
    """A ``.npy`` file of float32 vectors that is read rather than mapped, to separate memory from disk."""

    def __init__(self, file: Path, count: int | None = None) -> None:
        mapped = np.load(file, mmap_mode="r", allow_pickle=False)
        assert isinstance(mapped, np.memmap)
        self.file, self.offset, self.width = file, mapped.offset, mapped.shape[1]
        self.count = mapped.shape[0] if count is None else count

    def read(self, start: int, stop: int) -> Vectors:
        """Rows ``start:stop``."""
        size = (min(stop, self.count) - start) * self.width
        flat = np.fromfile(self.file, np.float32, size, offset=self.offset + 4 * start * self.width)
        return flat.reshape(-1, self.width)

    def blocks(self, size: int) -> Iterator[tuple[int, Vectors]]:
        """All rows in blocks of ``size``, each with the number of its first row."""
        for start in range(0, self.count, size):
            yield start, self.read(start, start + size)

    def sample(self, rows: npt.NDArray[np.int64]) -> Vectors:
        """Some rows, in ascending order."""
        out = np.empty((len(rows), self.width), np.float32)
        for start, block in self.blocks(SHARD):
            here = (rows >= start) & (rows < start + len(block))
            out[here] = block[rows[here] - start]
        return out


class Engine(ABC):
    """A search engine."""

    parameter: str | None = None
    largest = 1

    @abstractmethod
    def build(self, vector_file: VectorFile, folder: Path, recall: float) -> None:
        """Write an index of all vectors."""

    @abstractmethod
    def open(self, folder: Path) -> None:
        """Open the index, as a service does when it starts."""

    @abstractmethod
    def search(self, queries: Vectors, effort: int, recall: float) -> Found:
        """``(Q, K)`` rows for ``(Q, D)`` queries.

        Args:
            recall: The recall that the effort was tuned for.
        """

    def threads(self, count: int) -> None:
        """Set the number of threads for a batch of queries."""
        faiss.omp_set_num_threads(count)

    def own_effort(self) -> int | None:
        """The effort that the engine chose itself, if it does."""
        return None

    def size(self, folder: Path) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in folder.iterdir())


class Mmer(Engine):
    """mmer's automatic choice, by the functions of its stages: plan, shards, join."""

    def __init__(self, gib: float = GIB) -> None:
        self._gib = gib

    def build(self, vector_file: VectorFile, folder: Path, recall: float) -> None:
        choice = self._choice(vector_file.count, vector_file.width, recall)
        generator = np.random.default_rng(0)
        rows = generator.choice(
            vector_file.count, training_rows(vector_file.count, choice.factory), replace=False
        )
        trained = train(choice, vector_file.sample(np.sort(rows)), vector_file.count)
        plan = folder / "plan.faiss"
        faiss.write_index(trained, str(plan))
        shards = []
        for start, block in vector_file.blocks(SHARD):
            shards.append(folder / f"shard{start}")
            shards[-1].mkdir()
            write_shard(shards[-1], faiss.read_index(str(plan)), block, start, bool(choice.refine))
        refine = bool(choice.refine) and refinable(trained)
        join_shards(folder, "image", choice, trained, shards, refine)
        for shard in shards:
            for file in shard.iterdir():
                file.unlink()
            shard.rmdir()
        plan.unlink()
        fields = {"factory": choice.factory, "count": vector_file.count, "width": vector_file.width}
        (folder / "choice.json").write_text(json.dumps(fields))

    def open(self, folder: Path) -> None:
        fields = json.loads((folder / "choice.json").read_text())
        self.name = fields["factory"]
        self._count, self._width = fields["count"], fields["width"]
        refine = self._choice(self._count, self._width, 0.95).refine
        self._index = OneIndex(folder, "image", Settings(None, refine))
        self.parameter, self.largest = effort_of(self._index.faiss)

    def search(self, queries: Vectors, effort: int, recall: float) -> Found:
        if self.name != "Flat":
            # The index is the same for every recall; only the number of re-ranked candidates differs.
            self._index.settings = Settings(effort, self._choice(self._count, self._width, recall).refine)
        return self._index.search(queries, K, effort=effort).rows

    def _choice(self, count: int, width: int, recall: float) -> Any:
        return choose(count, width, memory=int(self._gib * 2**30), recall=recall)


class Flat(Engine):
    """Brute force in FAISS."""

    name = "Flat"

    def build(self, vector_file: VectorFile, folder: Path, recall: float) -> None:
        index = faiss.IndexFlatIP(vector_file.width)
        for _, block in vector_file.blocks(SHARD):
            index.add(block)
        faiss.write_index(index, str(folder / "index.faiss"))

    def open(self, folder: Path) -> None:
        self._index = faiss.read_index(str(folder / "index.faiss"))

    def search(self, queries: Vectors, effort: int, recall: float) -> Found:
        return self._index.search(queries, K)[1]


class Hnswlib(Engine):
    """hnswlib with the parameters of its README's examples."""

    name = "M 16, ef_construction 200"
    parameter, largest = "ef", 4096

    def build(self, vector_file: VectorFile, folder: Path, recall: float) -> None:
        import hnswlib

        index = hnswlib.Index("ip", vector_file.width)
        index.init_index(vector_file.count, M=16, ef_construction=200)
        for _, block in vector_file.blocks(SHARD):
            index.add_items(block, num_threads=faiss.omp_get_max_threads())
        index.save_index(str(folder / "index.bin"))
        (folder / "width.json").write_text(str(vector_file.width))

    def open(self, folder: Path) -> None:
        import hnswlib

        self._index = hnswlib.Index("ip", int((folder / "width.json").read_text()))
        self._index.load_index(str(folder / "index.bin"))

    def search(self, queries: Vectors, effort: int, recall: float) -> Found:
        self._index.set_ef(max(effort, K))
        return self._index.knn_query(queries, K)[0].astype(np.int64)

    def threads(self, count: int) -> None:
        self._index.set_num_threads(count)


class Autofaiss(Engine):
    """The index that autofaiss builds and tunes with its defaults, for inner products."""

    def build(self, vector_file: VectorFile, folder: Path, recall: float) -> None:
        from autofaiss import build_index

        index, infos = build_index(
            vector_file.read(0, vector_file.count),
            save_on_disk=False,  # it would write numpy floats as JSON, which fails with numpy 2
            metric_type="ip",
            current_memory_available="20G",
            nb_cores=faiss.omp_get_max_threads(),
            verbose=40,
        )
        faiss.write_index(index, str(folder / "index.faiss"))
        (folder / "infos.json").write_text(json.dumps(infos, default=float))

    def open(self, folder: Path) -> None:
        infos = json.loads((folder / "infos.json").read_text())
        self.name = infos["index_key"]
        self._own = dict(part.split("=") for part in str(infos["index_param"]).split(",") if "=" in part)
        self._index = faiss.read_index(str(folder / "index.faiss"))
        self.parameter, self.largest = effort_of(self._index)

    def search(self, queries: Vectors, effort: int, recall: float) -> Found:
        return self._index.search(queries, K, params=search_parameters(self._index, effort))[1]

    def own_effort(self) -> int | None:
        return int(self._own[self.parameter]) if self.parameter in self._own else None


ENGINES: dict[str, type[Engine]] = {
    "mmer": Mmer,
    "faiss Flat": Flat,
    "hnswlib": Hnswlib,
    "autofaiss": Autofaiss,
}
NEEDS = {"hnswlib": ("hnswlib",), "autofaiss": ("autofaiss", "embedding_reader", "fire")}
