"""The splits of a first manifest: those that are there, and stratified ones for all other samples."""

from collections import Counter
from collections.abc import Mapping, Sequence

from mmer_core.datasets.initial.alike import near_ties
from mmer_core.datasets.leakage import Fingerprint
from mmer_core.datasets.manifest_splits import text_ties
from mmer_core.datasets.raw import GROUP
from mmer_core.datasets.sample import Sample
from mmer_core.datasets.stratified_splits import SHARES, connected, stratified_splits
from mmer_core.taxonomy import SPLITS


def split(
    samples: Sequence[Sample],
    files: Mapping[str, bytes],
    prints: Mapping[str, Fingerprint],
    *,
    given: Mapping[str, str],
    kept: Mapping[str, str],
    seed: int,
) -> tuple[dict[str, str], list[str]]:
    """Each sample's split by its id, and what is to be said of it.

    Args:
        files: The digest of each sample's file, or of its texts if it has none, by its id; ``prints`` of its pixels.
        given: Splits that the source names, by id: they stay, whatever they share. Without val, train is divided.
        kept: Splits of an earlier manifest, by id: they stay unless a new picture connects them.
    """
    groups = [sample.metadata.get(GROUP, "") for sample in samples]
    shown = [sample.id for sample in samples if sample.image]
    near = dict(zip(shown, near_ties([prints[id_] for id_ in shown]), strict=True))
    texts = text_ties([([text.text for text in one.texts], bool(one.image)) for one in samples])
    alike = [
        {("file", files[sample.id]), ("near", near.get(sample.id, ("text", sample.id))), *same}
        for sample, same in zip(samples, texts, strict=True)
    ]
    parts = connected(
        [
            {*ties, ("group", group or sample.id)}
            for ties, group, sample in zip(alike, groups, samples, strict=True)
        ]
    )
    notes = _about(connected(alike), "pictures" if len(shown) == len(samples) else "pictures or texts")
    # A group's name comes before digests, so that more pictures of a person move none.
    keys = [
        b"0" + one.encode() if one else b"1" + files[sample.id]
        for one, sample in zip(groups, samples, strict=True)
    ]
    part_of = {sample.id: part for sample, part in zip(samples, parts, strict=True)}
    names = {*given.values()}
    shares: Mapping[str, float] = SHARES
    if given and "val" not in names:
        notes.append("the source has no val: 15 % of its train became val")
        shares = {"train": 0.85, "val": 0.15}
        # What is like a picture of test stays in train.
        settled = {part_of[id_]: "train" for id_, name in given.items() if name == "test"}
        given = {id_: name for id_, name in given.items() if name == "test"}
    else:
        settled = {}
        for id_, name in {**kept, **given}.items():
            settled[part_of[id_]] = min(settled.get(part_of[id_], name), name, key=SPLITS.index)
    labels = [sample.labels or () for sample in samples]
    found = stratified_splits(parts, keys, labels, seed=seed, shares=shares, settled=settled)
    splits = {sample.id: given.get(sample.id, name) for sample, name in zip(samples, found, strict=True)}
    parted = Counter(part for part, _ in {(part_of[id_], name) for id_, name in splits.items()})
    if several := sum(count > 1 for count in parted.values()):
        notes.append(
            f"{several:,} pictures or groups are in two splits of the source, which is leakage: --resplit makes the splits anew"
        )
    return splits, notes


def _about(parts: Sequence[int], what: str) -> list[str]:
    several = [count for count in Counter(parts).values() if count > 1]
    if not several:
        return []
    return [
        f"{what} that occur more than once, the same or nearly so: {len(several):,}, shown by {sum(several):,} samples (one by "
        f"{max(several):,}); each {'picture ' if what == 'pictures' else ''}has one split"
    ]
