"""Which FAISS index suits so many vectors, so much memory and the recall that is asked for.

Two rules, from measurements (docs/search.md):

* few vectors, or a recall of 1: ``Flat``, exact by brute force;
* else inverted lists (IVF: Sivic & Zisserman 2003) of 4-bit product codes (PQ: Jégou et al. 2011) of what each vector
  differs by from its list's centre, after a random rotation that spreads the variance evenly over the codes. They are
  compared in registers (fast scan: André et al. 2015), and the best candidates are scored again by vectors that stay
  on disk. The codes are as long as memory allows; the shorter they are, the more candidates are scored again.
"""

import math
from dataclasses import dataclass

from mmer_core.errors import ConfigError

FEW = 20_000
"""Up to so many vectors brute force answers in a millisecond or two."""

CANDIDATES = {2: 8, 4: 32, 8: 128}
"""By the components that share a 4-bit code: candidates for every result that are scored again."""

HIGH_RECALL = 0.97
"""A recall above it is looked for among twice as many candidates."""

_ID_BYTES = 8
_LIST_BYTES = 64  # sizes and heads
_PACKED = 32  # codes lie in blocks of so many, and the last block of a list is not full
_TRAINING_PER_LIST = 48  # FAISS warns below 39
_TRAINING_AT_LEAST = 65_536


@dataclass(frozen=True)
class Choice:
    """An index to build.

    Attributes:
        factory: FAISS factory string.
        refine: Candidates for every result that are scored again by float16 vectors on disk; 0: none are.
    """

    factory: str
    refine: float = 0


def choose(count: int, width: int, *, memory: int, recall: float) -> Choice:
    """The index of ``count`` vectors of ``width`` whose searched part fits into ``memory`` bytes.

    Raises:
        ConfigError: Not even the smallest codes fit.
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
    """Bytes of the searched part of an index of 4-bit codes: rotation, centres, codes and ids."""
    a_code = -(-codes // 2)
    centres = lists * (4 * (width + max(CANDIDATES)) + _LIST_BYTES + _PACKED * a_code)
    return 4 * (width + max(CANDIDATES)) ** 2 + centres + count * (a_code + _ID_BYTES)


def list_count(count: int) -> int:
    """Inverted lists: the power of two next to twice the root of the number of vectors.

    A query is compared with every list's centre, which is as large as 16 codes of two components: more lists cost it
    more than they spare it.
    """
    return max(16, 1 << round(1 + math.log2(count) / 2))


def training_rows(count: int, factory: str) -> int:
    """How many of ``count`` vectors an index is trained on: enough for every centroid, and no more."""
    lists = [part for part in factory.split(",") if part.startswith("IVF")]
    digits = lists[0].removeprefix("IVF").split("_")[0] if lists else ""
    wanted = _TRAINING_PER_LIST * int(digits) if digits.isdecimal() else 0
    return min(count, max(wanted, _TRAINING_AT_LEAST))
