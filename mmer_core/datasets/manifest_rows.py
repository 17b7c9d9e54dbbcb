"""The rows of a manifest, read from CSV, JSON Lines or Parquet into one shape, each with its place in the file."""

import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from mmer_core.base_config import Config
from mmer_core.confined.reading import read_in_child
from mmer_core.datasets.cells import CELL_LIMIT, flaws
from mmer_core.datasets.delimited import Record, read_table
from mmer_core.datasets.values import NotText, is_given, metadata_of, text_of, texts_of
from mmer_core.errors import DatasetError
from mmer_core.strict_json import parse, parse_line
from mmer_core.taxonomy import VAD, VAD_RANGE
from mmer_core.text_lines import DAMAGED, read_lines, read_text

BOX = ("x1", "y1", "x2", "y2")
_TEXTUAL = {"id", "image", "split", "group"}
_NUMBERS = {*VAD, *BOX}
_LABELS = {"label", "labels"}
_FREE = ("text", "note")
"""Roles of columns that hold free text rather than names or numbers."""
_TEXT = re.compile(r"texts?[ _]?\d*")


class Declaration(Config):
    """A manifest's settings, from its header or from a sidecar ``<manifest>.labels.json``."""

    labels: tuple[str, ...] | None = Field(None, description="The label set, in the order of the arrays.")
    multi_label: bool = Field(True, description="Whether a sample may have several labels.")
    separator: str = Field(";", min_length=1, description="Joins the labels within one cell.")
    rating_range: tuple[float, float] = Field(
        VAD_RANGE, description="Lowest and highest rating; ratings are mapped from this range to 1..10."
    )

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_are_text(cls, labels: Any) -> Any:
        return tuple(texts_of(labels)) if isinstance(labels, list) else labels

    @field_validator("labels")
    @classmethod
    def _labels_are_distinct(cls, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if labels is not None and (len(set(labels)) < len(labels) or not all(map(is_given, labels))):
            raise ValueError("labels must be distinct and not empty")
        try:
            "".join(labels or ()).encode()
        except UnicodeEncodeError:
            raise ValueError("a label holds half a surrogate pair, which is no character") from None
        return labels

    @field_validator("rating_range")
    @classmethod
    def _range_rises(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not limits[0] < limits[1]:
            raise ValueError("the lowest rating must be below the highest")
        return limits


@dataclass(frozen=True)
class Row:
    """One row; ``problem`` is set if it cannot be read at all.

    Attributes:
        where: ``"line 12"`` (counted from 1), or ``"row 12"`` of a Parquet file.
        fields: Known columns by lower-case name, without empty cells. All are text except ratings and boxes.
        texts: The texts, verbatim; a blank one is an empty caption.
        labels: One cell, which may join several labels, or the list of labels; None if not given.
        metadata: All other columns.
        damaged: Whether invalid UTF-8 became U+FFFD in a text.
    """

    where: str
    fields: dict[str, Any] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    labels: str | tuple[str, ...] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    damaged: bool = False


def read_rows(path: Path) -> tuple[list[Row], Declaration]:
    """All rows of a manifest, and its declaration.

    Raises:
        DatasetError: The file is missing, of an unknown format, without rows, without the columns ``id`` and ``image``
            (or ``labels``), or its declaration is malformed.
    """
    if not os.path.isfile(path):
        raise DatasetError(f"manifest {path} is not a file: give a {', '.join(FORMATS)} file")
    if path.suffix.lower() not in FORMATS:
        raise DatasetError(f"manifest {path} has an unknown format: give a {', '.join(FORMATS)} file")
    try:
        header, rows = FORMATS[path.suffix.lower()](path)
    except OSError as error:
        raise DatasetError(f"cannot read the manifest {path} ({error}): write it again") from None
    if not rows:
        raise DatasetError(f"manifest {path} has no rows: give one row per sample")
    found = {name for row in rows for name in row.fields}
    if any(row.labels is not None for row in rows):
        found.add("labels")
    if not has_columns(found):
        unread = next((row for row in rows if row.problem), None)
        raise _lacking(path, found) if unread is None else _unread(path, unread)
    return rows, _declaration(path, header)


def _unread(path: Path, row: Row) -> DatasetError:
    return DatasetError(f"manifest {path} has no row that can be read; {row.where}: {row.problem}")


def sidecar(path: Path) -> Path:
    """Path of the optional file next to a manifest that holds its declaration."""
    return path.with_name(f"{path.name}.labels.json")


def _declaration(path: Path, header: str) -> Declaration:
    source, text = path, header
    if os.path.isfile(sidecar(path)):
        source = sidecar(path)
        try:
            text, _ = read_text(source)
        except OSError as error:
            raise DatasetError(f"cannot read {source}: {error.strerror}; make it readable") from None
    if not text:
        return Declaration()
    try:
        content = parse(text)
        return Declaration.model_validate({"labels": content} if isinstance(content, list) else content)
    except (ValueError, ValidationError) as error:
        reason = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}"
            for fault in (error.errors() if isinstance(error, ValidationError) else ())
        )
        raise DatasetError(
            f"the declaration of labels in {source} cannot be used ({reason or error}): "
            'write JSON such as {"labels": ["calm", "tense"]}'
            + ("" if source != path else ", or leave out the line or field that holds it")
        ) from None


