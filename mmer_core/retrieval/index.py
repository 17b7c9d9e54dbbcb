"""One index of the images and one of the texts of a dataset, with a side table that says what they are.

Folder: ``image.faiss``, ``text.faiss`` (ids are row numbers of the tables), ``images.parquet`` and
``texts.parquet`` (`mmer_core.retrieval.side_table`), ``search.json`` (how hard to look, see `Settings`) and what
`mmer_core.retrieval.building` puts beside an index. Everything is mapped into memory rather than read.
"""

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
import numpy.typing as npt

from mmer_core.errors import ConfigError
from mmer_core.retrieval.filters import Filter, choices
from mmer_core.retrieval.ranking import Neighbours, nothing
from mmer_core.retrieval.side_table import SideTable
from mmer_core.retrieval.tuning import effort_of, search_parameters

Target = Literal["image", "text"]
Vectors = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

TARGETS: tuple[Target, ...] = ("image", "text")
SETTINGS_FILE = "search.json"
_BRUTE_FORCE_BELOW = 0.1
"""Share of allowed rows below which a graph, which would have to wade through the others, is not asked."""


@dataclass(frozen=True)
class Settings:
    """How one target is searched.

    Attributes:
        effort: ``nprobe`` or ``efSearch`` (`mmer_core.retrieval.tuning`); None for FAISS's own default.
        refine: Candidates for every result that are scored again by the vectors on disk; 0: none are.
    """

    effort: int | None = None
    refine: int = 0


@dataclass(frozen=True)
class Hit:
    """One search result: cosine similarity, the id of the photo, and a caption of it.

    Attributes:
        row: Of the target's side table.
        path: Of the photo, inside the dataset.
    """

    score: float
    id: str
    caption: str
    row: int = -1
    path: str | None = None
    split: str | None = None
    labels: tuple[str, ...] = ()
    ratings: tuple[float, ...] = ()


class OneIndex:
    """The index of one target."""

    def __init__(self, folder: Path, target: str, settings: Settings) -> None:
        self.faiss = read_index(folder, target)
        self.settings = settings
        self._mapping = threading.Lock()
        self._vectors = (
            np.load(folder / f"{target}.npy", mmap_mode="r", allow_pickle=False) if settings.refine else None
        )

    def __len__(self) -> int:
        return int(self.faiss.ntotal)

    def search(
        self, queries: Vectors, k: int, mask: Mask | None = None, effort: int | None = None
    ) -> Neighbours:
        """The best ``min(k, N)`` rows for ``(Q, D)`` queries.

        Args:
            mask: ``(N,)`` rows that may be found; all when None.
            effort: Instead of the one in the settings.
        """
        k = min(k, len(self))
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if not len(queries) or not k or (mask is not None and not mask.any()):
            return nothing(len(queries), k)
        wanted = min(k * max(1, self.settings.refine), len(self))
        effort = effort or self.settings.effort
        scores, rows = self._find(queries, wanted, mask, effort)
        if self._vectors is not None:
            scores = _scored_again(queries, rows, self._vectors)
        scores = np.where(rows >= 0, scores, -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        rows, scores = np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
        return Neighbours(rows, scores)

    def vectors(self, rows: Sequence[int]) -> Vectors:
        """``(n, D)`` of some rows, as far as the index knows them.

        Raises:
            ConfigError: It does not keep vectors that can be given back.
        """
        if self._vectors is not None:
            return np.asarray(self._vectors[list(rows)], dtype=np.float32)
        lists = faiss.try_extract_index_ivf(self.faiss)
        if lists is not None:
            with self._mapping:
                lists.make_direct_map()
        try:
            return np.stack([self.faiss.reconstruct(int(row)) for row in rows])
        except RuntimeError:
            raise ConfigError(
                "this kind of index does not give its vectors back; search by text or by --image FILE"
            ) from None

    def _find(
        self, queries: Vectors, k: int, mask: Mask | None, effort: int | None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        if mask is None:
            found = self.faiss.search(queries, k, params=search_parameters(self.faiss, effort))
        else:
            found = self._find_allowed(queries, k, mask, effort)
        return found[0].astype(np.float64), found[1]

    def _find_allowed(self, queries: Vectors, k: int, mask: Mask, effort: int | None) -> Any:
        share = float(mask.mean())
        bits = np.packbits(mask, bitorder="little")
        only = faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bits))
        index = faiss.downcast_index(self.faiss)
        if isinstance(index, faiss.IndexHNSW) and share < _BRUTE_FORCE_BELOW:
            index = faiss.downcast_index(index.storage)
            effort = None
        _, largest = effort_of(index)
        if effort is not None:
            # So many allowed rows are looked at as there would be rows without a filter.
            effort = min(largest, int(np.ceil(effort / share)))
        try:
            return index.search(queries, k, params=search_parameters(index, effort, only))
        except RuntimeError:
            # An index that takes no selector ranks everything, and what is not allowed is dropped.
            scores, rows = self.faiss.search(queries, len(self))
            allowed = (rows >= 0) & mask[rows]
            order = np.argsort(~allowed, axis=1, kind="stable")[:, :k]
            rows = np.where(
                np.take_along_axis(allowed, order, axis=1), np.take_along_axis(rows, order, axis=1), -1
            )
            return np.take_along_axis(scores, order, axis=1), rows


