"""What helps against pixel attacks: defended models beside the one without."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mmer_core.attacks.comparing import CERTIFIED, ROBUST, pixels_of
from mmer_core.attacks.record import CertifiedSummary
from mmer_core.base_config import Split
from mmer_core.record import Number, Part, Record
from mmer_core.reporting.comparison_table import decision, difference_cells
from mmer_core.reporting.estimates import MISSING
from mmer_core.reporting.sections.base import Section
from mmer_core.reporting.table import Cell, Row, Table, cell
from mmer_core.reporting.view import DatasetView
from mmer_core.statistics.comparison import Comparison, Rule, corrected
from mmer_core.store import ArtifactKey


class Defended(Part):
    """A defended model.

    Attributes:
        model: Its key.
        answers: Every question about it and the model without, of clean images first; the difference is its figure less
            that of the model without, on the same images.
        time: Of a query of an attack, or of a certified decision, a query of the model without being 1.
    """

    defence: str
    model: str
    answers: tuple[Comparison, ...]
    time: Number


class Certified(Part):
    """What is certified of a defended model.

    Attributes:
        seconds: Of an image, in the model.
    """

    defence: str
    found: CertifiedSummary
    seconds: Number


class DefencesSummary(Record):
    """Defended models of one family on one split."""

    version: Literal[1] = 1
    dataset: str
    family: str
    split: Split
    model: str
    rows: tuple[Defended, ...]
    certified: tuple[Certified, ...] = ()


class _Headline(NamedTuple):
    """A defence in its main figures, each less that of the model without.

    Attributes:
        clean: What is measured of clean images first.
        right: How many images attacks leave right, or are certified right, by K.
    """

    name: str
    clean: Comparison
    right: Mapping[int, Comparison]
    time: Number

    @property
    def certified(self) -> bool:
        return self.clean.topic.startswith(CERTIFIED)


def _headlines(found: DefencesSummary) -> list[_Headline]:
    """Of every defence under which attacks were compared."""
    wanted = (f"{ROBUST}accuracy ", CERTIFIED)
    made = []
    for one in found.rows:
        right = {pixels_of(each.topic): each for each in one.answers[1:] if each.topic.startswith(wanted)}
        if right:
            made.append(_Headline(one.defence, one.answers[0], right, one.time))
    return made


def short_table(found: DefencesSummary) -> Table | None:
    """A row without a defence and one for each: the main figure of clean images, and how many are right at each K.

    What is certified is compared on the attacked images alone, so such a row has no figure of all clean images, unless all
    are certified. None where no attack was compared.
    """
    headlines = _headlines(found)
    if not headlines:
        return None
    each_k = sorted({pixels for one in headlines for pixels in one.right})
    most = each_k[-1]
    without = {k: one.second_value for each in headlines for k, one in each.right.items()}
    clean = next((one.clean for one in headlines if not one.certified), headlines[0].clean)
    undefended = Row(
        "undefended",
        (
            cell(clean.second_value),
            Cell(""),
            *(cell(without[k]) for k in each_k),
            Cell(""),
            Cell(""),
            cell(1.0, 2),
        ),
        hint=f"{found.family} model {ArtifactKey.parse(found.model).digest[:8]}; clean images by {clean.quantity}",
    )
    return Table(
        f"What each defence of the {found.family} model costs, and what it leaves right under attack",
        (
            "Defence",
            "clean, %",
            "difference, points",
            *(f"right, K = {k}, %" for k in each_k),
            f"difference, K = {most}, points",
            "answer",
            "time of a query",
        ),
        (undefended, *(_short_row(one, each_k, clean.quantity) for one in headlines)),
    )


def _short_row(one: _Headline, each_k: Sequence[int], clean: str) -> Row:
    last = one.right.get(each_k[-1])
    shown = one.clean if one.clean.quantity == clean else None
    return Row(
        one.name,
        (
            cell(shown.first_value if shown else None),
            cell(shown.difference if shown else None),
            *(cell(one.right[k].first_value if k in one.right else None) for k in each_k),
            cell(last.difference if last else None),
            Cell(decision(last) if last else MISSING),
            cell(one.time, 2),
        ),
        hint="certified accuracy" if one.certified else "robust accuracy",
    )


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


def certified_table(found: DefencesSummary) -> Table:
    """A row for each defence that is certified."""
    first = found.certified[0].found
    rows = [
        Row(
            one.defence,
            (
                *(cell(point.accuracy) for point in one.found.points),
                Cell(f"{one.found.median:,}" if one.found.median is not None else "under a half right"),
                cell(one.found.abstained),
                Cell(f"{one.found.n:,}"),
                cell(one.seconds, 2),
            ),
            hint=f"{one.found.kept:,} of {one.found.pixels:,} pixels kept, {one.found.draws:,} draws",
        )
        for one in found.certified
    ]
    return Table(
        f"What is certified of the {found.family} model; a certificate holds with a chance of {first.confidence:.4g}, or more",
        (
            "Defence",
            *(f"right, K = {p.pixels}, %" if p.pixels else "right, %" for p in first.points),
            "median K",
            "abstained, %",
            "n",
            "seconds an image",
        ),
        tuple(rows),
    )


def defences_tables(found: DefencesSummary) -> tuple[Table, ...]:
    """All there is to show, the shortest last."""
    certified = certified_table(found) if found.certified else None
    return tuple(one for one in (defences_table(found), certified, short_table(found)) if one)


class Helped(NamedTuple):
    """The defence that leaves most right at the largest ``K``.

    Attributes:
        defence: Its name.
        right: What attacks leave right, or what is certified, less what attacks leave without it; decided anew, with Holm's
            correction for all defences.
        cost: Its figure of clean images less that without it.
        among: Defences.
    """

    defence: str
    right: Comparison
    cost: Comparison
    among: int

    @property
    def row(self) -> Row:
        """In the verdict."""
        answer = decision(self.right)
        return Row(
            f"Which of {self.among} defences leaves most right under attack?"
            if self.among > 1
            else self.right.question,
            (
                Cell(answer if self.right.winner == self.defence else f"{self.defence}: {answer}"),
                cell(self.right.difference),
                Cell(f"{self.right.n:,}"),
                Cell(f"{self.right.trainings:,}"),
            ),
            hint=f"{self.right.quantity}; {self.right.rule}; on clean images {self._cost}",
            strong=self.right.decision == "higher",
        )

    @property
    def sentence(self) -> str:
        """In a terminal."""
        with_, without = (cell(value).text for value in (self.right.first_value, self.right.second_value))
        shown = "" if self.right.decision == "higher" else ", which shows no help"
        said = (
            f"Of {self.among} defences {self.defence} leaves most right"
            if self.among > 1
            else f"{self.defence} under attack"
        )
        return (
            f"{said}: {with_} % right with it and {without} % without, "
            f"{_points(self.right)} ({self.right.quantity}){shown}; on clean images {self._cost}."
        )

    @property
    def _cost(self) -> str:
        return f"{self.cost.quantity} {_points(self.cost)}"


def helped_most(found: DefencesSummary) -> Helped | None:
    """The best of some defences, by accuracy under attack or certified; None where no attack was compared."""
    headlines = _headlines(found)
    if not headlines:
        return None
    decided = corrected([one.right[max(one.right)] for one in headlines], Rule())
    best = max(range(len(decided)), key=lambda place: decided[place].difference.value or -math.inf)
    one = headlines[best]
    return Helped(one.name, decided[best], one.clean, len(decided))


def verdict_on_defences(dataset: DatasetView) -> list[Row]:
    """A row for each model that was defended."""
    found = (helped_most(one.summary_as(DefencesSummary)) for one in dataset.found(Defences.name))
    return [one.row for one in found if one is not None]


def _points(one: Comparison) -> str:
    shown = cell(one.difference)
    return f"{shown.text} points" + (f" ({shown.note})" if shown.note else "")


class Defences(Section):
    """Results of `mmer robustness --defence`."""

    name = "defences"
    summary = "Defences"
    order = 55
    results = ("defences",)
    template = """\
<p>Each defended model was trained, measured and attacked as the one without, and every attack asked the defended model itself. An attack that finds less is no proof of robustness: a filter may only hide the way, and a stronger search may find it.</p>
{% if certified %}<p>A model that decides by many drawings of a few pixels each is not attacked but certified: its figures hold under any attack, known or not, that changes at most K pixels of the image that the model reads. An abstention counts as wrong.</p>
{% endif %}{% for one in defended %}{% if one.short %}{{ table(one.short) }}{% endif %}
{% if one.certified %}{{ table(one.certified) }}{% endif %}
<details><summary>Every figure of each defence</summary>{{ table(one.all, wide=true) }}</details>{% endfor %}
"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any] | None:
        found = [one.summary_as(DefencesSummary) for one in dataset.found("defences")]
        if not found:
            return None
        defended = [
            {
                "short": short_table(one),
                "certified": certified_table(one) if one.certified else None,
                "all": defences_table(one),
            }
            for one in found
        ]
        return {"defended": defended, "certified": any(one.certified for one in found)}
