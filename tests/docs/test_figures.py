"""The tables of figures in README.md and docs are what the kept results of the benchmarks give, and say of which processor."""

import json
from pathlib import Path

import pytest

from benchmarks import figures
from benchmarks.result import finish

SOURCES = {line.result for line in figures.SUMMARY}


@pytest.mark.parametrize("page", figures.pages(), ids=lambda page: page.name)
def test_a_page_shows_what_was_measured(page):
    text = page.read_text("utf-8")
    assert text.count("<!-- figures: ") == text.count("<!-- end of figures -->") == len(figures.names(text))
    assert figures.filled(text) == text, "write it anew: python -m benchmarks.figures"


def test_every_kept_result_is_shown_and_says_where_it_is_from():
    shown = {name.split()[0] for page in figures.pages() for name in figures.names(page.read_text("utf-8"))}
    assert {"speed", "ingest", "quality"} <= shown
    kept = {path.stem for path in figures.RESULTS.glob("*.json")}
    assert kept == (shown - {"speed"}) | SOURCES
    for name in kept:
        result = figures.read(name)
        assert result.machine
        assert bool(result.commit) != bool(result.printed)
        assert result.rows or result.ratios


def test_what_a_benchmark_writes_becomes_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    monkeypatch.setattr(figures, "read", figures.read.__wrapped__)
    rows = [
        {"program": "mmer", "photos": 500, "seconds": 1.256},
        {"program": "loop", "photos": 500, "seconds": 0.5},
    ]
    finish("trial", rows, {"mmer / loop": 2.5123}, tmp_path / "trial.json")
    written = json.loads((tmp_path / "trial.json").read_text())
    page = "before\n<!-- figures: trial -->\nold\n<!-- end of figures -->\n<!-- figures: trial ratios -->\n<!-- end of figures -->\n"
    filled = figures.filled(page)
    assert figures.filled(filled) == filled
    assert filled.startswith(
        "before\n<!-- figures: trial -->\n| program | photos | seconds |\n| --- | --- | --- |\n| mmer | 500 | 1.26 |\n"
    )
    assert "| mmer / loop | 2.51 |" in filled
    assert "old" not in filled
    assert f"Machine: {written['machine']}; commit {written['commit']}." in filled


def test_a_page_that_differs_fails_the_check(tmp_path, monkeypatch):
    page = Path(tmp_path / "page.md")
    page.write_text("<!-- figures: quality -->\n| model |\n<!-- end of figures -->\n")
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    monkeypatch.setattr(figures, "pages", lambda: [page])
    with pytest.raises(SystemExit, match="1"):
        figures.main(check=True)
    assert "joint" not in page.read_text()
    figures.main()
    assert "joint" in page.read_text()
    figures.main(check=True)


def test_a_ratio_that_a_benchmark_does_not_write_any_more_is_named():
    with pytest.raises(SystemExit, match=r"quality\.json has 0 ratios named 'no such'"):
        figures._ratio(figures.read("quality"), ("no such",))
