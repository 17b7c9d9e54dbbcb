"""Which FAISS index suits so many vectors, so much memory and the recall that is asked for.

The rules, from the fastest to the smallest index that fits:

* few vectors, or a recall of 1: ``Flat``, exact by brute force;
* a graph (HNSW: Malkov & Yashunin 2016, 1603.09320) while it fits and is not slow to build;
* inverted lists (IVF: Sivic & Zisserman 2003) of whole vectors, then of 8-bit components;
* inverted lists of product codes after a learned rotation (PQ: Jégou et al. 2011; OPQ: Ge et al. 2013), whose
  best candidates are scored again by vectors that stay on disk.
"""

from dataclasses import dataclass

from mmer_core.errors import ConfigError

FEW = 20_000
"""Up to so many vectors brute force answers in a millisecond or two."""

GRAPH_AT_MOST = 2_000_000
"""A graph is built in one process: beyond this, lists that are filled shard by shard are worth their speed."""

LINKS = 32
_GRAPH_BYTES = 4 * (2 * LINKS) + 16  # int32 neighbours on the ground level, offsets, and the levels above
_ID_BYTES = 8
_COARSE_GRAPH_FROM = 16_384
_CODE_SIZES = (128, 64, 32, 16)
_TRAINING_PER_LIST = 48  # FAISS warns below 39
_TRAINING_AT_LEAST = 65_536
_CANDIDATES = 10


@dataclass(frozen=True)
class Choice:
    """An index to build.

    Attributes:
        factory: FAISS factory string.
        refine: Candidates for every result that are scored again by float16 vectors on disk; 0: none are.
    """

    factory: str
    refine: int = 0


def choose(count: int, width: int, *, memory: int, recall: float) -> Choice:
    """The index of ``count`` vectors of ``width`` whose searched part fits into ``memory`` bytes.

    Raises:
        ConfigError: Not even the smallest codes fit.
    """
    if count <= FEW or recall >= 1:
        return Choice("Flat")
    if count <= GRAPH_AT_MOST and count * (4 * width + _GRAPH_BYTES) <= memory:
        return Choice(f"HNSW{LINKS}")
    lists = list_count(count)
    coarse = f"IVF{lists}_HNSW{LINKS}" if lists >= _COARSE_GRAPH_FROM else f"IVF{lists}"
    left = memory - 4 * width * lists
    for code, size in (("Flat", 4 * width), ("SQ8", width)):
        if count * (size + _ID_BYTES) <= left:
            return Choice(f"{coarse},{code}")
    for size in _CODE_SIZES:
        if size < width and count * (size + _ID_BYTES) <= left:
            return Choice(f"OPQ{size},{coarse},PQ{size}", _CANDIDATES)
    least = count * (_CODE_SIZES[-1] + _ID_BYTES) + 4 * width * lists
    raise ConfigError(
        f"no index of {count} vectors of width {width} fits into {memory / 2**30:.3g} GiB: the smallest takes "
        f"{least / 2**30:.3g} GiB; raise --index.memory-gib"
    )


def list_count(count: int) -> int:
    """Inverted lists: the power of two next to four times the root of the number of vectors."""
    return max(16, 1 << round(2 + (count.bit_length() - 1) / 2))


def training_rows(count: int, factory: str) -> int:
    """How many of ``count`` vectors an index is trained on: enough for every centroid, and no more."""
    lists = [part for part in factory.split(",") if part.startswith("IVF")]
    digits = lists[0].removeprefix("IVF").split("_")[0] if lists else ""
    wanted = _TRAINING_PER_LIST * int(digits) if digits.isdecimal() else 0
    return min(count, max(wanted, _TRAINING_AT_LEAST))
