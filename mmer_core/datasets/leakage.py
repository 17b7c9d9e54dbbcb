"""Leakage: images, groups or texts without images that occur in two splits, so that memorised training data would count as skill.

Identical images have the same pixels after preparation. Near-identical ones (recompressed, resized, slightly
retouched) are found by perceptual hash: the signs of the low frequencies of an image's cosine transform
(Zauner 2010, *Implementation and Benchmarking of Perceptual Image Hash Functions*; as the ``imagehash`` package).
Crops, mirrored copies and other photos of the same scene have other hashes and are not found.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, combinations, cycle, islice, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmer_core.datasets.packed import Pictures
from mmer_core.datasets.prepared import Prepared
from mmer_core.datasets.raw import GROUP
from mmer_core.escaping.tables import write_for_people
from mmer_core.heavy import faiss
from mmer_core.progress import Progress, silent

NEAR_BITS = 6
"""Two images are near-identical if their 64-bit hashes differ in at most this many bits."""
_SIDE, _FREQUENCIES = 32, 8
_COSINES = 2 * np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), 2 * np.arange(_SIDE) + 1) / (2 * _SIDE))
"""The lowest frequencies of the discrete cosine transform, type II, as ``scipy.fft.dct`` scales it."""
_FEW = 1_000_000
"""Pairs that NumPy compares in the time that importing FAISS takes."""
_MANY = 50_000
"""Hashes from which on looking up parts of them is faster than comparing each with each."""
_HUGE = 2**24
"""Hashes from which on parts must be longer, or too many hashes share one."""
_AT_ONCE = 4_096
LISTED = 100
"""Pairs of near-identical images that are listed for one hash; of more, their number is said."""
COLUMNS = ("Kind", "Split", "Id", "Other_Split", "Other_Id", "Bits", "Further")

Hashes = npt.NDArray[np.uint8]
"""``(N, 8)`` uint8: one 64-bit perceptual hash per row."""
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fingerprint:
    """An image's fingerprint: the digest of its pixels and its perceptual hash ``(8,)`` uint8."""

    digest: bytes
    hash: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Leak:
    """An image, a text or a group in two splits.

    Attributes:
        kind: ``identical`` or ``near-identical`` for images, ``text`` or ``group``.
        split, id: A sample of one split; ``other_split``, ``other_id``: a sample of the other.
        bits: Number of differing bits between the 64-bit hashes; 0 for a text or a group.
        further: Pairs of the same hash and kind that are not listed, where there are more than `LISTED`; the last one that
            is listed says it.
    """

    kind: str
    split: str
    id: str
    other_split: str
    other_id: str
    bits: int = 0
    further: int = 0

    def __str__(self) -> str:
        other = f"{self.other_id} in {self.other_split}"
        if self.kind == "group":
            return f"of one group with {other}"
        if self.kind == "text":
            return f"of the same text as {other}"
        apart = f", {self.bits} of 64 bits apart" if self.bits else ""
        further = f"; so are {self.further:,} further pairs of pictures like it" if self.further else ""
        return f"{self.kind} to {other}{apart}{further}"


class SampleText(NamedTuple):
    """A text of a sample, and whether the sample has an image."""

    id: str
    text: str
    pictured: bool


