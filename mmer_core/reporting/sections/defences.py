"""What helps against pixel attacks: defended models beside the one without."""

from collections.abc import Mapping
from typing import Any, Literal

from mmer_core.base_config import Split
from mmer_core.record import Number, Part, Record
from mmer_core.reporting.comparison_table import difference_cells
from mmer_core.reporting.sections.base import Section
from mmer_core.reporting.table import Row, Table, cell
from mmer_core.reporting.view import DatasetView
from mmer_core.statistics.comparison import Comparison


class Defended(Part):
    """A defended model.

    Attributes:
        model: Its key.
        answers: Every question about it and the model without, of clean images first; the difference is its figure less
            that of the model without, on the same images.
        time: Of a query of an attack, that of the model without being 1.
    """

    defence: str
    model: str
    answers: tuple[Comparison, ...]
    time: Number


class DefencesSummary(Record):
    """Defended models of one family on one split."""

    version: Literal[1] = 1
    dataset: str
    family: str
    split: Split
    model: str
    rows: tuple[Defended, ...]


def defences_table(found: DefencesSummary) -> Table:
    """A row for each defence and figure."""
    rows = [
        Row(
            f"{one.defence}: {each.quantity}",
            (*difference_cells(each), cell(one.time, 2)),
            hint=each.question,
        )
        for one in found.rows
        for each in one.answers
    ]
    return Table(
        f"Does a defence help the {found.family} model? Defended less undefended, on the same images",
        (
            "Figure",
            "answer",
            "difference, points",
            "with, %",
            "without, %",
            "p",
            "n",
            "time of a query, without = 1",
        ),
        tuple(rows),
    )


class Defences(Section):
    """Results of `mmer robustness --defence`."""

    name = "defences"
    summary = "Defences"
    order = 55
    results = ("defences",)
    template = """\
<p>Each defended model was trained, measured and attacked as the one without, and every attack asked the defended model itself. An attack that finds less is no proof of robustness: a filter may only hide the way, and a stronger search may find it.</p>
{% for one in tables %}{{ table(one) }}{% endfor %}
"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any] | None:
        tables = [defences_table(one.summary_as(DefencesSummary)) for one in dataset.found("defences")]
        return {"tables": tables} if tables else None
