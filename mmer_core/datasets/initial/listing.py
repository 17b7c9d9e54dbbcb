"""What a folder or a table lists, as rows of named cells, before any column is understood."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmer_core.confined.picture_limits import PHOTOS
from mmer_core.confined.reading import read_in_child
from mmer_core.datasets.delimited import TABLES, read_table
from mmer_core.datasets.encodings import UTF8, certain_encoding, encoding_of, named
from mmer_core.datasets.initial.pictures import Pictures, files_below
from mmer_core.datasets.manifest_splits import SPLIT_NAMES
from mmer_core.errors import DatasetError
from mmer_core.strict_json import parse_line
from mmer_core.taxonomy import SPLITS
from mmer_core.text_lines import decoded

_ORIGINS = {
    "image": "the picture",
    "text": "the .txt file beside the picture",
    "labels": "the folder of the picture",
    "split": "the folder above that of the label",
}
SUFFIXES = (*TABLES, ".txt", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Line:
    """One row: its place, its cells, and why it cannot be read, or ``""``."""

    where: str
    cells: dict[str, Any]
    problem: str = ""


@dataclass(frozen=True)
class Listing:
    """All rows of a source.

    Attributes:
        about: What was found, in a few words.
        names: The columns.
        origins: Where columns come from whose use is known already, by their name.
        encodings: Number of files by their encoding; none of a source without text.
        example: The first text that is not ASCII, as it was decoded: whoever reads it sees whether the encoding is right.
    """

    about: str
    names: tuple[str, ...]
    lines: list[Line]
    encodings: Counter[str] = field(default_factory=Counter)
    example: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)


def listed(source: Path, pictures: Pictures, encoding: str = "", image: str = "") -> Listing:
    """The rows of a folder, a CSV, a TSV, a JSON Lines or a Parquet file.

    Args:
        encoding: Of its text, instead of what is detected.
        image: The column of a table that names the picture, once it is known: helps to part rows with stray quotes.

    Raises:
        DatasetError: It is missing, unreadable, or lists nothing.
    """
    if encoding:
        encoding = named(encoding)
    if os.path.isdir(source):
        return _folder(source, pictures, encoding)
    if not os.path.isfile(source) or source.suffix.lower() not in SUFFIXES:
        raise DatasetError(
            f"{source} is neither a folder nor a {', '.join(SUFFIXES)} file: give one with pictures below it"
        )
    if source.suffix.lower() == ".parquet":
        return _parquet(source)
    content = _read(source)
    found = encoding or encoding_of(content)
    if not found:
        raise DatasetError(f"{source} is text in no encoding that is known: give --encoding")
    text = decoded(content, found)
    problem = f"it holds bytes that are no {found}"
    example = next((line.strip() for line in text.lines if not line.isascii()), "")
    start = 1 if text.lines and text.lines[0].startswith("#") else 0
    if source.suffix.lower() == ".jsonl":
        lines = [
            _json(f"line {place + 1}", line, problem if place in text.damaged else "")
            for place, line in enumerate(text.lines)
            if place >= start and line.strip()
        ]
        names = tuple(dict.fromkeys(name for line in lines for name in line.cells))
    else:
        table = read_table(text, lambda names: True, start=start, name=source.name, files=image.lower())
        names = _distinct(table.names)
        if any(name.lower().endswith(PHOTOS) for name in names):
            raise DatasetError(
                f"the first line of {source} names a picture: write a line with the names of the columns above"
            )
        lines = [
            Line(
                f"line {row.line}",
                dict(zip(names, row.cells, strict=False)),
                row.problem or (problem if row.damaged else ""),
            )
            for row in table.records
        ]
    if not lines:
        raise DatasetError(f"{source} has no rows below its header: give one row a picture")
    if all(line.problem for line in lines):
        raise DatasetError(f"no row of {source} can be read; {lines[0].where}: {lines[0].problem}")
    return Listing(f"{len(lines):,} rows", names, lines, Counter({found: 1}), example)


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the columns; a repeated one gets a number."""
    seen: Counter[str] = Counter()
    found = []
    for place, name in enumerate(names, 1):
        name = name or f"column {place}"
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return tuple(found)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}; make it readable") from None


