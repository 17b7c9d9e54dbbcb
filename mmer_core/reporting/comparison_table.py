"""Comparisons in words and as tables."""

from collections.abc import Iterable, Sequence

from mmer_core.attacks.comparing import CONTROLS
from mmer_core.evaluation.comparing import ABLATION, CATEGORY, PROBE
from mmer_core.reporting.estimates import p_value
from mmer_core.reporting.table import Cell, Row, Table, cell
from mmer_core.statistics.comparison import Comparison


def decision(comparison: Comparison) -> str:
    """What follows, in a few words."""
    if comparison.winner:
        small = f", by less than {_margin(comparison)}" if comparison.within_margin else ""
        if comparison.topic.startswith(CONTROLS):
            return f"{'yes' if comparison.winner == comparison.first else 'no, less often'}{small}"
        if comparison.topic.startswith(PROBE):
            return f"{'yes' if comparison.winner == comparison.first else 'no, worse'}{small}"
        return f"{comparison.winner} better{small}"
    if comparison.decision == "equivalent":
        return f"no more than {_margin(comparison)} apart"
    needed = comparison.n_to_decide
    few = "more seeds are needed, not more images" if comparison.trainings > 1 else "too few to tell"
    return f"undecided; about {needed:,} would decide" if needed else f"undecided: {few}"


def comparison_table(comparisons: Sequence[Comparison], unit: str = "images") -> Table:
    """Questions about two models, but for those on single categories, on ablations and on linear probes."""
    chosen = [one for one in comparisons if not one.topic.startswith((CONTROLS, CATEGORY, ABLATION, PROBE))]
    return differences(f"Which model is better? Differences on the same {unit}", chosen)


def category_differences(comparisons: Sequence[Comparison], word: str) -> Table:
    """The same for every category."""
    chosen = [one for one in comparisons if one.topic.startswith(CATEGORY)]
    return differences(f"Every {word}, compared", chosen)


def differences(caption: str, comparisons: Iterable[Comparison]) -> Table:
    """A row for each question: the answer, the difference with its interval, and both figures."""
    chosen = list(comparisons)
    names = (chosen[0].first, chosen[0].second) if chosen else ("", "")
    rows = [Row(one.quantity, difference_cells(one), hint=one.question) for one in chosen]
    return Table(
        caption,
        ("Figure", "answer", "difference, points", *(f"{name}, %" for name in names), "p", "n"),
        tuple(rows),
    )


def difference_cells(one: Comparison) -> tuple[Cell, ...]:
    """The answer, the difference with its interval, both figures, p and the number of samples."""
    return (
        Cell(decision(one)),
        cell(one.difference),
        cell(one.first_value),
        cell(one.second_value),
        Cell(p_value(one.p_adjusted)),
        Cell(f"{one.n:,}"),
    )


def _margin(comparison: Comparison) -> str:
    return f"{comparison.margin:g} points"
