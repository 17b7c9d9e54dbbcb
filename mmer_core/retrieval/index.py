"""An index of the images and one of the texts of a dataset, with a side table that describes their rows.

Folder: ``image.faiss``, ``text.faiss`` (ids are row numbers of the tables), ``images.parquet`` and
``texts.parquet`` (`mmer_core.retrieval.side_table`), ``search.json`` (search effort, see `Settings`) and the
accompanying files of `mmer_core.retrieval.building`. Everything except packed codes is memory-mapped.

An index with additions or deletions consists of several such folders (`mmer_core.retrieval.versions`).
"""

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from mmer_core.errors import ConfigError
from mmer_core.native_output import native_output_to_stderr
from mmer_core.retrieval.filters import Filter, Mask, choices
from mmer_core.retrieval.ranking import Neighbours, merge, nothing
from mmer_core.retrieval.side_table import SideTable
from mmer_core.retrieval.tuning import effort_of, search_parameters
from mmer_core.retrieval.versions import TARGETS, Target, live_rows, part_folders

Vectors = npt.NDArray[np.float32]

SETTINGS_FILE = "search.json"
_UNTYPED: Any = faiss  # the stubs lack keywords and some classes of search parameters
_BRUTE_FORCE_BELOW = 0.1
"""Share of allowed rows below which a graph is not used, because it would have to traverse the others."""


@dataclass(frozen=True)
class Settings:
    """How one target is searched.

    Attributes:
        effort: ``nprobe`` or ``efSearch`` (`mmer_core.retrieval.tuning`); None for FAISS's default.
        refine: Candidates per result that are re-ranked by the vectors on disk; 0: no re-ranking.
    """

    effort: int | None = None
    refine: float = 0


@dataclass(frozen=True)
class Hit:
    """One search result: cosine similarity, the id of the photo, and a caption of it.

    Attributes:
        row: Row in the target's side table.
        path: Path of the photo within the dataset.
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
        self._vectors = read_vectors(folder, target) if settings.refine else None
        self._without: dict[int | None, faiss.SearchParameters] = {}  # parameters without a filter, by effort

    def __len__(self) -> int:
        return int(self.faiss.ntotal)

    def search(
        self, queries: Vectors, k: int, mask: Mask | None = None, effort: int | None = None
    ) -> Neighbours:
        """The best ``min(k, N)`` rows for ``(Q, D)`` queries.

        Args:
            mask: ``(N,)`` bool, the rows that may be returned; all if None.
            effort: Overrides the effort in the settings.
        """
        k = min(k, len(self))
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if not len(queries) or not k or (mask is not None and not mask.any()):
            return nothing(len(queries), k)
        scores, rows = self._find(queries, k, mask, effort or self.settings.effort)
        # A graph or a few lists may return fewer rows than exist: then search exhaustively, so that none is missing.
        short = (rows >= 0).sum(axis=1) < min(k, len(self) if mask is None else int(mask.sum()))
        if short.any():
            scores[short], rows[short] = self._find_in_all(queries[short], k, mask)
        return Neighbours(rows, np.where(rows >= 0, scores.astype(np.float64), -np.inf))

    def vectors(self, rows: Sequence[int]) -> Vectors:
        """``(n, D)`` vectors of some rows, as precise as the index stores them.

        Raises:
            ConfigError: The index cannot return stored vectors.
        """
        index = self.faiss if self._vectors is None else self._vectors
        lists = faiss.try_extract_index_ivf(index)
        if lists is not None:
            with self._mapping:
                lists.make_direct_map()
        try:
            return np.stack([index.reconstruct(int(row)) for row in rows])
        except RuntimeError:
            raise ConfigError(
                "this kind of index does not give its vectors back; search by text or by --image FILE"
            ) from None

    def _find(self, queries: Vectors, k: int, mask: Mask | None, effort: int | None) -> Any:
        if mask is not None:
            return self._find_allowed(queries, k, mask, effort)
        if effort not in self._without:
            self._without[effort] = search_parameters(self.faiss, effort)
        return self._asked(self.faiss, queries, k, self._without[effort])

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
            # Scale the effort, so that as many allowed rows are visited as rows without a filter.
            effort = min(largest, int(np.ceil(effort / share)))
        try:
            return self._asked(index, queries, k, search_parameters(index, effort, only))
        except RuntimeError:
            # An index without support for selectors ranks everything; drop what is not allowed.
            scores, rows = self.faiss.search(queries, len(self))
            allowed = (rows >= 0) & mask[rows]
            order = np.argsort(~allowed, axis=1, kind="stable")[:, :k]
            rows = np.where(
                np.take_along_axis(allowed, order, axis=1), np.take_along_axis(rows, order, axis=1), -1
            )
            return np.take_along_axis(scores, order, axis=1), rows

    def _find_in_all(self, queries: Vectors, k: int, mask: Mask | None) -> Any:
        """The same, exhaustively."""
        index = faiss.downcast_index(self.faiss)
        if isinstance(index, faiss.IndexHNSW):
            index = faiss.downcast_index(index.storage)
        bits = None if mask is None else np.packbits(mask, bitorder="little")
        only = None if bits is None else faiss.IDSelectorBitmap(len(self), faiss.swig_ptr(bits))
        _, most = effort_of(index)
        return self._asked(index, queries, k, search_parameters(index, most or None, only))

    def _asked(self, index: faiss.Index, queries: Vectors, k: int, parameters: faiss.SearchParameters) -> Any:
        """``(Q, k)`` scores and rows, best first; candidates are re-ranked if there are vectors for it."""
        if self._vectors is None:
            return index.search(queries, k, params=parameters)
        again = _UNTYPED.IndexRefineSearchParameters(
            k_factor=min(max(1.0, self.settings.refine), len(self) / k), base_index_params=parameters
        )
        return _UNTYPED.IndexRefine(index, self._vectors).search(queries, k, params=again)


class TargetIndex:
    """All of one target: a sequence of indexes, their side tables, and the rows that are not deleted."""

    def __init__(self, folder: Path, target: Target) -> None:
        parts = part_folders(folder)
        self._parts = [OneIndex(part, target, read_settings(part)[target]) for part in parts]
        self.table = SideTable(*(part / f"{target}s.parquet" for part in parts))
        self._live: Mask | None = live_rows(folder, target, len(self.table))

    def __len__(self) -> int:
        return len(self.table) if self._live is None else int(self._live.sum())

    @property
    def width(self) -> int:
        return int(self._parts[0].faiss.d)

    def search(self, queries: Vectors, k: int, only: Filter | None = None) -> Neighbours:
        """The best ``min(k, N)`` rows for ``(Q, D)`` queries; row numbers are global across the parts."""
        mask = only.mask(self.table, self._live) if only else self._live
        found = []
        for first, part in self._from():
            there = None if mask is None else mask[first : first + len(part)]
            some = part.search(queries, k, there)
            found.append(Neighbours(np.where(some.rows >= 0, some.rows + first, -1), some.scores))
        return merge(found, min(k, len(self.table))) if len(found) > 1 else found[0]

    def find(self, ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Rows with one of these ids."""
        rows = self.table.find(ids)
        return rows if self._live is None else rows[self._live[rows]]

    def ids(self) -> list[str]:
        """Ids in row order."""
        column = self.table.column("id")
        return [str(id) for id in (column if self._live is None else column.filter(self._live)).to_pylist()]

    def choices(self) -> dict[str, list[str]]:
        """The values that filters can use."""
        return choices(self.table, self._live)

    def vector(self, row: int) -> Vectors:
        """``(1, D)`` vector of a row. Raises `ConfigError` if the index cannot return stored vectors."""
        first, part = next(both for both in reversed(list(self._from())) if both[0] <= row)
        return part.vectors([row - first])

    def _from(self) -> Iterator[tuple[int, OneIndex]]:
        first = 0
        for part in self._parts:
            yield first, part
            first += len(part)


