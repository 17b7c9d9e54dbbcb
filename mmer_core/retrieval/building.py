"""Building an index piece by piece: train on a sample, fill shards anywhere, join them with bounded memory.

A shard's folder holds ``table.parquet`` and, by what the index needs, ``lists.faiss`` (inverted lists, filled; ids
are the row numbers of the whole) and ``vectors.npy``: ``(n, D)`` float32 where the index can only be built in one go
(brute force, graphs), float16 where results are scored again by vectors on disk.

The joined index of a target is ``<target>.faiss`` with, beside it, ``<target>.lists`` (inverted lists, which stay on
disk and are mapped into memory) and ``<target>.npy`` (vectors to score again by, mapped too).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from faiss.contrib.ondisk import merge_ondisk
from numpy.lib.format import open_memmap

from mmer_core.errors import ConfigError
from mmer_core.native_output import native_output_to_stderr
from mmer_core.retrieval.choice import Choice

Vectors = npt.NDArray[np.float32]

LISTS_FILE = "lists.faiss"
VECTORS_FILE = "vectors.npy"
TABLE_FILE = "table.parquet"
_AT_ONCE = 65_536
_UNTYPED: Any = faiss  # its stubs do not know what lists on disk have


def train(choice: Choice, sample: Vectors, count: int) -> faiss.Index:
    """An empty index, trained.

    Args:
        sample: ``(n, D)`` of the vectors that will be added.
        count: How many those are, for the message.

    Raises:
        ConfigError: FAISS does not understand the factory string, or has too few vectors to train it.
    """
    sample = np.ascontiguousarray(sample, dtype=np.float32)
    try:
        index = faiss.index_factory(sample.shape[1], choice.factory, faiss.METRIC_INNER_PRODUCT)
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


def in_shards(index: faiss.Index) -> bool:
    """Whether shards of this index can be joined on disk: plain inverted lists, at most behind a transform."""
    inner = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexPreTransform):
        inner = faiss.downcast_index(inner.index)
    if not isinstance(inner, faiss.IndexIVF) or isinstance(inner, faiss.IndexIVFPQR):
        return False
    lists = inner.invlists
    return lists is not None and isinstance(faiss.downcast_InvertedLists(lists), faiss.ArrayInvertedLists)


def write_shard(folder: Path, trained: faiss.Index, vectors: Vectors, first: int, refine: bool) -> None:
    """Write the shard of ``(n, D)`` vectors, the rows from ``first`` on; ``trained`` is filled on the way."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if in_shards(trained):
        trained.add_with_ids(vectors, np.arange(first, first + len(vectors)))
        faiss.write_index(trained, str(folder / LISTS_FILE))
        if refine:
            np.save(folder / VECTORS_FILE, vectors.astype(np.float16), allow_pickle=False)
    else:
        np.save(folder / VECTORS_FILE, vectors, allow_pickle=False)


def join_shards(folder: Path, name: str, trained: faiss.Index, shards: Sequence[Path], refine: bool) -> None:
    """Write ``<name>.faiss`` and what belongs to it from the shards, in the order of their rows."""
    target = folder / f"{name}.faiss"
    if in_shards(trained):
        lists = folder / f"{name}.lists"
        with native_output_to_stderr():
            merge_ondisk(trained, [str(shard / LISTS_FILE) for shard in shards], str(lists))
        # Where it was built is nobody's business, and differs between machines that build the same.
        _UNTYPED.downcast_InvertedLists(faiss.extract_index_ivf(trained).invlists).filename = lists.name
    else:
        for shard in shards:
            vectors = np.load(shard / VECTORS_FILE, mmap_mode="r", allow_pickle=False)
            for start in range(0, len(vectors), _AT_ONCE):
                trained.add(np.ascontiguousarray(vectors[start : start + _AT_ONCE], dtype=np.float32))
    faiss.write_index(trained, str(target))
    if refine:
        _join_vectors(folder / f"{name}.npy", [shard / VECTORS_FILE for shard in shards])


def _join_vectors(path: Path, parts: Sequence[Path]) -> None:
    arrays = [np.load(part, mmap_mode="r", allow_pickle=False) for part in parts]
    shape = sum(map(len, arrays)), arrays[0].shape[1]
    joined = open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    start = 0
    for array in arrays:
        joined[start : start + len(array)] = array
        start += len(array)
    joined.flush()