def _json(where: str, line: str, problem: str) -> Line:
    try:
        content = parse_line(line)
    except ValueError as error:
        return Line(where, {}, f"not JSON: {error}")
    return (
        Line(where, content, problem) if isinstance(content, dict) else Line(where, {}, "not a JSON object")
    )


def _parquet(source: Path) -> Listing:
    def refuse(reason: str) -> DatasetError:
        return DatasetError(f"{source} cannot be read as a Parquet file ({reason}): write it again")

    values = read_in_child("mmer_core.confined.parquet:rows", source, refuse)
    _, names = next(values, ("", []))
    lines = [
        Line(f"row {place}", dict(zip(names, cells, strict=True))) for place, cells in enumerate(values, 1)
    ]
    return Listing(f"{len(lines):,} rows", tuple(names), lines)


def _folder(source: Path, pictures: Pictures, encoding: str) -> Listing:
    """Pictures in folders of their labels, below folders of splits or not; or beside texts of the same name."""
    if not pictures.paths:
        raise DatasetError(
            f"{source} holds no picture: give a folder with pictures, or the table that lists them"
        )
    cells: dict[str, dict[str, Any]] = {path: {"image": path} for path in pictures.paths}
    texts, encodings, example = _texts(source, pictures.paths, encoding)
    for path, text in texts.items():
        cells[path]["text"] = text
    places = _places(pictures.paths)
    for path, (split, label) in places.items():
        cells[path] |= ({"split": split} if split else {}) | ({"labels": label} if label else {})
    if not texts and not any(label for _, label in places.values()):
        tables = [
            name for name in files_below(source) if name.lower().endswith((*TABLES, ".jsonl", ".parquet"))
        ]
        cure = (
            f"mmer init {source / tables[0]}"
            if tables
            else "put the pictures into folders named after their labels"
        )
        raise DatasetError(
            f"{source} holds {len(cells)} pictures, neither in two or more folders of labels nor beside .txt files: {cure}"
        )
    names = tuple(dict.fromkeys(name for row in cells.values() for name in row))
    about = (
        f"{len(cells):,} pictures, {len(texts):,} of them beside a .txt file"
        if texts
        else f"{len(cells):,} pictures"
    )
    lines = [
        Line(path, row, "its text holds bytes of another encoding" if "\ufffd" in row.get("text", "") else "")
        for path, row in cells.items()
    ]
    origins = {name: _ORIGINS[name] for name in names}
    return Listing(about, names, lines, encodings, example, origins)


def _places(paths: list[str]) -> dict[str, tuple[str, str]]:
    """Each picture's split and label by its folders, each ``""`` if its folders say none."""
    folders = {path: path.split("/")[:-1] for path in paths}
    first, last = min(folders.values()), max(folders.values())
    depth = next(
        (at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other),
        min(len(first), len(last)),
    )
    tops = {names[depth].lower() for names in folders.values() if len(names) > depth}
    split = bool(tops) and all(top in SPLITS or top in SPLIT_NAMES for top in tops)
    labels = {
        path: next(iter(names[depth + split : depth + split + 1]), "") for path, names in folders.items()
    }
    if len({*labels.values()} - {""}) < 2:
        labels = dict.fromkeys(labels, "")
    return {
        path: (names[depth] if split and len(names) > depth else "", labels[path])
        for path, names in folders.items()
    }


def _texts(base: Path, paths: list[str], encoding: str) -> tuple[dict[str, str], Counter[str], str]:
    """The texts beside pictures by the picture's path; their encodings; one that is not ASCII.

    The encoding of files that are not UTF-8 is detected from all of them together: each alone is too short for that.
    """
    contents: dict[str, bytes] = {}
    for path in paths:
        beside = base / f"{os.path.splitext(path)[0]}.txt"
        if os.path.isfile(beside):
            contents[path] = _read(beside)
    found = {path: encoding or certain_encoding(content) for path, content in contents.items()}
    if others := [path for path, name in found.items() if not name]:
        together = encoding_of(b"\n".join(contents[path] for path in others))
        found |= {path: together or encoding_of(contents[path]) or UTF8 for path in others}
    texts = {
        path: "".join(decoded(content, found[path]).lines).rstrip("\r\n")
        for path, content in contents.items()
    }
    beyond = [path for path, text in texts.items() if not text.isascii()]
    example = texts[min(beyond, key=lambda path: found[path] == UTF8)] if beyond else ""
    return texts, Counter(found.values()), example
