"""What benchmarks write of a study: rows of its tables, figures with intervals, and files that a page can show."""

from pathlib import Path

import pytest

from benchmarks import captions, defences, figures
from benchmarks.result import interval, rows_of
from mmer_core.config import RuntimeConfig
from mmer_core.record import Interval
from mmer_core.reporting.table import Cell, Row, Table


def test_a_figure_has_the_ends_of_its_interval_where_there_are_any():
    assert interval(Interval(50.44, 48.5, 52.26)) == "50.4 (48.5 to 52.3)"
    assert interval(Interval(50.44, None, None)) == "50.4"
    assert interval(Interval(None, None, None)) == "-"


def test_the_rows_of_a_table_are_by_its_columns():
    rows = (Row("joint", (Cell("50.4", "48.5–52.3"), Cell(""))), Row("separate", (Cell("27.7"), Cell("–"))))
    assert rows_of(Table("Skill", ("", "recall", "lost"), rows)) == [
        {"what": "joint", "recall": "50.4 (48.5–52.3)", "lost": ""},
        {"what": "separate", "recall": "27.7", "lost": "–"},
    ]
    assert [*rows_of(Table("Skill", ("Family", "recall", "lost"), rows))[0]] == ["Family", "recall", "lost"]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_studies_of_defences_and_of_captions_write_what_a_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = RuntimeConfig(store=str(tmp_path / "store"), device="cpu", quiet=True)
    captions.main(quick=True, json=tmp_path / "captions.json", runtime=runtime)
    defences.main(quick=True, json=tmp_path / "defences.json", runtime=runtime)
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    monkeypatch.setattr(figures, "read", figures.read.__wrapped__)
    assert [row["family"] for row in figures.read("captions").rows] == ["separate", "joint"]
    assert {"Mean recall", "BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr-D"} <= {*figures.read("captions").rows[0]}
    shown = figures.read("defences").rows
    assert [row["Defence"] for row in shown] == ["undefended", "median", "jpeg:75", "adversarial"]
    assert {"clean, %", "right, K = 1, %", "right, K = 5, %", "answer"} <= {*shown[0]}
    (row,) = figures.read("defences-certified").rows
    assert row["n"] == "2"
    assert {"mean recall, %", "right, K = 5, %", "abstained, %"} <= {*row}
    assert "| undefended |" in figures.table("defences")
