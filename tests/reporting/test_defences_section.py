"""Which defence helped most, in the verdict and in a sentence."""

from dataclasses import replace

import pytest
from support.report_factory import comparison, emotion_dataset, report

from mmer_core.attacks.record import CertifiedPoint, CertifiedSummary
from mmer_core.record import Interval
from mmer_core.reporting.report import to_html
from mmer_core.reporting.sections.defences import (
    Certified,
    DefencesSummary,
    Defended,
    defences_tables,
    helped_most,
    short_table,
)
from mmer_core.reporting.view import Result
from mmer_core.statistics.comparison import Comparison


def answer(topic: str, defence: str, own: float, plain: float, error: float) -> Comparison:
    found = comparison(topic, own, plain, error)
    return found.model_copy(update={"first": defence, "second": "undefended"})


def defended(defence: str, clean: float, robust: float, error: float = 2.0, kind: str = "robust") -> Defended:
    """A defence with one figure of clean images, and accuracy at two K; without it they are 60 (certified: 65), 50 and 40 %."""
    asked = (
        ("skill", clean, 60.0) if kind == "robust" else ("certified accuracy K=0", clean, 65.0),
        (f"{kind} accuracy K=1", robust + 5, 50.0),
        (f"{kind} accuracy K=5", robust, 40.0),
        ("shared success K=5", 90.0, 10.0),
    )
    answers = tuple(answer(topic, defence, own, plain, error) for topic, own, plain in asked)
    return Defended(defence=defence, model="model/1", answers=answers, time=2.0)


def summary(*rows: Defended, certified: tuple[Certified, ...] = ()) -> DefencesSummary:
    return DefencesSummary(
        dataset="drawn", family="joint", split="test", model="model/0", rows=rows, certified=certified
    )


def test_the_one_that_leaves_most_right_at_the_largest_number_of_pixels() -> None:
    found = helped_most(
        summary(defended("median", 55.0, 46.0), defended("ablation", 50.0, 52.0, kind="certified"))
    )
    assert found is not None
    assert (found.defence, found.among) == ("ablation", 2)
    assert (found.right.topic, found.right.first_value) == ("certified accuracy K=5", 52.0)
    assert (found.cost.topic, found.cost.difference.value) == ("certified accuracy K=0", -15.0)
    assert (
        "Of 2 defences ablation leaves most right: 52.0 % right with it and 40.0 % without, 12.0 points"
        in (found.sentence)
    )
    assert "on clean images certified accuracy K=0 −15.0 points" in found.sentence
    assert "no help" not in found.sentence
    row = found.row
    assert row.strong
    assert row.cells[0].text == "ablation better"


def test_choosing_among_several_is_paid_for() -> None:
    """A difference that one defence alone would show is not shown as the best of three."""
    alone = helped_most(summary(defended("median", 60.0, 44.3)))
    best = helped_most(
        summary(*(defended(name, 60.0, 40.0 + more) for name, more in (("a", 0.1), ("b", 4.3), ("c", 0.2))))
    )
    assert alone is not None
    assert best is not None
    assert alone.right.decision == "higher"
    assert alone.sentence.startswith(
        "median under attack: 44.3 % right with it and 40.0 % without, 4.3 points"
    )
    assert (best.defence, best.right.decision) == ("b", "undecided")
    assert best.right.p_adjusted == pytest.approx(3 * alone.right.p)
    assert "which shows no help" in best.sentence
    assert best.row.cells[0].text.startswith("b: undecided")


def test_where_nothing_was_attacked_nothing_is_said() -> None:
    row = defended("median", 55.0, 46.0)
    assert helped_most(summary(row.model_copy(update={"answers": row.answers[:1]}))) is None
    assert short_table(summary(row.model_copy(update={"answers": row.answers[:1]}))) is None


MEDIAN, ABLATION = defended("median", 55.0, 46.0), defended("ablation", 50.0, 52.0, kind="certified")


@pytest.mark.parametrize("rows", [(MEDIAN, ABLATION), (ABLATION, MEDIAN)])
def test_a_row_for_each_defence_has_what_it_costs_and_leaves(rows: tuple[Defended, ...]) -> None:
    """A certified one has no figure of all clean images, in whichever order."""
    table = short_table(summary(*rows))
    assert table is not None
    assert table.columns[3:5] == ("right, K = 1, %", "right, K = 5, %")
    assert [cell.text for cell in table.rows[0].cells] == ["60.0", "", "50.0", "40.0", "", "", "1.00"]
    shown = {row.head: [cell.text for cell in row.cells] for row in table.rows[1:]}
    assert shown["median"] == ["55.0", "−5.0", "51.0", "46.0", "6.0", "median better", "2.00"]
    assert shown["ablation"] == ["–", "–", "57.0", "52.0", "12.0", "ablation better", "2.00"]
    assert {row.head: row.hint.partition(" ")[0] for row in table.rows[1:]} == {
        "median": "robust",
        "ablation": "certified",
    }


def test_where_all_is_certified_their_own_figures_are_compared() -> None:
    table = short_table(summary(ABLATION))
    assert table is not None
    assert [row.cells[0].text for row in table.rows] == ["65.0", "50.0"]


def test_a_defence_that_was_asked_at_fewer_pixels_leaves_a_gap() -> None:
    some = defended("median", 55.0, 46.0)
    fewer = some.model_copy(update={"defence": "jpeg", "answers": some.answers[:2]})
    table = short_table(summary(some, fewer))
    assert table is not None
    assert [cell.text for cell in table.rows[2].cells] == ["55.0", "−5.0", "51.0", "–", "–", "–", "2.00"]


def test_the_report_says_it_in_its_verdict() -> None:
    certificate = CertifiedSummary(
        kept=2000,
        pixels=50176,
        draws=200,
        confidence=0.999,
        n=400,
        abstained=Interval(7.0, 5.0, 10.0),
        median=None,
        points=tuple(CertifiedPoint(pixels=k, accuracy=Interval(50.0 - k, 40.0, 60.0)) for k in (0, 1, 5)),
    )
    found = summary(
        defended("ablation", 50.0, 52.0, kind="certified"),
        certified=(Certified(defence="ablation", found=certificate, seconds=1.25),),
    )
    _, table, _ = defences_tables(found)
    assert table.columns[1:4] == ("right, %", "right, K = 1, %", "right, K = 5, %")
    assert [cell.text for cell in table.rows[0].cells] == [
        *("50.0", "49.0", "45.0", "under a half right", "7.0", "400", "1.25")
    ]
    results = [Result("defences", "joint", found.model_dump())]
    html = to_html(report(replace(emotion_dataset(), results=results)))
    verdict = html[html.index("emotic: the verdict") : html.index('class="answer"')]
    assert "ablation better" in verdict
    assert "certified accuracy K=5" in verdict
    assert "2,000 of 50,176 pixels kept, 200 draws" in html
    assert "ablation better" not in to_html(report(emotion_dataset()))
