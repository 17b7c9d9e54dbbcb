"""Rows of a listing as rows of a manifest: which cell is what, how labels are joined, what cannot be a row."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from mmer_core.datasets.formats.manifest import RESERVED
from mmer_core.datasets.initial.columns import Choice
from mmer_core.datasets.initial.listing import Line, Listing
from mmer_core.datasets.initial.pictures import Pictures
from mmer_core.datasets.manifest_rows import BOX, Declaration, role_of
from mmer_core.datasets.manifest_splits import SPLIT_NAMES
from mmer_core.datasets.sample import Quarantined
from mmer_core.datasets.values import NotText, is_given, metadata_of, number_of, texts_of
from mmer_core.taxonomy import VAD, VAD_RANGE

Cells = dict[str, Any]
"""The cells of a row by their names in a manifest; ``text`` and ``labels`` are lists."""

_SEPARATORS = (";", "|", ",")
_RANGES = (
    (0.0, 1.0),
    (-1.0, 1.0),
    (1.0, 5.0),
    (1.0, 7.0),
    (1.0, 9.0),
    (1.0, 10.0),
    (0.0, 10.0),
    (0.0, 100.0),
)
"""Scales on which people rate, the narrower first."""


class Rows:
    """The rows of a listing.

    Attributes:
        columns: Names of columns by their role.
        declaration: How labels are joined, whether a sample has several, and the scale of ratings.
        cells: The cells of every row that can be read, by its place in the source.
        left_out: The other rows.
        renamed: Columns that are passed on under another name, by that of the source.
    """

    def __init__(self, listing: Listing, choices: Sequence[Choice], pictures: Pictures) -> None:
        self.columns = {choice.role: choice.columns for choice in choices}
        self.labelled = "labels" in self.columns
        self._pictures = pictures
        sound = [line for line in listing.lines if not line.problem]
        self.declaration = self._declared(sound)
        used = {name for names in self.columns.values() for name in names}
        self._kept = {name: _free_name(name) for name in listing.names if name not in used}
        self.renamed = {name: other for name, other in self._kept.items() if name != other}
        self.cells: dict[str, Cells] = {}
        self.left_out: list[Quarantined] = []
        times: Counter[str] = Counter()
        for line in listing.lines:
            if line.problem:
                self.left_out.append(left_out(line.where, "malformed_row", line.problem))
                continue
            try:
                row = dict(self._cells(line))
            except NotText as error:
                self.left_out.append(left_out(line.where, "malformed_row", f"a cell holds {error}"))
                continue
            names = self._texts(line, "image")
            if "image" not in row and (names or not (self.labelled and row["text"])):
                name = next(iter(names), "")
                place = pictures.places.find(name)
                fault = place.fault or f"image {name!r} is no picture"
                self.left_out.append(left_out(line.where, place.reason or "missing_image", fault))
                continue
            if "id" not in self.columns:
                name = row.get("image") or line.where.replace(" ", "-")
                times[name] += 1
                row["id"] = name + (f"#{times[name]}" if times[name] > 1 else "")
            self.cells[line.where] = row

    def _cells(self, line: Line) -> Iterator[tuple[str, Any]]:
        """Raises `NotText` for a value that the column's role does not allow."""
        for role in ("id", "group"):
            for text in self._texts(line, role):
                yield role, text
        for text in self._texts(line, "split"):
            yield "split", SPLIT_NAMES.get(text.strip().lower(), text.strip().lower())
        for text in self._texts(line, "image"):
            if path := self._pictures.find(text):
                yield "image", path
        yield "text", self._texts(line, "text")
        if self.labelled:
            yield "labels", self._labels(line)
        for role, names in (("ratings", VAD), ("box", BOX)):
            yield from (
                (own, line.cells[name])
                for name, own in zip(self.columns.get(role, ()), names, strict=False)
                if is_given(line.cells.get(name))
            )
        for name, own in self._kept.items():
            if is_given(line.cells.get(name)):
                yield own, metadata_of(line.cells[name])

    def _texts(self, line: Line, role: str) -> list[str]:
        found = [text for name in self.columns.get(role, ()) for text in texts_of(line.cells.get(name))]
        return [text for text in found if is_given(text)]

    def _labels(self, line: Line) -> list[str]:
        parts = self._texts(line, "labels")
        (column,) = self.columns["labels"]
        if self.declaration.multi_label and isinstance(line.cells.get(column), str):
            parts = [part.strip() for text in parts for part in text.split(self.declaration.separator)]
        return list(dict.fromkeys(filter(is_given, parts)))

    def _declared(self, lines: list[Line]) -> Declaration:
        declared: dict[str, Any] = {"multi_label": False}
        cells = [line.cells.get(name) for line in lines for name in self.columns.get("labels", ())]
        if any(isinstance(cell, list) and len(cell) > 1 for cell in cells):
            declared["multi_label"] = True
        elif separator := joined_by([cell for cell in cells if isinstance(cell, str)]):
            declared |= {"multi_label": True, "separator": separator}
        values = [
            number
            for line in lines
            for name in self.columns.get("ratings", ())
            if abs(number := number_of(line.cells.get(name))) < float("inf")
        ]
        fits = [(low, high) for low, high in _RANGES if values and low <= min(values) and max(values) <= high]
        return Declaration(**declared, rating_range=fits[0] if fits else VAD_RANGE)


def joined_by(cells: Sequence[str]) -> str:
    """What joins several labels in one cell, or ``""``: most parts of the cells that hold it are in other cells, too."""
    for separator in _SEPARATORS:
        parts = [{part.strip() for part in cell.split(separator)} - {""} for cell in set(cells)]
        times = Counter(part for one in parts for part in one)
        joined = {part for one in parts if len(one) > 1 for part in one}
        if joined and 2 * sum(times[part] > 1 for part in joined) >= len(joined):
            return separator
    return ""


def left_out(where: str, reason: str, detail: str, id_: str = "") -> Quarantined:
    """A row that is not in the manifest."""
    return Quarantined("", id_ or where, reason, f"{where}: {detail}")


def _free_name(name: str) -> str:
    """A column's name in the manifest, where it must mean nothing to mmer."""
    return name if role_of(name.strip()) == "note" and name not in RESERVED else f"source {name}"
