"""Stratified splits of rows of which some belong together: copies of a picture, the pictures of a person."""

import hashlib
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence

SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}
"""Shares of generated splits, in the order of `mmer_core.taxonomy.SPLITS`."""


def connected(ties: Sequence[Collection[Hashable]]) -> list[int]:
    """The connected component of each row, by the index of its first row. Rows with a tie in common are connected."""
    parent = list(range(len(ties)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[Hashable, int] = {}
    for row, names in enumerate(ties):
        for name in names:
            one, other = root(first.setdefault(name, row)), root(row)
            parent[max(one, other)] = min(one, other)
    return [root(row) for row in range(len(ties))]


def stratified_splits(
    parts: Sequence[int],
    keys: Sequence[bytes],
    labels: Sequence[Collection[str]],
    *,
    seed: int = 0,
    shares: Mapping[str, float] = SHARES,
    settled: Mapping[int, str] | None = None,
) -> list[str]:
    """A split for every row, so that no component is parted and every split has about the same shares of labels.

    A component counts for the rarest of its labels. The components of a label are put in the order of a hash of their keys,
    and this order is cut by the shares; components that would take up more than a third of a split come first, so that they
    are in train. A single row that is added to a label moves at most one other across each of the two cuts. The order does not
    depend on that of the rows.

    Args:
        parts: Each row's component.
        keys: What a component's place is drawn from: the least key of its rows.
        labels: Each row's labels; no row has any in a dataset without labels.
        shares: Share of each split, train first; they add up to 1.
        settled: Splits of components that have one already.
    """
    splits = dict(settled or {})
    sizes = Counter(parts)
    key: dict[int, bytes] = {}
    named: dict[int, set[str]] = {}
    for part, one, names in zip(parts, keys, labels, strict=True):
        key[part] = min(one, key.get(part, one))
        named.setdefault(part, set()).update(names)
    free = sorted((part for part in sizes if part not in splits), key=lambda part: _drawn(seed, key[part]))
    often = Counter(name for part in free for name in named[part])
    strata: dict[str, list[int]] = {}
    for part in free:
        rarest = min(named[part], key=lambda name: (often[name], name), default="")
        strata.setdefault(rarest, []).append(part)
    for name, members in strata.items():
        total = sum(sizes[part] for part in members)
        largest = max(1.0, total * min(shares.values()) / 3)
        # Where the first cut falls between two rows is drawn, or all small strata would round the same way.
        phase = int.from_bytes(_drawn(seed, name.encode())[:8]) / 2**64
        done = 0
        for part in sorted(members, key=lambda part: sizes[part] <= largest):
            place = (done + phase * sizes[part]) / total if done else 0.0
            splits[part] = _at(place, shares)
            done += sizes[part]
    _fill_val(splits, free, sizes, shares)
    return [splits[part] for part in parts]


def _drawn(seed: int, key: bytes) -> bytes:
    return hashlib.sha256(f"{seed}:".encode() + key).digest()


def _at(place: float, shares: Mapping[str, float]) -> str:
    """The split at a place in 0..1."""
    end = 0.0
    for split, share in shares.items():
        end += share
        if place < end:
            return split
    return split


def _fill_val(
    splits: dict[int, str], free: Sequence[int], sizes: Counter[int], shares: Mapping[str, float]
) -> None:
    """Move the smallest of test, or else of train, to a val that would be empty, as training needs one."""
    if "val" not in shares or "val" in splits.values():
        return
    for source in ("test", "train"):
        found = [part for part in free if splits[part] == source]
        if len(found) > (source == "train"):
            splits[min(found, key=lambda part: sizes[part])] = "val"
            return
