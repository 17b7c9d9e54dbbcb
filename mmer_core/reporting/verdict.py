"""The verdict: what a report asks, and the answers, a row each."""

from collections.abc import Sequence

from mmer_core.attacks.comparing import CONTROLS, ROBUST
from mmer_core.evaluation.comparing import PROBE, SKILL
from mmer_core.reporting.comparison_table import decision
from mmer_core.reporting.table import Cell, Row, Table, cell
from mmer_core.statistics.comparison import Comparison

QUESTION = ("Question", "answer", "difference, points", "n", "seeds", "decided by")


def verdict_rows(comparisons: Sequence[Comparison]) -> list[tuple[str, ...]]:
    """The verdict on one dataset for terminals and notes: a row of `QUESTION` for each of the `decisive` comparisons."""
    rules = (f"{one.quantity}: {one.rule}" for one in decisive(comparisons))
    return [(*row, rule) for row, rule in zip(verdict_table("", comparisons).texts(), rules, strict=True)]


def verdict_table(name: str, comparisons: Sequence[Comparison], further: Sequence[Row] = ()) -> Table:
    """One row for each of the `decisive` comparisons on a dataset, with the rule as a hint, and further rows of the same columns."""
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
        (*rows, *further),
    )


def decisive(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Skill, also beside a linear probe; and at the largest K, the `robust_headlines` and each attack beside its control.

    Args:
        comparisons: Of one dataset, those of one question by rising K.
    """
    controls = _at_largest(comparisons, CONTROLS)
    return [
        *(one for one in comparisons if one.topic == SKILL or one.topic.startswith(PROBE)),
        *robust_headlines(comparisons),
        *controls.values(),
    ]


def robust_headlines(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """What attacks leave at the largest K of the metric by which the task is judged, or of recalls; of accuracy where
    exactly one label is predicted, and where nothing else was measured.

    Args:
        comparisons: As of `decisive`.
    """
    robust = _at_largest(comparisons, ROBUST)
    accuracy = f"{ROBUST}accuracy"
    if robust.keys() - {accuracy, f"{ROBUST}macro_f1"}:
        robust.pop(accuracy, None)
    return list(robust.values())


def _at_largest(comparisons: Sequence[Comparison], beginning: str) -> dict[str, Comparison]:
    """The last comparison of each question whose topic begins so."""
    return {one.topic.partition(" K=")[0]: one for one in comparisons if one.topic.startswith(beginning)}
