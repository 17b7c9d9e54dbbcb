"""A linear probe in the report, beside the models."""

from dataclasses import replace

from support.report_factory import emotion_dataset, report, retrieval_dataset

from mmer_core.reporting.report import to_html
from mmer_core.reporting.view import Result


def probe(split: str = "test") -> Result:
    def figure(value: float) -> dict:
        return {"value": value, "low": value - 1.5, "high": value + 1.5}

    return Result(
        "probe",
        None,
        {
            "dataset": "people",
            "split": split,
            "n": 2003,
            "encoders": {"image": "grid:<b>", "text": "packaged:words"},
            "strength": 0.001,
            "tried": [
                {"strength": 0.001, "map": 27.31, "unconverged": 0},
                {"strength": 0.1, "map": None, "unconverged": 0},
            ],
            "metrics": {"accuracy": figure(61.27), "f1_macro": figure(19.83), "map": figure(26.54)},
            "baselines": {"map": 17.09, "accuracy": 44.44},
        },
    )


def section(*results: Result) -> str:
    html = to_html(report(replace(emotion_dataset(), results=results)))
    return html.partition("<h3>Linear probe</h3>")[2].partition("<h3>")[0]


def test_a_probe_stands_beside_the_models_and_chance():
    assert not section()
    html = section(probe())
    for text in ("26.5", "25.0–28.0", "19.8", "61.3", "17.1", "44.4", "C 0.001: 27.3 %; C 0.1: – %"):
        assert text in html
    assert html.index("26.5") < html.index("61.3")  # the headline comes first
    assert "separate model" in html
    assert "joint model" in html
    assert "grid:&lt;b&gt; and packaged:words" in html


def test_models_of_another_split_are_not_beside_it():
    html = section(probe("val"))
    assert "26.5" in html
    assert "joint model" not in html


def test_captioned_datasets_have_no_probe():
    assert "Linear probe" not in to_html(report(replace(retrieval_dataset(), results=[probe()])))