def _row(where: str, cells: list[tuple[str, Any]]) -> Row:
    """Sort the cells of a row by role; several text columns are several texts."""
    found = _Cells()
    problems = []
    for name, value in cells:
        try:
            found.add(name.strip(), value)
        except NotText as error:
            problems.append(f"column {name.strip()} holds {error}")
    return Row(where, found.fields, tuple(found.texts), found.labels, found.metadata, "; ".join(problems))


@dataclass
class _Cells:
    """The cells of one row, sorted by role. A faulty text cell leaves an empty text, so its column still counts."""

    fields: dict[str, Any] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    labels: str | tuple[str, ...] | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: Any) -> None:
        """Raises `NotText` for a value that the column's role does not allow."""
        if not is_given(value):
            return
        match role_of(name):
            case "text":
                self.texts += texts_of(value)
            case "labels":
                self.labels = ()
                self.labels = _labels(value)
            case "number", key:
                self.fields[key] = value
            case "name", key:
                self.fields[key] = ""
                self.fields[key] = text_of(value)
            case _:
                self.metadata[name] = metadata_of(value)


@lru_cache(maxsize=256)
def role_of(name: str) -> str | tuple[str, str]:
    """A column's role, with the lower-case name of a field; columns unknown to mmer are notes."""
    key = name.lower()
    if _TEXT.fullmatch(key):
        return "text"
    if key in _LABELS:
        return "labels"
    return ("name", key) if key in _TEXTUAL else ("number", key) if key in _NUMBERS else "note"


def _labels(value: Any) -> str | tuple[str, ...]:
    return value if isinstance(value, str) else tuple(filter(is_given, texts_of(value)))


def checked_row(
    where: str, cells: list[tuple[str, Any]], *, sound: bool = False, damaged: bool = False
) -> Row:
    """The row of these cells, or the problem that makes it unreadable as a whole.

    Args:
        sound: Whether the cells are already known to be valid texts.
        damaged: Whether invalid bytes became U+FFFD: harmless in a text or a note, but it alters a name.
    """
    problem = "" if sound else flaws(chain.from_iterable(cells))
    problem = problem or _repeat(cells)
    if damaged and not problem:
        spoilt = [
            name for name, value in cells if "\ufffd" in str(value) and role_of(name.strip()) not in _FREE
        ]
        problem = f"{spoilt[0]} holds {DAMAGED}" if spoilt else ""
    if problem:
        return Row(where, problem=problem)
    row = _row(where, cells)
    return replace(row, damaged=True) if damaged else row


