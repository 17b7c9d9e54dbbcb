"""The tables of figures in README.md and docs are what the kept results of the benchmarks give, and say of which processor."""

import json
import re
import sys
from pathlib import Path

import pytest
from cyclopts import App

from benchmarks import figures
from benchmarks.result import finish, run_app
from mmer_core.errors import DatasetError

SOURCES = {line.result for line in figures.SUMMARY}


@pytest.mark.parametrize("page", figures.pages(), ids=lambda page: page.name)
def test_a_page_shows_what_was_measured(page):
    text = page.read_text("utf-8")
    assert text.count("<!-- figures: ") == text.count("<!-- end of figures -->") == len(figures.names(text))
    assert figures.filled(text) == text, "write it anew: python -m benchmarks.figures"


def test_what_the_readme_says_of_speed_is_in_the_summary():
    said = " ".join((figures.ROOT / "README.md").read_text("utf-8").split())
    rows = {line.beside: line for line in figures.SUMMARY}
    for beside, sentence in (
        ("the fastest of ART", "pixel attacks ask {} times as many queries"),
        ("hnswlib", "an index of a million vectors answers {} times as fast as hnswlib"),
    ):
        (line,) = (row for name, row in rows.items() if name.startswith(beside))
        times = figures._times(figures._ratio(figures.read(line.result), line.ratios[0]))
        assert sentence.format(times) in said


def percents(cell: str) -> list[float]:
    """The numbers of ``19 % (9 to 35)``."""
    return [float(number) for number in re.findall(r"[0-9]+", cell)]


def test_what_the_page_of_attacks_says_of_its_tables_is_in_them():
    rows = {row["attack"]: row for row in figures.read("attack-success").rows}
    for column in ("K = 1", "K = 3", "K = 5", "K = 20"):  # screened, with half the queries, fools more
        assert percents(rows["screened"][column]) > percents(rows["Sparse-RS"][column])
    (found,) = (
        row["found"]
        for row in figures.read("one-pixel-truth").rows
        if (row["attack"], row["queries"]) == ("sparse-rs", 400)
    )
    assert 70 <= percents(found)[0] <= 80  # a quarter is not found
    for row in figures.read("attack-defaults").rows:
        (ours, low, _), (others, _, high) = percents(row["sparse-rs"]), percents(row["random-corners"])
        if row["queries"] == 50:
            assert low <= high
        elif row["queries"] == 400 and row["K"] > 1:
            assert ours - others >= 20
    needed = {row["what"]: row["median pixels"] for row in figures.read("sigma-zero").rows}
    assert needed["mmer, fewest"] < needed["adv-lib"]


def spread(cell: str) -> list[float]:
    """The numbers of ``−3.7 (−4.9 to −2.4)``, of which only the first may be there."""
    return [float(number.replace("−", "-")) for number in re.findall(r"[−-]?[0-9.]+", cell)]


def test_both_families_write_captions_equally_well_and_the_joint_model_matches_better():
    rows = {row["family"]: row for row in figures.read("captions").rows}
    (one, low, high), (other, least, most) = (
        spread(rows[name].pop("Mean recall")) for name in ("joint", "separate")
    )
    assert one > most
    assert low > other
    for column in {*rows["joint"]} - {"family"}:
        (_, low, high), (_, least, most) = (spread(rows[name][column]) for name in ("joint", "separate"))
        assert max(low, least) < min(high, most)


def test_the_page_of_poisoning_says_what_separate_models_reach():
    (row,) = (row for row in figures.read("quality").rows if row["model"] == "separate")
    said = " ".join((figures.ROOT / "docs" / "poisoning.md").read_text("utf-8").split())
    assert f"reach [{spread(row['mean recall'])[0]} since]" in said


