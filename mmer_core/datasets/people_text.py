"""Texts for people in photos without any: captions from a sidecar, otherwise a template; never the labels."""

from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from mmer_core.datasets.delimited import read_rows
from mmer_core.datasets.raw import NOT_UTF8
from mmer_core.datasets.sample import Quarantined, Text
from mmer_core.datasets.values import is_given
from mmer_core.errors import DatasetError
from mmer_core.text_lines import DAMAGED

_NOUNS = {
    ("kid", "male"): "a boy",
    ("kid", "female"): "a girl",
    ("kid", ""): "a child",
    ("teenager", "male"): "a teenage boy",
    ("teenager", "female"): "a teenage girl",
    ("teenager", ""): "a teenager",
    ("adult", "male"): "an adult man",
    ("adult", "female"): "an adult woman",
    ("adult", ""): "an adult",
    ("", "male"): "a man",
    ("", "female"): "a woman",
}

_COLUMNS = ("folder", "filename", "caption")
_EMPTY = "it has no caption"
_DIGITS = 9

Photo = tuple[str, str]
"""``(folder, filename)``: file names alone are not unique in EMOTIC."""

TEMPLATE = "template"
"""Provenance of a text that only restates the metadata."""


def template(gender: str, age: str) -> Text:
    """A caption from gender ("Female") and age ("Adult"); "a photo of a person" if neither is known."""
    sex = gender.lower() if gender.lower() in ("male", "female") else ""
    years = age.lower() if age.lower() in ("kid", "teenager", "adult") else ""
    return Text(f"a photo of {_NOUNS.get((years, sex), 'a person')}", TEMPLATE)


@dataclass
class Sidecar:
    """Captions by person and by photo; a person's own captions take precedence over the photo's."""

    by_person: dict[tuple[Photo, int], list[Text]] = field(default_factory=lambda: defaultdict(list))
    by_photo: dict[Photo, list[Text]] = field(default_factory=lambda: defaultdict(list))
    quarantined: list[Quarantined] = field(default_factory=list)
    notes: list[Quarantined] = field(default_factory=list)
    rows: int = 0

    def add(self, photo: Photo, person: str, caption: str) -> str:
        """Add a caption for a photo, or for one person by number; return its fault, or ``""``."""
        if person and not (person.isdecimal() and len(person) <= _DIGITS):
            return f"person {person!r} is not a number from 0; correct the row"
        if not is_given(caption):
            return _EMPTY
        if person:
            self.by_person[photo, int(person)].append(Text(caption, "sidecar"))
        else:
            self.by_photo[photo].append(Text(caption, "sidecar"))
        return ""

    def texts(self, photo: Photo, person: int) -> tuple[Text, ...]:
        """Captions of one person (0-based), empty when the sidecar has none."""
        return tuple(self.by_person.get((photo, person)) or self.by_photo.get(photo) or ())

    def unmatched(self, photos: Container[Photo], people: Container[tuple[Photo, int]]) -> list[Quarantined]:
        """Quarantine rows for captions whose photo or person is not in the annotations."""
        strangers = [
            (photo, f"person {person}", texts)
            for (photo, person), texts in self.by_person.items()
            if (photo, person) not in people
        ]
        strangers += [
            (photo, "photo", texts) for photo, texts in self.by_photo.items() if photo not in photos
        ]
        return [
            Quarantined(
                "", "/".join(photo), "caption_unmatched", f"no such {what} in the annotations: {text.text}"
            )
            for photo, what, texts in strangers
            for text in texts
        ]


def read_sidecar(path: Path) -> Sidecar:
    """Read ``folder, filename, caption[, person]``; an unreadable row is quarantined with its line.

    Raises:
        DatasetError: The file is missing, has no rows, or lacks a column.
    """
    sidecar = Sidecar()
    for record, row in read_rows(path, _COLUMNS, files="filename", joined_to="caption"):
        sidecar.rows += 1
        photo = (row.get("folder", "").strip().strip("/"), row.get("filename", "").strip())
        where = f"line {record.line} of {path.name}"
        problem = record.problem or sidecar.add(photo, row.get("person", "").strip(), row.get("caption", ""))
        if problem:
            reason = "caption_empty" if problem == _EMPTY else "caption_malformed"
            named = "/".join(filter(None, photo)) or where
            sidecar.quarantined.append(Quarantined("", named, reason, f"{where}: {problem}"))
        elif record.damaged:
            detail = f"{where}: U+FFFD is in place of {DAMAGED}"
            sidecar.notes.append(Quarantined("", "/".join(photo), NOT_UTF8, detail))
    if not sidecar.rows:
        raise DatasetError(f"{path} holds no captions: give a file with rows, or none at all for templates")
    return sidecar
