"""Samples of the same picture: left out, joined, or kept in one split."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mmer_core.datasets.initial.rows import left_out
from mmer_core.datasets.leakage import NEAR_BITS, Fingerprint, near_pairs
from mmer_core.datasets.raw import WHERE
from mmer_core.datasets.sample import Quarantined, Sample
from mmer_core.datasets.stratified_splits import connected


@dataclass
class Deduplicated:
    """What is left of samples.

    Attributes:
        samples: One for each picture, text and box; without labels, one for each picture, with all of its texts.
        left_out: The others, but for those that are joined.
        joined: Number of samples whose texts went to another sample of the same picture.
    """

    samples: list[Sample] = field(default_factory=list)
    left_out: list[Quarantined] = field(default_factory=list)
    joined: int = 0


def deduplicated(samples: Sequence[Sample], files: Mapping[str, bytes]) -> Deduplicated:
    """Leave out what the samples say twice. If they contradict each other, none of them is kept.

    Args:
        files: The digest of each sample's file, or of its texts if it has none, by its id.
    """
    alike: dict[Any, list[Sample]] = {}
    for sample in samples:
        texts = tuple(text.text for text in sample.texts) if sample.labels is not None else ()
        alike.setdefault((files[sample.id], texts, sample.box), []).append(sample)
    found = Deduplicated()
    for same in alike.values():
        first, *others = same
        if len({(frozenset(one.labels or ()), one.vad) for one in same}) > 1:
            said = "; ".join(f"{one.metadata[WHERE]} says {' and '.join(one.labels or ())}" for one in same)
            detail = f"several answers for one {'picture' if first.image else 'text'}: {said}"
            found.left_out += [left_out(one.metadata[WHERE], "contradictory", detail, one.id) for one in same]
            continue
        copies = [other for other in others if first.labels is not None or other.image != first.image]
        found.joined += len(others) - len(copies)
        joined = dict.fromkeys(text for one in same for text in one.texts)
        found.samples.append(replace(first, texts=tuple(joined)))
        detail = f"the same {'file' if first.image else 'text'} as {first.metadata[WHERE]}"
        found.left_out += [left_out(one.metadata[WHERE], "duplicate", detail, one.id) for one in copies]
    return found


def near_ties(prints: Sequence[Fingerprint]) -> list[Hashable]:
    """The same for two pictures if they are near-identical, or are connected by pictures of which each is so to the next."""
    hashes = np.array([one.hash for one in prints], np.uint8).reshape(-1, 8)
    distinct, place = np.unique(hashes, axis=0, return_inverse=True)
    ties: list[set[Hashable]] = [set() for _ in distinct]
    for one, other, _ in near_pairs(distinct, distinct, NEAR_BITS):
        ties[one].add(one)
        ties[other].add(one)
    parts = connected(ties)
    return [parts[number] for number in place.ravel()]