def test_what_the_study_of_robustness_says_of_the_families():
    rows = {(row["figure"], row["of"]): row for row in figures.read("robustness").rows}
    families, attacks = "joint, separate", "sparse-rs, random-corners"
    assert all(
        row["answer"].startswith("joint better") for (what, _), row in rows.items() if "robust" in what
    )
    (difference, *_) = spread(rows["mean recall", families]["difference, points"])
    beaten = []
    for family in ("joint", "separate"):
        beaten.append(spread(rows[f"fooled, {family} model, K = 5", attacks]["difference, points"]))
        (fooled, _) = spread(rows[f"fooled, {family} model, K = 20", attacks]["percent"])
        assert round(fooled) == 15
    assert rows["fooled of those both had right, K = 5", families]["answer"] == "no more than 5 points apart"
    said = " ".join((figures.ROOT / "docs" / "figures.md").read_text("utf-8").split())
    assert f"by 24.8 points of mean recall, and not by {difference}" in said
    (one, low, high), (other, least, most) = beaten
    assert (
        f"beats its control by {one} points ({low} to {high}) on the joint model and by {other} ({least} to {most}) on"
        in said
    )


def test_nothing_grew_in_the_hour_of_the_page_on_operations():
    found = figures.read("soak")
    assert {row["verdict"] for row in found.rows} <= {"flat", "open"}
    assert found.ratios["minutes"] >= 59
    said = " ".join((figures.ROOT / "docs" / "operations.md").read_text("utf-8").split())
    runs, collections, answers = (
        found.ratios[name] for name in ("runs", "collections", "answered questions")
    )
    assert f"after {runs} runs, {collections} collections and {answers:,} answered questions" in said


def test_a_billion_questions_to_ten_million_vectors_take_two_days():
    (row,) = (row for row in figures.read("retrieval-growth").rows if row["vectors"] == 10**7)
    assert 36 < 10**9 / row["batch, 2 threads 1/s"] / 3600 < 60


def test_every_kept_result_is_shown_and_says_where_it_is_from():
    shown = {name.split()[0] for page in figures.pages() for name in figures.names(page.read_text("utf-8"))}
    assert {"speed", "ingest", "quality"} <= shown
    kept = {path.stem for path in figures.RESULTS.glob("*.json")}
    assert kept == (shown - {"speed"}) | SOURCES
    for name in kept:
        result = figures.read(name)
        assert result.machine
        assert result.commit
        assert result.rows or result.ratios


def test_what_a_benchmark_writes_becomes_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    monkeypatch.setattr(figures, "read", figures.read.__wrapped__)
    rows = [
        {"program": "mmer", "photos": 1500.0, "seconds": 1.256},
        {"program": "loop", "photos": 1500.0, "seconds": 0.5},
    ]
    finish("trial", rows, {"mmer / loop": 2.5123}, tmp_path / "trial.json")
    written = json.loads((tmp_path / "trial.json").read_text())
    names = ("trial", "trial | photos", "trial | program | photos", "trial ratios")
    page = "before\n" + "".join(f"<!-- figures: {name} -->\nold\n<!-- end of figures -->\n" for name in names)
    filled = figures.filled(page)
    assert figures.filled(filled) == filled
    assert filled.startswith(
        "before\n<!-- figures: trial -->\n| program | photos | seconds |\n| --- | --- | --- |\n| mmer | 1,500 | 1.26 |\n"
    )
    assert "<!-- figures: trial | photos -->\n| photos |\n| --- |\n| 1,500 |\n\n" in filled
    assert "| program | photos |\n| --- | --- |\n| mmer | 1,500 |\n| loop | 1,500 |\n\n" in filled
    assert "| mmer / loop | 2.51 |" in filled
    assert "old" not in filled
    assert f"Machine: {written['machine']}; commit {written['commit']}." in filled


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked")
@pytest.mark.parametrize(
    "wrong", [DatasetError("no/such does not exist"), FileNotFoundError(2, "gone", "figures.json")]
)
def test_a_benchmark_says_what_is_wrong_in_a_sentence(wrong, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["trial"])
    app = App(name="benchmarks.trial")

    @app.default
    def main() -> None:
        raise wrong

    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("benchmarks.trial: ")
    assert "no/such" in said or "figures.json" in said
    assert said.count("\n") == 1


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
