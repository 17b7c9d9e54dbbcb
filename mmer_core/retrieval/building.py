"""Building an index in parts: train on a sample, fill shards anywhere, join them with bounded memory.

A shard's folder holds ``table.parquet`` and, depending on the index, ``lists.faiss`` (filled inverted lists; ids are
global row numbers) and ``vectors.npy``: ``(n, D)`` float32 if the index can only be built in one go (brute force,
graphs), float16 if results are re-ranked by vectors on disk.

The joined index of a target is ``<target>.faiss`` with ``<target>.lists`` (inverted lists, which stay on disk and are
memory-mapped) and ``<target>.vectors`` (a FAISS index of float16 vectors for re-ranking, also memory-mapped).

Product codes that are compared in registers (fast scan: André et al. 2015, "Cache locality is not enough") are packed
in blocks of 32 vectors, and FAISS cannot join such lists. Shards therefore hold plain 4-bit codes, which are packed
after joining; the codes are the same.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from faiss.contrib.ondisk import merge_ondisk

from mmer_core.errors import ConfigError
from mmer_core.native_output import native_output_to_stderr
from mmer_core.retrieval.choice import Choice

Vectors = npt.NDArray[np.float32]

GRAPH_EFFORT = 200
"""Candidates per vector when a graph is built (efConstruction); with FAISS's 40, searches need more effort."""

LISTS_FILE = "lists.faiss"
VECTORS_FILE = "vectors.npy"
TABLE_FILE = "table.parquet"
_AT_ONCE = 65_536
_FAST_SCAN = re.compile(r"(IVF[^,]*,PQ\d+x4)fs(r?)(_\d+)?$")
_UNTYPED: Any = faiss  # the stubs lack some constructors


def train(choice: Choice, sample: Vectors, count: int) -> faiss.Index:
    """Make and train an empty index.

    Args:
        sample: ``(n, D)`` of the vectors that will be added.
        count: Number of vectors that will be added, for the error message.

    Raises:
        ConfigError: FAISS does not support the factory string, or needs more vectors to train it.
    """
    sample = np.ascontiguousarray(sample, dtype=np.float32)
    try:
        index = _empty(sample.shape[1], choice.factory)
        index.train(sample)
        if isinstance(faiss.downcast_index(index), faiss.IndexIDMap):
            raise RuntimeError("ids are row numbers already: leave out IDMap")
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConfigError(
            f"FAISS cannot build an index {choice.factory!r} of {count} vectors of width {sample.shape[1]} "
            f"({reason}); 'Flat' always works"
        ) from None
    return index


def _empty(width: int, factory: str) -> faiss.Index:
    packed = _FAST_SCAN.search(factory)
    if packed:
        factory = f"{factory[: packed.start()]}{packed[1]}np"
    index = faiss.index_factory(width, factory, faiss.METRIC_INNER_PRODUCT)
    inner: Any = _inner(index)
    if packed:
        inner.by_residual = bool(packed[2])
    if isinstance(inner, faiss.IndexHNSW):
        inner.hnsw.efConstruction = GRAPH_EFFORT
    return index


def in_shards(index: faiss.Index) -> bool:
    """Whether shards of this index can be joined on disk: plain inverted lists, possibly behind a transform."""
    inner = _inner(index)
    if not isinstance(inner, faiss.IndexIVF) or isinstance(inner, faiss.IndexIVFPQR):
        return False
    lists = inner.invlists
    return lists is not None and isinstance(faiss.downcast_InvertedLists(lists), faiss.ArrayInvertedLists)


def refinable(index: faiss.Index) -> bool:
    """Whether candidates of this index can be re-ranked: it ends in inverted lists or a graph."""
    return in_shards(index) or isinstance(_inner(index), faiss.IndexHNSW)


def write_shard(folder: Path, trained: faiss.Index, vectors: Vectors, first: int, refine: bool) -> None:
    """Write the shard of ``(n, D)`` vectors with rows from ``first`` on; fills ``trained`` in the process."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if in_shards(trained):
        trained.add_with_ids(vectors, np.arange(first, first + len(vectors)))
        faiss.write_index(trained, str(folder / LISTS_FILE))
        if refine:
            np.save(folder / VECTORS_FILE, vectors.astype(np.float16), allow_pickle=False)
    else:
        np.save(folder / VECTORS_FILE, vectors, allow_pickle=False)


def join_shards(
    folder: Path, name: str, choice: Choice, trained: faiss.Index, shards: Sequence[Path], refine: bool
) -> None:
    """Write ``<name>.faiss`` and its accompanying files from the shards, in row order."""
    target = folder / f"{name}.faiss"
    if in_shards(trained):
        lists = folder / f"{name}.lists"
        with native_output_to_stderr():
            merge_ondisk(trained, [str(shard / LISTS_FILE) for shard in shards], str(lists))
        if _FAST_SCAN.search(choice.factory):
            faiss.write_index(_packed(trained), str(target))
            lists.unlink()
        else:
            # The build folder is private to this machine, and would differ between machines with equal results.
            _UNTYPED.downcast_InvertedLists(faiss.extract_index_ivf(trained).invlists).filename = lists.name
            faiss.write_index(trained, str(target))
    else:
        for shard in shards:
            vectors = np.load(shard / VECTORS_FILE, mmap_mode="r", allow_pickle=False)
            for start in range(0, len(vectors), _AT_ONCE):
                trained.add(np.ascontiguousarray(vectors[start : start + _AT_ONCE], dtype=np.float32))
        faiss.write_index(trained, str(target))
    if refine:
        join_vectors(folder / f"{name}.vectors", [shard / VECTORS_FILE for shard in shards])


def join_vectors(path: Path, parts: Sequence[Path]) -> None:
    """Write ``(n, D)`` ``.npy`` files as one FAISS index of float16 vectors, a few rows at a time.

    FAISS itself would hold all of them in memory. Its file format ends with the size of the codes and the codes.
    """
    shapes = [np.load(part, mmap_mode="r", allow_pickle=False).shape for part in parts]
    width = shapes[0][1]
    index = faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.ntotal = sum(rows for rows, _ in shapes)
    head = faiss.serialize_index(index).tobytes()
    if head[-8:] != bytes(8):
        raise RuntimeError(f"FAISS {faiss.__version__} writes an index of float16 vectors in another way")
    with path.open("wb") as file:
        file.write(head[:-8] + (index.ntotal * index.code_size).to_bytes(8, "little"))
        for part in parts:
            vectors = np.load(part, mmap_mode="r", allow_pickle=False)
            for start in range(0, len(vectors), _AT_ONCE):
                file.write(vectors[start : start + _AT_ONCE].astype("<f2").tobytes())


def _inner(index: faiss.Index) -> faiss.Index:
    inner = faiss.downcast_index(index)
    return faiss.downcast_index(inner.index) if isinstance(inner, faiss.IndexPreTransform) else inner


def _packed(index: faiss.Index) -> faiss.Index:
    """The same codes for fast scan, in memory; shares data with ``index``."""
    packed = _UNTYPED.IndexIVFPQFastScan(_inner(index))
    outer = faiss.downcast_index(index)
    if not isinstance(outer, faiss.IndexPreTransform):
        return packed
    packed = _UNTYPED.IndexPreTransform(packed)
    transforms: Any = outer.chain
    for place in reversed(range(transforms.size())):
        packed.prepend_transform(transforms.at(place))
    return packed
