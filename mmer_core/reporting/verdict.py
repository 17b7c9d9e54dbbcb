"""The verdict: what a report asks, and the answers, a row each."""

from collections.abc import Sequence

from mmer_core.attacks.comparing import CONTROLS, ROBUST
from mmer_core.evaluation.comparing import SKILL
from mmer_core.reporting.comparison_table import decision
from mmer_core.reporting.table import Cell, Row, Table, cell
from mmer_core.reporting.view import DatasetView
from mmer_core.statistics.comparison import Comparison


def verdict_table(dataset: DatasetView) -> Table:
    """One row for each of the `decisive` comparisons."""
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
        for one in decisive(dataset.comparisons)
    ]
    return Table(
        f"{dataset.name}: the verdict",
        ("Question", "answer", "difference, points", "n", "seeds"),
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