def _repeat(cells: list[tuple[str, Any]]) -> str:
    """The problem of a column that appears twice with different values, or ``""``."""
    for places in _repeated(tuple(name for name, _ in cells)):
        given = [cells[place] for place in places if is_given(cells[place][1])]
        if any(value != given[0][1] for _, value in given):
            return f"two columns are {given[0][0].strip()!r}, with two values: keep one"
    return ""


@lru_cache(maxsize=64)
def _repeated(names: tuple[str, ...]) -> list[list[int]]:
    """Positions of columns with the same meaning, except texts."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if meaning := _meaning(name):
            places.setdefault(meaning, []).append(place)
    return [same for same in places.values() if len(same) > 1]


def _meaning(name: str) -> str:
    """A column's canonical name: that of mmer's field or, for a note, its own; ``""`` for texts."""
    match role_of(name.strip()):
        case "text":
            return ""
        case "labels":
            return "labels"
        case "name" | "number", key:
            return key
    return name.strip()


def has_columns(names: Collection[str]) -> bool:
    """Whether a manifest has the columns that it needs: labels may be those of texts without images."""
    return "id" in names and ("image" in names or not _LABELS.isdisjoint(names))


def _read_csv(path: Path) -> tuple[str, list[Row]]:
    text = read_lines(path)
    start = 1 if text.lines and text.lines[0].startswith("#") else 0
    declared = text.lines[0].lstrip("# ") if start else ""
    table = read_table(text, has_columns, start=start, files="image")
    if not table.usable and table.seen:
        raise _lacking(path, [name.lower() for name in table.names], table.seen)
    twice = bool(_repeated(table.names))
    return declared, [_csv_row(table.names, record, twice) for record in table.records]


def _csv_row(names: tuple[str, ...], record: Record, twice: bool) -> Row:
    where = f"line {record.line}"
    if record.problem:
        return Row(where, problem=record.problem)
    cells: list[tuple[str, Any]] = list(zip(names, record.cells, strict=True))
    if not (twice or record.damaged):
        return _row(where, cells)
    return checked_row(where, cells, sound=True, damaged=record.damaged)


def _lacking(path: Path, names: Collection[str], seen: str = "") -> DatasetError:
    missing = " and ".join(name for name in ("id", "image") if name not in names)
    named = f"; its first line must name them{seen}" if seen else ""
    return DatasetError(
        f"manifest {path} lacks {missing}: every row needs id and image, or id, labels and text{named}"
    )


def _read_json_lines(path: Path) -> tuple[str, list[Row]]:
    text = read_lines(path)
    declared, rows = "", []
    for place, line in enumerate(text.lines):
        if place == 0 and line.startswith("#"):
            declared = line.lstrip("# ")
        elif line.strip():
            rows.append(_json_row(f"line {place + 1}", line, damaged=place in text.damaged))
    return declared, rows


def _json_row(where: str, line: str, *, damaged: bool) -> Row:
    try:
        content = parse_line(line)
    except ValueError as error:
        return Row(where, problem=f"not JSON: {error}")
    if not isinstance(content, dict):
        return Row(where, problem="not a JSON object")
    # JSON escapes can encode characters that no cell may hold, and cells can be too long.
    sound = "\\u" not in line and len(line) <= CELL_LIMIT
    return checked_row(where, list(content.items()), sound=sound, damaged=damaged)


def _read_parquet(path: Path) -> tuple[str, list[Row]]:
    def refuse(reason: str) -> DatasetError:
        return DatasetError(f"{path} cannot be read as a Parquet file ({reason}): write the manifest again")

    values = read_in_child("mmer_core.confined.parquet:rows", path, refuse)
    declared, columns = next(values, ("", []))
    return declared, [
        checked_row(f"row {number}", list(zip(columns, cells, strict=True)))
        for number, cells in enumerate(values, 1)
    ]


FORMATS: dict[str, Callable[[Path], tuple[str, list[Row]]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