def fingerprint_image(image: npt.NDArray[np.uint8]) -> Fingerprint:
    """The `Fingerprint` of an image ``(H, W, 3)`` uint8 RGB.

    The hash is that of ``imagehash.phash``, except where frequencies equal the median (a picture of stripes, or two pixels
    wide): there the package's bits are rounding errors, and these are not.
    """
    gray = Image.fromarray(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    low = (_COSINES @ np.asarray(gray, np.float64) @ _COSINES.T).round(6)
    return Fingerprint(hashlib.sha256(image.tobytes()).digest(), np.packbits(low > np.median(low)))


def find_leaks(prepared: Prepared, *, workers: int, progress: Progress = silent) -> list[Leak]:
    """Every image, group and text without an image that occurs in two splits of a prepared dataset.

    An image shared by several samples of a split counts once, as its first sample.

    Args:
        workers: Number of threads that hash.
    """
    prints: dict[str, list[tuple[str, Fingerprint]]] = {}
    groups: dict[str, list[tuple[str, str]]] = {}
    texts: dict[str, list[SampleText]] = {}
    splits = {name: prepared.split(name) for name in prepared.card.splits}
    done, total = 0, sum(len(split.image_sample) for split in splits.values())
    lacking = any(split.without_image for split in splits.values())
    with ThreadPoolExecutor(workers) as pool:
        for name, split in splits.items():
            prints[name] = []
            shown = split.image_sample.tolist()
            read = partial(_read_print, split.images("context") if shown else np.empty(0, np.uint8))
            for row, one in zip(shown, pool.map(read, range(len(shown))), strict=True):
                prints[name].append((split.ids[row], one))
                done += 1
                progress(done, total, name)
            if GROUP in split.table:
                groups[name] = list(zip(split.ids, split.table[GROUP], strict=True))
            if lacking:
                pictured = set(shown)
                texts[name] = [
                    SampleText(split.ids[row], text, row in pictured)
                    for text, row in zip(split.texts, split.text_sample.tolist(), strict=True)
                ]
    return compare_splits(prints) + shared_texts(texts) + shared_groups(groups)


def leaks_by_kind(leaks: Iterable[Leak]) -> dict[str, int]:
    """How many there are of each kind, those that are not listed included."""
    counts = Counter[str]()
    for leak in leaks:
        counts[leak.kind] += 1 + leak.further
    return dict(counts)


def compare_splits(prints: dict[str, list[tuple[str, Fingerprint]]]) -> list[Leak]:
    """Identical and near-identical images across splits, in the order of the splits and their samples.

    Pictures that all look alike, blank ones say, make as many pairs as there are of them squared. So of the near-identical
    pairs of a hash no more than `LISTED` are listed, in which as many pictures occur as can, and the others are counted.

    Args:
        prints: Every sample's id and print, by split.
    """
    distinct = {split: _distinct(samples) for split, samples in prints.items()}
    leaks = []
    for split, other in combinations(distinct, 2):
        ours, theirs = distinct[split], distinct[other]
        pairs = [*_identical(ours, theirs), *_near_identical(ours, theirs)]
        leaks += [
            Leak(pair.kind, split, ours[pair.row][0], other, theirs[pair.other][0], pair.bits, pair.further)
            for pair in sorted(pairs, key=lambda pair: (pair.row, pair.other))
        ]
    return leaks


class _Pair(NamedTuple):
    kind: str
    row: int
    other: int
    bits: int = 0
    further: int = 0


def _identical(
    ours: Sequence[tuple[str, Fingerprint]], theirs: Sequence[tuple[str, Fingerprint]]
) -> Iterator[_Pair]:
    place = {one.digest: row for row, (_, one) in enumerate(theirs)}
    for row, (_, one) in enumerate(ours):
        if one.digest in place:
            yield _Pair("identical", row, place[one.digest])


def _near_identical(
    ours: Sequence[tuple[str, Fingerprint]], theirs: Sequence[tuple[str, Fingerprint]]
) -> Iterator[_Pair]:
    """Each different hash is compared once, however many pictures have it."""
    (hashes, with_hash), (other_hashes, with_other) = _by_hash(ours), _by_hash(theirs)
    for one, others, apart in _near(hashes, other_hashes, NEAR_BITS):
        alike: list[_Pair] = []
        total = 0
        for other, bits in zip(others.tolist(), apart.tolist(), strict=True):
            mine, their = with_hash[one], with_other[other]
            count = len(mine) * len(their)
            if not bits:  # pictures of one digest have one hash
                count -= len({ours[row][1].digest for row in mine} & {theirs[row][1].digest for row in their})
            total += count
            if len(alike) < LISTED:
                different = (
                    pair
                    for pair in _each_once(mine, their)
                    if ours[pair[0]][1].digest != theirs[pair[1]][1].digest
                )
                alike += [
                    _Pair("near-identical", *pair, bits) for pair in islice(different, LISTED - len(alike))
                ]
        if len(alike) < total:
            alike[-1] = alike[-1]._replace(further=total - len(alike))
        yield from alike


def _each_once(mine: Sequence[int], their: Sequence[int]) -> Iterator[tuple[int, int]]:
    """All pairs, those first in which every member of the larger group occurs once."""
    longer = len(mine) >= len(their)
    first = zip(mine, cycle(their), strict=False) if longer else zip(cycle(mine), their, strict=False)
    seen = set()
    for pair in chain(first, product(mine, their)):
        if pair not in seen:
            seen.add(pair)
            yield pair


def near_pairs(ours: Hashes, theirs: Hashes, bits: int) -> list[tuple[int, int, int]]:
    """All pairs of rows whose hashes differ in at most ``bits`` bits, as (row, other row, bits), sorted."""
    return [
        (row, other, apart)
        for row, others, distances in _near(ours, theirs, bits)
        for other, apart in sorted(zip(others.tolist(), distances.tolist(), strict=True))
    ]


def _near(ours: Hashes, theirs: Hashes, bits: int) -> Iterator[tuple[int, Rows, Rows]]:
    """Every row that has any near ones: those, nearest first, and by how many bits they differ."""
    if not len(ours) or not len(theirs):
        return
    search = _compared(theirs, bits) if len(ours) * len(theirs) <= _FEW else _searched(theirs, bits)
    for start in range(0, len(ours), _AT_ONCE):
        rows, others, apart = search(ours[start : start + _AT_ONCE])
        order = np.lexsort((others, apart, rows))
        found, first = np.unique(rows[order], return_index=True)
        parts = np.split(order, first[1:])
        for row, part in zip(found.tolist(), parts if len(found) else [], strict=True):
            yield start + row, others[part], apart[part]


_Search = Callable[[Hashes], tuple[Rows, Rows, Rows]]


def _compared(theirs: Hashes, bits: int) -> _Search:
    def search(ours: Hashes) -> tuple[Rows, Rows, Rows]:
        differing = np.bitwise_count(ours[:, None] ^ theirs).sum(axis=2, dtype=np.int64)
        rows, others = np.nonzero(differing <= bits)
        return rows, others, differing[rows, others]

    return search


def _searched(theirs: Hashes, bits: int) -> _Search:
    """By FAISS; of many hashes by looking up parts of them with all that differ from these in few bits: of two hashes that
    differ in 6 bits, one of three equal parts differs in no more than 2 (Norouzi et al. 2012, *Fast Search in Hamming Space with
    Multi-Index Hashing*, https://doi.org/10.1109/CVPR.2012.6248043). Both find all."""
    size = 8 * theirs.shape[1]
    index: Any = faiss.IndexBinaryFlat(size)
    if len(theirs) >= _MANY:
        parts = 3 if len(theirs) < _HUGE else 2
        index = faiss.IndexBinaryMultiHash(size, parts, size // parts)
        index.nflip = bits // parts
    index.add(theirs)

    def search(ours: Hashes) -> tuple[Rows, Rows, Rows]:
        limits, distances, found = index.range_search(ours, bits + 1)
        rows = np.repeat(np.arange(len(ours)), np.diff(limits).astype(np.int64))
        return rows, found.astype(np.int64), distances.astype(np.int64)

    return search


def shared_texts(texts: dict[str, list[SampleText]]) -> list[Leak]:
    """Texts in two splits, apart from blanks, where a sample has nothing but the text: next to different images, the same
    words may mean different things. Each is represented by its first sample in either split, one without an image if any.

    Args:
        texts: Every text, by split.
    """
    first: dict[str, dict[str, SampleText]] = {}
    for split, members in texts.items():
        first[split] = {}
        for one in sorted(members, key=lambda one: one.pictured):
            first[split].setdefault(" ".join(one.text.split()), one)
    return [
        Leak("text", split, one.id, other, first[other][text].id)
        for split, other in combinations(first, 2)
        for text, one in first[split].items()
        if text in first[other] and not (one.pictured and first[other][text].pictured)
    ]


def shared_groups(groups: dict[str, list[tuple[str, str]]]) -> list[Leak]:
    """Groups with samples in two splits, each represented by its first sample in either split.

    Args:
        groups: Every sample's id and group, by split; the group is empty for a sample without one.
    """
    first: dict[str, dict[str, str]] = {}
    for split, members in groups.items():
        first[split] = {}
        for id_, group in members:
            if group:
                first[split].setdefault(group, id_)
    return [
        Leak("group", split, id_, other, first[other][group])
        for split, other in combinations(first, 2)
        for group, id_ in first[split].items()
        if group in first[other]
    ]


def write_leaks(leaks: Iterable[Leak], path: Path) -> None:
    """Write ``leakage.csv``."""
    write_for_people(path, COLUMNS, (tuple(vars(leak).values()) for leak in leaks))


def _read_print(images: Pictures, row: int) -> Fingerprint:
    return fingerprint_image(np.array(images[row]))


def _distinct(samples: Sequence[tuple[str, Fingerprint]]) -> list[tuple[str, Fingerprint]]:
    first: dict[bytes, tuple[str, Fingerprint]] = {}
    for id_, one in samples:
        first.setdefault(one.digest, (id_, one))
    return list(first.values())


def _by_hash(samples: Sequence[tuple[str, Fingerprint]]) -> tuple[Hashes, list[list[int]]]:
    """The different hashes, in the order of their first samples, and the rows of the samples that have each."""
    rows: dict[bytes, list[int]] = {}
    for row, (_, one) in enumerate(samples):
        rows.setdefault(one.hash.tobytes(), []).append(row)
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 8), list(rows.values())
