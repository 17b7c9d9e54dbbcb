"""The rows of a manifest, from CSV, JSON Lines or Parquet to one shape, each knowing where it stands."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from mmer_core.config import Config
from mmer_core.confined.reading import read_in_child
from mmer_core.datasets.layout import tidy
from mmer_core.errors import DatasetError
from mmer_core.taxonomy import VAD, VAD_RANGE

BOX = ("x1", "y1", "x2", "y2")
REQUIRED = ("id", "image")

_KNOWN = {*REQUIRED, "split", "group", *VAD, *BOX}
_TEXT = re.compile(r"texts?[ _]?\d*")


class Declaration(Config):
    """What a manifest says about itself, in its header or in a sidecar ``<manifest>.labels.json``."""

    labels: tuple[str, ...] | None = Field(None, description="The label set, in the order of the arrays.")
    multi_label: bool = Field(True, description="Whether a sample may have several labels.")
    separator: str = Field(";", min_length=1, description="Stands between labels in one cell.")
    rating_range: tuple[float, float] = Field(
        VAD_RANGE, description="Lowest and highest rating; ratings are mapped from here to 1..10."
    )

    @field_validator("labels")
    @classmethod
    def _labels_are_distinct(cls, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if labels is not None and (len(set(labels)) < len(labels) or not all(labels)):
            raise ValueError("labels must be distinct and not empty")
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
        fields: Known columns by name, in lower case; empty cells are absent.
        texts: The texts, each one line.
        labels: One cell, or a list.
        metadata: All other columns.
    """

    where: str
    fields: dict[str, Any] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    labels: Any = None
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
    except OSError as error:
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
    fields: dict[str, Any] = {}
    texts: list[str] = []
    metadata: dict[str, str] = {}
    labels = None
    for name, value in cells:
        key = name.strip().lower()
        if _empty(value):
            continue
        if _TEXT.fullmatch(key):
            texts += [tidy(str(one)) for one in (value if isinstance(value, list) else [value])]
        elif key in ("label", "labels"):
            labels = value
        elif key in _KNOWN:
            fields[key] = value
        else:
            metadata[name.strip()] = str(value)
    return Row(where, fields, tuple(texts), labels, metadata)


def _empty(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())


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
    def refuse(reason: str) -> DatasetError:
        return DatasetError(f"{path} cannot be read as a Parquet file ({reason}): write the manifest again")

    values = read_in_child("mmer_core.confined.parquet:rows", path, refuse)
    declared, columns = next(values, ("", []))
    return declared, [
        _row(f"row {number}", list(zip(columns, cells, strict=True)))
        for number, cells in enumerate(values, 1)
    ]


FORMATS: dict[str, Callable[[Path], tuple[str, list[Row]]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
