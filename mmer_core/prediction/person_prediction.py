"""The prediction for one person, and its output formats."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmer_core.datasets.sample import Box
from mmer_core.errors import ConfigError, MmerError
from mmer_core.escaping import json_text
from mmer_core.escaping.tables import lines_for_people
from mmer_core.files import write_whole
from mmer_core.tabular import joined


@dataclass(frozen=True)
class PersonPrediction:
    """An emotion model's prediction for one person.

    Attributes:
        probabilities: Calibrated probability by category.
        present: Categories at or above their threshold.
        ratings: Valence, arousal and dominance in 1..10; empty if the model was trained without them.
    """

    probabilities: dict[str, float]
    present: tuple[str, ...]
    ratings: dict[str, float]

    def ranked(self) -> list[tuple[str, float, bool]]:
        """Categories by descending probability, as (name, probability, present)."""
        order = sorted(self.probabilities.items(), key=lambda item: -item[1])
        return [(name, probability, name in self.present) for name, probability in order]

    def to_dict(self) -> dict[str, Any]:
        return {"probabilities": self.probabilities, "present": self.present, "ratings": self.ratings}


@dataclass(frozen=True)
class PersonResult:
    """One person in one photo, or one text: the prediction, or the error.

    Attributes:
        photo: Name of the photo, or of the text, in the request.
        box: Box of the person in pixels; None for the whole photo.
        detected: Confidence of the detector that found the person, in 0..1.
        text: The text that was read with the photo.
        reading: The prediction; None if there is an error.
        pictured: Whether there is a photo.
    """

    photo: str
    box: Box | None = None
    detected: float | None = None
    text: str | None = None
    reading: PersonPrediction | None = None
    error: str | None = None
    pictured: bool = True

    def to_dict(self) -> dict[str, Any]:
        fields = {"photo": self.photo, "box": self.box, "detected": self.detected, "text": self.text}
        return fields | {"error": self.error} | (self.reading.to_dict() if self.reading else {})


def write_predictions(readings: Sequence[PersonResult], path: Path) -> None:
    """Write predictions as ``.csv`` or ``.json``, one row or object per person, in their order.

    The CSV has the columns ``photo, x1, y1, x2, y2, detected, text, error, present`` (names joined by ``;``; one
    that contains a ``;`` or a quote is quoted, as in a CSV), then ``probability <category>`` and the continuous
    dimensions; missing values are empty cells. It is meant for people: text that a spreadsheet would take for a formula
    is prefixed with an apostrophe. The JSON holds everything verbatim.

    Raises:
        ConfigError: The name has another suffix.
        MmerError: The file cannot be written.
    """
    check_output(path)
    write = _csv if path.suffix.lower() == ".csv" else _json
    try:
        write_whole(path, write(readings))
    except OSError as error:
        raise MmerError(f"cannot write {path} ({error.strerror}); name a file in a writable folder") from None


def check_output(path: Path) -> None:
    """Raise `ConfigError` if predictions cannot be written under this name."""
    if path.suffix.lower() not in (".csv", ".json"):
        raise ConfigError(f"{path} must end in .csv or .json, which determines the format")


def _json(readings: Sequence[PersonResult]) -> str:
    return json_text([one.to_dict() for one in readings]) + "\n"


def _csv(readings: Sequence[PersonResult]) -> str:
    return "".join(lines_for_people(*as_table(readings)))


def as_table(readings: Sequence[PersonResult]) -> tuple[list[str], list[list[object]]]:
    """The columns that `write_predictions` describes, and a row for each person, verbatim; None where nothing is known."""
    read = [one.reading for one in readings if one.reading]
    categories = dict.fromkeys(name for one in read for name in one.probabilities)
    dimensions = dict.fromkeys(name for one in read for name in one.ratings)
    head = ("photo", "x1", "y1", "x2", "y2", "detected", "text", "error", "present")
    columns = [*head, *(f"probability {name}" for name in categories), *dimensions]
    return columns, [[*_person(one), *_figures(one, categories, dimensions)] for one in readings]


def _person(one: PersonResult) -> list[object]:
    present = joined(one.reading.present) if one.reading else ""
    return [one.photo, *(one.box or (None,) * 4), one.detected, one.text, one.error, present]


def _figures(one: PersonResult, categories: Iterable[str], dimensions: Iterable[str]) -> list[object]:
    probabilities, ratings = (one.reading.probabilities, one.reading.ratings) if one.reading else ({}, {})
    return [*map(probabilities.get, categories), *map(ratings.get, dimensions)]
