"""Choosing a FAISS index for a number of vectors, a memory limit and a required recall.

Two rules, from measurements (docs/search.md):

* few vectors, or a recall of 1: ``Flat``, exact by brute force;
* otherwise inverted lists (IVF: Sivic & Zisserman 2003) of 4-bit product codes (PQ: Jégou et al. 2011) of the residual
  from the list's centroid, after a random rotation that spreads the variance evenly over the codes. They are
  compared in registers (fast scan: André et al. 2015), and the best candidates are re-ranked by vectors that stay
  on disk. The codes are as long as memory allows; the shorter they are, the more candidates are re-ranked.
"""

import math
from dataclasses import dataclass

from mmer_core.errors import ConfigError

FEW = 20_000
"""Up to this many vectors, brute force answers in one or two milliseconds."""

CANDIDATES = {2: 8, 4: 32, 8: 128}
"""Re-ranked candidates per result, by the number of components that share a 4-bit code."""

HIGH_RECALL = 0.97
"""For a recall above this, twice as many candidates are re-ranked."""

_ID_BYTES = 8
_LIST_BYTES = 64  # sizes and headers per list
_PACKED = 32  # codes are stored in blocks of this many, the last of which is only partly filled
_TRAINING_PER_LIST = 48  # FAISS warns below 39
_TRAINING_AT_LEAST = 65_536


@dataclass(frozen=True)
class Choice:
    """An index to build.

    Attributes:
        factory: FAISS factory string.
        refine: Candidates per result that are re-ranked by float16 vectors on disk; 0: no re-ranking.
    """

    factory: str
    refine: float = 0


def choose(count: int, width: int, *, memory: int, recall: float) -> Choice:
    """The index for ``count`` vectors of ``width`` whose searched part fits into ``memory`` bytes.

    Raises:
        ConfigError: Even the smallest codes do not fit.
    """
    if count <= FEW or recall >= 1:
        return Choice("Flat")
    lists = list_count(count)
    for components, candidates in CANDIDATES.items():
        codes = -(-width // components)
        if packed_bytes(count, width, lists, codes) <= memory:
            return Choice(
                f"RR{codes * components},IVF{lists},PQ{codes}x4fsr",
                candidates * (2 if recall > HIGH_RECALL else 1),
            )
    least = packed_bytes(count, width, lists, -(-width // max(CANDIDATES)))
    raise ConfigError(
        f"no index of {count} vectors of width {width} fits into {memory / 2**30:.3g} GiB: the smallest takes "
        f"{least / 2**30:.3g} GiB; raise --index.memory-gib"
    )


def packed_bytes(count: int, width: int, lists: int, codes: int) -> int:
    """Bytes of the searched part of an index of 4-bit codes: rotation, centroids of lists and of codes, codes and ids."""
    a_code = -(-codes // 2)
    a_vector = 4 * (width + max(CANDIDATES))
    centres = lists * (a_vector + _LIST_BYTES + _PACKED * a_code) + 2**4 * a_vector
    return a_vector * (width + max(CANDIDATES)) + centres + count * (a_code + _ID_BYTES)


def list_count(count: int) -> int:
    """Number of inverted lists: the power of two nearest to twice the square root of the number of vectors.

    A query is compared with every list's centroid, which is as large as 16 codes of two components: more lists would
    cost more than they save.
    """
    return max(16, 1 << round(1 + math.log2(count) / 2))


def training_rows(count: int, factory: str) -> int:
    """How many of ``count`` vectors to train on: just enough for every centroid."""
    lists = [part for part in factory.split(",") if part.startswith("IVF")]
    digits = lists[0].removeprefix("IVF").split("_")[0] if lists else ""
    wanted = _TRAINING_PER_LIST * int(digits) if digits.isdecimal() else 0
    return min(count, max(wanted, _TRAINING_AT_LEAST))