class RetrievalIndex:
    """An index folder, opened for search."""

    def __init__(self, folder: Path) -> None:
        self._targets = {name: TargetIndex(folder, name) for name in TARGETS}

    @property
    def width(self) -> int:
        """Width ``D`` of the vectors."""
        return self._targets["image"].width

    def count(self, target: Target) -> int:
        """Number of searchable vectors of one target."""
        return len(self._targets[target])

    def search(self, queries: Vectors, target: Target, k: int, only: Filter | None = None) -> list[list[Hit]]:
        """The ``k`` nearest images or texts of each of ``(Q, D)`` unit vectors, best first.

        Raises:
            ConfigError: The queries have another width than the index or are not finite, ``k`` is below 1, or the
                index lacks the data for the filter.
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
        found = self._targets[target].search(queries, k, only)
        records = self._targets[target].table.rows(int(row) for row in found.rows.flat if row >= 0)
        return [
            # An approximate index pads missing results with -1.
            [
                _hit(float(score), int(row), records[int(row)])
                for score, row in zip(*both, strict=True)
                if row >= 0
            ]
            for both in zip(found.scores, found.rows, strict=True)
        ]

    def records(self, target: Target, id: str) -> list[dict[str, Any]]:
        """The side table's records of a photo, or of each of its captions."""
        index = self._targets[target]
        return list(index.table.rows(index.find([id]).tolist()).values())

    def rows(self, target: Target, ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Rows of some photos, or of their captions, in ascending order; unknown ids are skipped."""
        return self._targets[target].find(ids)

    def ids(self) -> list[str]:
        """Ids of all photos, in row order."""
        return self._targets["image"].ids()

    def choices(self, target: Target) -> dict[str, list[str]]:
        """The values that filters can use: names of ``splits``, ``labels`` and ``ratings`` that occur in rows."""
        return self._targets[target].choices()

    def embedding_of(self, target: Target, id: str) -> Vectors:
        """``(1, D)`` vector of the photo with this id, or of its first caption.

        Raises:
            ConfigError: There is none, or the index cannot return stored vectors.
        """
        rows = self._targets[target].find([id])
        if not len(rows):
            raise ConfigError(f"the index holds no {target} with the id {id!r}")
        return self._targets[target].vector(int(rows[0]))


def read_index(folder: Path, target: str) -> faiss.Index:
    """Memory-map an index; the artifact's files are never written to."""
    flags = faiss.IO_FLAG_READ_ONLY
    flags |= (
        faiss.IO_FLAG_ONDISK_SAME_DIR if (folder / f"{target}.lists").exists() else faiss.IO_FLAG_MMAP_IFC
    )
    with native_output_to_stderr():
        return faiss.read_index(str(folder / f"{target}.faiss"), flags)


def read_vectors(folder: Path, target: str) -> faiss.Index:
    """Memory-map the vectors for re-ranking.

    Raises:
        ConfigError: They are missing: an earlier version stored them in another format.
    """
    file = folder / f"{target}.vectors"
    if not file.exists():
        raise ConfigError(f"{file} is missing: build the index again with mmer index")
    return faiss.read_index(str(file), faiss.IO_FLAG_READ_ONLY | faiss.IO_FLAG_MMAP_IFC)


def write_settings(folder: Path, settings: dict[Target, Settings]) -> None:
    """Write ``search.json``."""
    fields = {name: asdict(one) for name, one in settings.items()}
    (folder / SETTINGS_FILE).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")


def read_settings(folder: Path) -> dict[Target, Settings]:
    """The search settings of a folder; FAISS's defaults for one of an earlier version without such a file."""
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
