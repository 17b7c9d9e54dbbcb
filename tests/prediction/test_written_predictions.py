"""Readings as CSV and JSON hold what was read, to the last digit."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from mmer_core.errors import ConfigError, MmerError
from mmer_core.prediction import PersonPrediction, PersonResult, write_predictions

READ = PersonPrediction({"Joy": 1 / 3, "Doubt/Confusion": 0.25}, ("Joy",), {"valence": 7.123456789})
PEOPLE = [
    PersonResult("a, b.jpg", (1, 2, 3, 4), 0.9, 'he said "hi"\nand left', READ),
    PersonResult("ä.jpg", error="cannot read the photo ä.jpg: truncated"),
]


def test_csv_round_trip(tmp_path: Path):
    write_predictions(PEOPLE, tmp_path / "new" / "out.csv")
    table = pd.read_csv(tmp_path / "new" / "out.csv")
    assert list(table.columns) == [
        "photo", "x1", "y1", "x2", "y2", "detected", "text", "error", "present",
        "probability Joy", "probability Doubt/Confusion", "valence",
    ]  # fmt: skip
    first, second = table.to_dict("records")
    assert (first["photo"], first["x1"], first["y2"], first["present"]) == ("a, b.jpg", 1, 4, "Joy")
    assert first["text"] == PEOPLE[0].text
    assert first["probability Joy"] == 1 / 3
    assert first["valence"] == 7.123456789
    assert second["error"] == PEOPLE[1].error
    assert math.isnan(second["probability Joy"])
    assert math.isnan(second["x1"])


def test_json_round_trip(tmp_path: Path):
    write_predictions(PEOPLE, tmp_path / "out.json")
    first, second = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert first["box"] == [1, 2, 3, 4]
    assert first["probabilities"] == READ.probabilities
    assert first["ratings"] == READ.ratings
    assert first["error"] is None
    assert second == {"photo": "ä.jpg", "box": None, "detected": None, "text": None, "error": PEOPLE[1].error}


def test_nothing_read_is_still_a_table(tmp_path: Path):
    write_predictions(PEOPLE[1:], tmp_path / "out.csv")
    assert len(pd.read_csv(tmp_path / "out.csv")) == 1


def test_other_formats_and_places_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"\.csv or \.json"):
        write_predictions(PEOPLE, tmp_path / "out.xlsx")
    (tmp_path / "file").touch()
    with pytest.raises(MmerError, match="cannot write"):
        write_predictions(PEOPLE, tmp_path / "file" / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
