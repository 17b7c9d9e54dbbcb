"""Printing what is wrong with rows: repeated faults as one, with their first lines."""

from collections import Counter
from collections.abc import Sequence

from flows.terminal import say_table
from mmer_core.datasets.raw import ORPHAN
from mmer_core.datasets.sample import Quarantined

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
