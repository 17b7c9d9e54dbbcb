"""Printing what a dataset is for, and what is wrong with its rows: repeated faults as one, with their first lines."""

from collections import Counter
from collections.abc import Sequence

from flows.output import say
from flows.terminal import say_table
from mmer_core.datasets.raw import ORPHAN
from mmer_core.datasets.sample import Quarantined, Sample
from mmer_core.taxonomy import SPLITS

_TASKS = {
    "classification": "single-label classification",
    "emotion": "several labels a sample",
    "retrieval": "captioned pictures",
}
_LABELS = 40
"""Labels that are listed one by one."""

SHOWN = 3
"""Rows of a reason that are printed, unless all are asked for."""


def say_faults(faults: Sequence[Quarantined], *, every: bool = False) -> str:
    """Print the faults by reason, in the order in which the reasons occur first.

    Captions whose photo is wrong are no faults of their own, and neither printed nor counted.

    Args:
        every: Print every row of a reason, instead of the first ones.

    Returns:
        The number of each reason, as the end of a sentence; ``""`` without a fault.
    """
    by_reason: dict[str, list[Quarantined]] = {}
    for fault in faults:
        if fault.reason != ORPHAN:
            by_reason.setdefault(fault.reason, []).append(fault)
    rows: list[tuple[str, str, str, str]] = []
    for reason, found in by_reason.items():
        shown = found if every or len(found) <= SHOWN + 1 else found[:SHOWN]
        rows += [(one.split, one.id, one.reason, one.detail) for one in shown]
        if len(found) > len(shown):
            rows.append(("", "", reason, f"and {len(found) - len(shown):,} more rows: --all lists them"))
    if rows:
        say_table(("split", "id", "reason", "what and where"), rows)
    counts = Counter({reason: len(found) for reason, found in by_reason.items()})
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common())


def say_contents(task: str, samples: Sequence[Sample]) -> None:
    """Print the task, and how many samples, texts and labels each split has."""
    labels = Counter((label, sample.split) for sample in samples for label in sample.labels or ())
    totals = Counter(label for sample in samples for label in sample.labels or ())
    photos = len({sample.image for sample in samples if sample.image})
    without = sum(not sample.image for sample in samples)
    what = f"of {photos:,} pictures" if photos or not samples else "of texts, without pictures"
    if photos and without:
        what += f", {without:,} without a picture"
    extras = [
        *([f"{len(totals):,} labels"] if totals else []),
        *(["ratings"] if any(sample.vad for sample in samples) else []),
        *(["boxes"] if any(sample.box for sample in samples) else []),
    ]
    say(f"{', '.join([_TASKS.get(task, task), *extras])}: {len(samples):,} samples {what}")
    rows: list[tuple[object, ...]] = [
        (label, *(labels[label, split] for split in SPLITS)) for label, _ in totals.most_common(_LABELS)
    ]
    if len(totals) > _LABELS:
        rows.append((f"and {len(totals) - _LABELS:,} more labels", "", "", ""))
    texts = Counter(sample.split for sample in samples for _ in sample.texts)
    counts = Counter(sample.split for sample in samples)
    rows.append(("samples", *(counts[split] for split in SPLITS)))
    if photos and without:
        pictured = Counter(sample.split for sample in samples if sample.image)
        rows.append(("with a picture", *(pictured[split] for split in SPLITS)))
    if texts:
        rows.append(("texts", *(texts[split] for split in SPLITS)))
    say_table(("", *SPLITS), rows)


def say_encodings(files: Counter[str]) -> None:
    """Print the encodings of text files, and how many files each has."""
    if files:
        listed = [f"{name} ({count:,} files)" if count > 1 else name for name, count in files.most_common()]
        say("encoding: " + ", ".join(listed))
