"""What is written is read back as it was; anything else is one error that names where it is stored."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmer_core.attacks.record import CurvePoint, CurvesSummary
from mmer_core.errors import StoreError
from mmer_core.evaluation.record import EvaluationRecord, EvaluationSummary, StreamFigures
from mmer_core.record import Interval
from mmer_core.store import Draft
from mmer_core.store.artifact import plain

figure = st.none() | st.floats(allow_infinity=False)
interval = st.builds(Interval, figure, figure, figure)


word = st.text(max_size=9)
record_of_an_evaluation = st.builds(
    EvaluationRecord,
    metrics=st.dictionaries(word, interval, max_size=3),
    baselines=st.dictionaries(word, figure, max_size=3),
    per_stream=st.dictionaries(
        word, st.builds(StreamFigures, map=interval, ap=st.lists(figure, max_size=3).map(tuple)), max_size=2
    ),
)


@settings(max_examples=25)
@given(record=record_of_an_evaluation)
def test_a_file_is_read_back_as_it_was_written(record: EvaluationRecord) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.json"
        record.write(path)
        assert EvaluationRecord.read(path) == record


point = st.builds(CurvePoint, success=interval, median_queries=figure)


@settings(max_examples=25)
@given(record=st.builds(CurvesSummary, curves=st.lists(point, max_size=3).map(tuple)))
def test_a_summary_is_read_back_as_it_was_returned(record: CurvesSummary) -> None:
    draft = Draft(kind="robustness", digest="0123", summary=plain(record, nan_as_null=True))
    again = Draft.model_validate_json(draft.model_dump_json())
    assert again.summary_as(CurvesSummary) == record


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"version": 2}, "version"),
        ({"version": None}, "version"),
        ({"split": "holdout"}, "split"),
        ({"map": "much"}, "map"),
    ],
)
def test_another_version_or_shape_is_an_error_that_names_the_artifact(change: dict, what: str) -> None:
    record = EvaluationSummary(split="test", family="joint", dataset="drawn", map=40.0)
    draft = Draft(kind="evaluation", digest="0123", summary=plain(record) | change)
    with pytest.raises(StoreError, match=f"evaluation/0123 is no EvaluationSummary .*{what}"):
        draft.summary_as(EvaluationSummary)


def test_what_is_no_record_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    for content in (None, "{", "[1]", json.dumps({"task": "emotion"})):
        if content is not None:
            path.write_text(content)
        with pytest.raises(StoreError, match=r"metrics\.json"):
            EvaluationRecord.read(path)