class RetrievalIndex:
    """An index folder, opened for search."""

    def __init__(self, folder: Path) -> None:
        settings = read_settings(folder)
        self._index = {name: OneIndex(folder, name, settings[name]) for name in TARGETS}
        self._tables = {name: SideTable(folder / f"{name}s.parquet") for name in TARGETS}

    @property
    def width(self) -> int:
        """``D`` of the vectors."""
        return int(self._index["image"].faiss.d)

    def count(self, target: Target) -> int:
        """Vectors in one of the two indexes."""
        return len(self._index[target])

    def search(self, queries: Vectors, target: Target, k: int, only: Filter | None = None) -> list[list[Hit]]:
        """The ``k`` nearest images or texts of each of ``(Q, D)`` unit vectors, best first.

        Raises:
            ConfigError: The queries have another width than the index or are not finite, ``k`` is below 1, or the
                index holds nothing that the filter asks about.
        """
        if queries.ndim != 2 or queries.shape[1] != self.width:
            raise ConfigError(
                f"queries have shape {queries.shape} but the index holds vectors of width {self.width}; "
                "embed them with the model that the index was built with"
            )
        if not np.isfinite(queries).all():
            raise ConfigError("a query holds NaN or infinity; give finite vectors")
        if k < 1:
            raise ConfigError(f"k is {k}; ask for at least one result")
        mask = only.mask(self._tables[target]) if only else None
        found = self._index[target].search(queries, k, mask)
        records = self._tables[target].rows(int(row) for row in found.rows.flat if row >= 0)
        return [
            # An approximate index pads with -1 what it did not find.
            [
                _hit(float(score), int(row), records[int(row)])
                for score, row in zip(*both, strict=True)
                if row >= 0
            ]
            for both in zip(found.scores, found.rows, strict=True)
        ]

    def records(self, target: Target, id: str) -> list[dict[str, Any]]:
        """What the side table says of a photo, or of each of its captions."""
        table = self._tables[target]
        return list(table.rows(table.find(id).tolist()).values())

    def ids(self) -> list[str]:
        """Of all photos, in the order of the rows."""
        return [str(id) for id in self._tables["image"].column("id").to_pylist()]

    def choices(self, target: Target) -> dict[str, list[str]]:
        """What filters may ask for: names of ``splits``, ``labels`` and ``ratings`` that rows have."""
        return choices(self._tables[target])

    def embedding_of(self, target: Target, id: str) -> Vectors:
        """``(1, D)`` vector of the photo, or of the first caption of the photo, with this id.

        Raises:
            ConfigError: There is none, or the index does not give vectors back.
        """
        rows = self._tables[target].find(id)
        if not len(rows):
            raise ConfigError(f"the index holds no {target} with the id {id!r}")
        return self._index[target].vectors(rows[:1].tolist())


def read_index(folder: Path, target: str) -> faiss.Index:
    """Map an index; the artifact's files are never written to."""
    flags = faiss.IO_FLAG_READ_ONLY
    flags |= (
        faiss.IO_FLAG_ONDISK_SAME_DIR if (folder / f"{target}.lists").exists() else faiss.IO_FLAG_MMAP_IFC
    )
    return faiss.read_index(str(folder / f"{target}.faiss"), flags)


def write_settings(folder: Path, settings: dict[Target, Settings]) -> None:
    """Write ``search.json``."""
    fields = {name: asdict(one) for name, one in settings.items()}
    (folder / SETTINGS_FILE).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")


def read_settings(folder: Path) -> dict[Target, Settings]:
    """How to search a folder; FAISS's defaults for one of an earlier version, which has no such file."""
    file = folder / SETTINGS_FILE
    fields = json.loads(file.read_text()) if file.exists() else {}
    return {name: Settings(**fields.get(name, {})) for name in TARGETS}


def _hit(score: float, row: int, record: dict[str, Any]) -> Hit:
    ratings = [record.get(name) for name in ("valence", "arousal", "dominance")]
    return Hit(
        score,
        record["id"],
        record["caption"] or "",
        row,
        record.get("path"),
        record.get("split"),
        tuple(record.get("labels") or ()),
        tuple(value for value in ratings if value is not None),
    )


def _scored_again(
    queries: Vectors, rows: npt.NDArray[np.int64], vectors: npt.NDArray[np.float16]
) -> npt.NDArray[np.float64]:
    """``(Q, K)`` cosines of the candidates by the vectors on disk; anything where the row is -1."""
    scores = np.empty(rows.shape, dtype=np.float64)
    for place, query in enumerate(queries):
        candidates = np.asarray(vectors[np.maximum(rows[place], 0)], dtype=np.float32)
        scores[place] = candidates @ query
    return scores
