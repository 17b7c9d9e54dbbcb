"""The rows of a manifest, from CSV, JSON Lines or Parquet to one shape, each knowing where it stands."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError, field_validator

from mmer_core.config import Config
from mmer_core.datasets.values import NotText, Unreadable, is_given, metadata_of, text_of, texts_of
from mmer_core.errors import DatasetError
from mmer_core.taxonomy import VAD, VAD_RANGE

BOX = ("x1", "y1", "x2", "y2")
REQUIRED = ("id", "image")
PARQUET_KEY = b"mmer"
"""Key of the declaration in a Parquet file's metadata."""

_TEXTUAL = {*REQUIRED, "split", "group"}
_NUMBERS = {*VAD, *BOX}
_LABELS = {"label", "labels"}
_TEXT = re.compile(r"texts?[ _]?\d*")


class Declaration(Config):
    """What a manifest says about itself, in its header or in a sidecar ``<manifest>.labels.json``."""

    labels: tuple[str, ...] | None = Field(None, description="The label set, in the order of the arrays.")
    multi_label: bool = Field(True, description="Whether a sample may have several labels.")
    separator: str = Field(";", min_length=1, description="Stands between labels in one cell.")
    rating_range: tuple[float, float] = Field(
        VAD_RANGE, description="Lowest and highest rating; ratings are mapped from here to 1..10."
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
    """One row; ``problem`` is set where it cannot be read at all.

    Attributes:
        where: ``"line 12"`` (of a file whose first line is 1) or ``"row 12"`` of a Parquet file.
        fields: Known columns by name, in lower case; empty cells are absent. All are text but ratings and boxes.
        texts: The texts as they stand; a blank one is an empty caption.
        labels: One cell, in which several may be joined, or the labels themselves; None where nothing is said.
        metadata: All other columns.
    """

    where: str
    fields: dict[str, Any] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    labels: str | tuple[str, ...] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def read_rows(path: Path) -> tuple[list[Row], Declaration]:
    """All rows of a manifest, and its declaration.

    Raises:
        DatasetError: The file is missing, of an unknown format, without rows, without the columns ``id`` and
            ``image``, or its declaration is malformed.
    """
    if not path.is_file():
        raise DatasetError(f"manifest {path} is not a file: give a {', '.join(FORMATS)} file")
    if path.suffix.lower() not in FORMATS:
        raise DatasetError(f"manifest {path} has an unknown format: give a {', '.join(FORMATS)} file")
    try:
        header, rows = FORMATS[path.suffix.lower()](path)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"cannot read the manifest {path} ({error}): write it again") from None
    if not rows:
        raise DatasetError(f"manifest {path} has no rows: give one row a sample")
    missing = [name for name in REQUIRED if not any(name in row.fields for row in rows)]
    if missing:
        raise DatasetError(f"manifest {path} lacks {' and '.join(missing)}: every row needs id and image")
    return rows, _declaration(path, header)


def sidecar(path: Path) -> Path:
    """Where a manifest's declaration may stand beside it."""
    return path.with_name(f"{path.name}.labels.json")


def _declaration(path: Path, header: str) -> Declaration:
    source, text = path, header
    if sidecar(path).is_file():
        source, text = sidecar(path), sidecar(path).read_text(encoding="utf-8", errors="replace")
    if not text:
        return Declaration()
    try:
        content = json.loads(text)
        return Declaration.model_validate({"labels": content} if isinstance(content, list) else content)
    except (ValueError, ValidationError) as error:
        reason = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}"
            for fault in (error.errors() if isinstance(error, ValidationError) else ())
        )
        raise DatasetError(
            f"the declaration of labels in {source} cannot be used ({reason or error}): "
            'write JSON such as {"labels": ["calm", "tense"]}'
        ) from None


def _row(where: str, cells: list[tuple[str, Any]]) -> Row:
    """Sort the cells of a row by what they are; several text columns are several texts."""
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
    """The cells of one row, sorted. A faulty one leaves an empty text, so that its column counts as there."""

    fields: dict[str, Any] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    labels: str | tuple[str, ...] | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: Any) -> None:
        """Raises `NotText` for a value that cannot be what its column is."""
        if not is_given(value):
            return
        match _role(name):
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
def _role(name: str) -> str | tuple[str, str]:
    """What a column is, with its name in lower case where it is a field; a note for one that mmer does not know."""
    key = name.lower()
    if _TEXT.fullmatch(key):
        return "text"
    if key in _LABELS:
        return "labels"
    return ("name", key) if key in _TEXTUAL else ("number", key) if key in _NUMBERS else "note"


def _labels(value: Any) -> str | tuple[str, ...]:
    return value if isinstance(value, str) else tuple(filter(is_given, texts_of(value)))


def _read_csv(path: Path) -> tuple[str, list[Row]]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as handle:
        start, declared = 1, ""
        line = handle.readline()
        if line.startswith("#"):
            start, declared, line = 2, line.lstrip("# "), handle.readline()
        return declared, list(_csv_rows(line, handle, start))


def _csv_rows(first: str, handle: Iterator[str], start: int) -> Iterator[Row]:
    header = next(csv.reader([first]), [])
    reader = csv.reader(handle, strict=True)
    at = start + 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            # Quotes are out of step from here on: what follows would be read as something it is not.
            yield Row(f"line {at}", problem=f"{error}; nothing after it could be read")
            return
        if cells is None:
            return
        where, at = f"line {at}", start + 1 + reader.line_num
        if len(cells) == len(header):
            if any(cells):
                yield _row(where, list(zip(header, cells, strict=True)))
        elif cells:
            yield Row(
                where, problem=f"{len(cells)} cells under {len(header)} columns: quote those with commas"
            )


def _read_json_lines(path: Path) -> tuple[str, list[Row]]:
    declared, rows = "", []
    for number, raw in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        line = raw.decode("utf-8", errors="replace").strip()
        if number == 1 and line.startswith("#"):
            declared = line.lstrip("# ")
        elif line:
            rows.append(_json_row(f"line {number}", line))
    return declared, rows


def _json_row(where: str, line: str) -> Row:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Row(where, problem=f"not JSON: {error}")
    if not isinstance(content, dict):
        return Row(where, problem="not a JSON object")
    return _row(where, list(content.items()))


def _read_parquet(path: Path) -> tuple[str, list[Row]]:
    with pq.ParquetFile(path) as file:
        declared = (file.schema_arrow.metadata or {}).get(PARQUET_KEY, b"").decode("utf-8", errors="replace")
        names = file.schema_arrow.names
        records = (
            record
            for batch in file.iter_batches()
            for record in zip(*map(_values, batch.columns), strict=True)
        )
        return declared, [
            _row(f"row {number}", list(zip(names, record, strict=True)))
            for number, record in enumerate(records, 1)
        ]


def _values(column: pa.Array) -> list[Any]:
    """The values of a column; floats keep their width, which decides how many digits they have."""
    if column.type in (pa.float16(), pa.float32()):
        kind = column.type.to_pandas_dtype()
        return [None if value is None else kind(value) for value in column.to_pylist()]
    try:
        return column.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException):
        return list(map(_value, column))


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, pa.ArrowException):
        return Unreadable()


FORMATS: dict[str, Callable[[Path], tuple[str, list[Row]]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
