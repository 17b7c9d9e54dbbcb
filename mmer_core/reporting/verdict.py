"""The verdict: what a report asks, and the answers, a row each."""

from collections.abc import Sequence

from mmer_core.attacks.comparing import CONTROLS, ROBUST
from mmer_core.evaluation.comparing import SKILL
from mmer_core.reporting.comparison_table import decision
from mmer_core.reporting.table import Cell, Row, Table, cell
from mmer_core.statistics.comparison import Comparison

QUESTION = ("Question", "answer", "difference, points", "n", "seeds", "decided by")


def verdict_rows(comparisons: Sequence[Comparison]) -> list[tuple[str, ...]]:
    """The verdict on one dataset for terminals and notes: a row of `QUESTION` for each of the `decisive` comparisons."""
    rules = (f"{one.quantity}: {one.rule}" for one in decisive(comparisons))
    return [(*row, rule) for row, rule in zip(verdict_table("", comparisons).texts(), rules, strict=True)]


def verdict_table(name: str, comparisons: Sequence[Comparison]) -> Table:
    """One row for each of the `decisive` comparisons on a dataset, with the rule as a hint."""
    rows = [
        Row(
            one.question,
            (
                Cell(decision(one)),
                cell(one.difference),
                Cell(f"{one.n:,}"),
                Cell(f"{one.trainings:,}"),
            ),
            hint=f"{one.quantity}; {one.rule}",
            strong=one.winner is not None,
        )
        for one in decisive(comparisons)
    ]
    return Table(
        f"{name}: the verdict",
        QUESTION[:-1],
        tuple(rows),
    )


def decisive(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Skill; and at the largest K, robust accuracy and each attack beside its control.

    Args:
        comparisons: Of one dataset, those of one question by rising K.
    """
    last: dict[str, Comparison] = {}
    for one in comparisons:
        question = one.topic.partition(" K=")[0]
        if question in (SKILL, ROBUST) or question.startswith(CONTROLS):
            last[question] = one
    return list(last.values())
