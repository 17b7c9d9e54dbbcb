"""Text for people in photos that carry none: a sidecar of captions, else a template; never the labels."""

from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from mmer_core.datasets.layout import read_csv
from mmer_core.datasets.sample import Quarantined, Text
from mmer_core.datasets.values import is_given
from mmer_core.errors import DatasetError

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

Photo = tuple[str, str]
"""``(folder, filename)``: file names alone are not unique in EMOTIC."""

TEMPLATE = "template"
"""Provenance of a text that says only what the metadata say."""


def template(gender: str, age: str) -> Text:
    """A caption from gender ("Female") and age ("Adult"); "a photo of a person" when they say nothing."""
    sex = gender.lower() if gender.lower() in ("male", "female") else ""
    years = age.lower() if age.lower() in ("kid", "teenager", "adult") else ""
    return Text(f"a photo of {_NOUNS.get((years, sex), 'a person')}", TEMPLATE)


@dataclass
class Sidecar:
    """Captions by person and by photo; a person's own captions take precedence over the photo's."""

    by_person: dict[tuple[Photo, int], list[Text]] = field(default_factory=lambda: defaultdict(list))
    by_photo: dict[Photo, list[Text]] = field(default_factory=lambda: defaultdict(list))
    quarantined: list[Quarantined] = field(default_factory=list)
    rows: int = 0

    def texts(self, photo: Photo, person: int) -> tuple[Text, ...]:
        """Captions of one person (0-based), empty when the sidecar has none."""
        return tuple(self.by_person.get((photo, person)) or self.by_photo.get(photo) or ())

    def unmatched(self, photos: Container[Photo], people: Container[tuple[Photo, int]]) -> list[Quarantined]:
        """Rows about photos or people that the annotations do not know."""
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
    """Read ``folder, filename, caption[, person]``.

    Raises:
        DatasetError: The file is missing, has no rows, lacks a column, or numbers a person by no number.
    """
    sidecar = Sidecar()
    for line, row in read_csv(path, ("folder", "filename", "caption")):
        sidecar.rows += 1
        photo = (row["folder"].strip().strip("/"), row.get("filename", "").strip())
        person, caption = row.get("person", "").strip(), row.get("caption", "")
        if person and not person.isdecimal():
            raise DatasetError(
                f"{path}, line {line}: person {person!r} is not a number from 0; correct the row"
            )
        text = Text(caption, "sidecar")
        if not is_given(caption):
            detail = f"line {line} of {path.name} has no caption"
            sidecar.quarantined.append(Quarantined("", "/".join(photo), "caption_empty", detail))
        elif person:
            sidecar.by_person[photo, int(person)].append(text)
        else:
            sidecar.by_photo[photo].append(text)
    if not sidecar.rows:
        raise DatasetError(f"{path} holds no captions: give a file with rows, or none at all for templates")
    return sidecar
