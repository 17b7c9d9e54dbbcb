"""Finding ids with a similar spelling, at a cost that hardly depends on their number or length.

Every id has a signature of 256 bits, one for each hash of a trigram. Signatures are compared with a few vectorised
operations; only the ids with the nearest signatures are compared character by character.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

COMPARED = 32
"""Ids that are compared character by character."""

LETTERS = 100
"""Characters of an id that are compared."""

MOST_IDS = 500_000
"""Maximal number of ids for this search: comparing that many signatures takes some 5 ms."""

_WORDS = 4
_BITS = 64 * _WORDS
_AT_ONCE = 16_384
_STEPS = 1024
_CUTOFF = 0.5
_END = "\0\0"

Signatures = npt.NDArray[np.uint64]


class Spellings:
    """A set of ids, indexed by signature."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids if len(ids) <= MOST_IDS else ()
        self._signatures = np.empty((_WORDS, len(self._ids)), np.uint64)
        for start in range(0, len(self._ids), _AT_ONCE):
            some = [_normal(id) for id in self._ids[start : start + _AT_ONCE]]
            self._signatures[:, start : start + len(some)] = _signatures(some)
        self._sizes = _bits(self._signatures)

    def near(self, wanted: str, count: int = 3) -> list[str]:
        """The ids with the most similar spelling, nearest first; empty if none is similar."""
        spelled = _normal(wanted)
        pairs = _pairs(spelled)
        scored = [
            (-_likeness(pairs, _pairs(_normal(self._ids[row]))), self._ids[row])
            for row in self._candidates(spelled)
        ]
        return [id for score, id in sorted(scored)[:count] if score <= -_CUTOFF]

    def _candidates(self, spelled: str) -> Iterator[int]:
        if not self._ids:
            return
        signature = _signatures([spelled])
        shared = _bits(self._signatures & signature)
        likeness = shared * np.uint32(_STEPS) // np.maximum(self._sizes + _bits(signature), 1)
        # Counting sort: a comparison sort takes ten times as long with many equal values.
        better = np.cumsum(np.bincount(likeness, minlength=_STEPS)[::-1])
        least = max(1, _STEPS - 1 - int(np.searchsorted(better, COMPARED)))
        rows = np.concatenate([np.flatnonzero(likeness > least), np.flatnonzero(likeness == least)])
        yield from rows[:COMPARED].tolist()


def _normal(id: str) -> str:
    return id[:LETTERS].casefold()[:LETTERS].replace("\0", " ")


def _signatures(spelled: Sequence[str]) -> Signatures:
    """Signatures as ``(words, n)``."""
    text = _END + _END.join(spelled) + _END
    letters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    hashes = letters[:-2] * np.uint32(0x9E3779B1) ^ letters[1:-1] * np.uint32(0x85EBCA77)
    hashes = (hashes ^ letters[2:] * np.uint32(0xC2B2AE3D)) * np.uint32(0x27D4EB2F)
    owners = np.repeat(np.arange(len(spelled)), [len(one) + len(_END) for one in spelled])
    bits = np.zeros((len(spelled), _BITS), bool)
    bits[owners, hashes >> np.uint32(24)] = True
    return np.ascontiguousarray(np.packbits(bits, axis=1).view(np.uint64).T)


def _bits(signatures: Signatures) -> npt.NDArray[np.uint16]:
    """Number of set bits of each signature."""
    return np.bitwise_count(signatures).sum(axis=0, dtype=np.uint16)


def _pairs(spelled: str) -> "Counter[str]":
    closed = f"\0{spelled}\0"
    return Counter(map(str.__add__, closed, closed[1:]))


def _likeness(left: "Counter[str]", right: "Counter[str]") -> float:
    """Share of letter bigrams that both have in common, in 0..1."""
    return 2 * (left & right).total() / (left.total() + right.total())
