"""Shards of WebDataset: tar files in which the files of a sample follow each other under one name.

By the conventions of https://github.com/webdataset/webdataset: a sample's key is a path up to the first dot of the
file name, and what follows says what the file is: a picture (``.jpg``), a text (``.txt``), a class (``.cls``), or
fields (``.json``).
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from mmer_core.confined.picture_limits import SUFFIXES
from mmer_core.datasets.archives import extract, is_archive
from mmer_core.datasets.formats.base import Format
from mmer_core.datasets.formats.manifest import read_listed
from mmer_core.datasets.layout import folders
from mmer_core.datasets.manifest_rows import Declaration, Row, checked_row
from mmer_core.datasets.manifest_splits import SPLIT_NAMES
from mmer_core.datasets.raw import RawDataset
from mmer_core.datasets.walking import walk
from mmer_core.errors import DatasetError
from mmer_core.strict_json import parse
from mmer_core.taxonomy import SPLITS
from mmer_core.text_lines import read_text

_PHOTOS = tuple(suffix.removeprefix(".") for suffixes in SUFFIXES.values() for suffix in suffixes)
_TEXTS, _LABELS = ("txt", "caption", "text"), ("cls", "label", "labels", "class")
"""Files and fields of ``.json`` that hold the text and the labels; the first that is there."""
_META = re.compile(r"__[^/]*__(/|$)")


class WebDataset(Format):
    """A folder of shards, or one shard; the name of a shard or of its folder says its split."""

    name = "webdataset"
    summary = "tar shards with .jpg, .txt, .cls and .json"

    def unpacked(self, root: Path, scratch: Path) -> Path:
        """Every shard gets a folder of its own, since shards may repeat names."""
        for shard in _shards(root):
            place = shard.relative_to(root) if shard != root else Path(shard.name)
            extract(shard, scratch / place)
        return scratch

    def read(self, root: Path) -> RawDataset:
        """A key is an input; one with two pictures, or without one and without a text and a label, is quarantined.

        Raises:
            DatasetError: There is no sample with a text or a label.
        """
        rows = [row for shard in _unpacked_shards(root) for row in _rows(root, shard)]
        if not any(row.labels is not None or row.texts for row in rows):
            raise DatasetError(
                "the shards hold no sample with a text or a label: give pictures .txt, .cls or .json beside them"
            )
        return read_listed("WebDataset", root, rows, Declaration())


def _shards(root: Path) -> list[Path]:
    if is_archive(root):
        return [root]
    found = [path for folder in folders(root) for path in sorted(folder.glob("*")) if is_archive(path)]
    if not found:
        raise DatasetError(f"{root} holds no shard: give a folder of .tar files")
    return found


def _unpacked_shards(root: Path) -> Iterator[Path]:
    """Folders of unpacked shards below the root."""
    for folder, below, _ in walk(root):
        shards = sorted(name for name in below if name.lower().endswith((".tar", ".tar.gz", ".tgz", ".zip")))
        below[:] = sorted(set(below) - set(shards))
        yield from (Path(folder, name) for name in shards)


def _rows(root: Path, shard: Path) -> Iterator[Row]:
    files = sorted(path.relative_to(shard).as_posix() for path in shard.rglob("*") if path.is_file())
    named = shard.relative_to(root).as_posix()
    words = re.split(r"[^a-z]+", named.lower())
    split = next((word for word in words if word in SPLITS or word in SPLIT_NAMES), None)
    for key, of_key in groupby(
        sorted((_parted(file), file) for file in files if not _META.match(file)), _key
    ):
        yield _row(root, shard, f"{named}/{key}", [(kind, file) for (_, kind), file in of_key], split)


def _key(named: tuple[tuple[str, str], str]) -> str:
    return named[0][0]


def _parted(file: str) -> tuple[str, str]:
    """The key of a file, and what follows its first dot, in lower case."""
    path = PurePosixPath(file)
    stem, _, kind = path.name.partition(".")
    return (path.parent / stem).as_posix(), kind.lower()


def _row(root: Path, shard: Path, where: str, files: Sequence[tuple[str, str]], split: str | None) -> Row:
    cells: list[tuple[str, Any]] = [("id", where)]
    if split:
        cells.append(("split", split))
    photos = [file for kind, file in files if kind in _PHOTOS]
    if len(photos) > 1:
        return Row(where, problem=f"it has {len(photos)} pictures: {', '.join(photos)}")
    cells += [("image", (shard / photo).relative_to(root).as_posix()) for photo in photos]
    damaged = False
    fields: dict[str, Any] = {}
    for kind, file in sorted(files, key=lambda named: named[0] != "json"):  # files of their own go first
        if kind not in ("txt", "cls", "json"):
            continue
        try:
            text, faults = read_text(shard / file)
            found = parse(text) if kind == "json" else {kind: text if kind == "txt" else text.strip()}
        except (OSError, ValueError) as error:
            return Row(where, problem=f"{file} cannot be read: {error}")
        if not isinstance(found, dict):
            return Row(where, problem=f"{file} is no JSON object")
        damaged = damaged or bool(faults)
        fields |= {name: value for name, value in found.items() if value is not None}
    cells += [("text", fields[name]) for name in _TEXTS if name in fields][:1]
    labels = [fields[name] for name in _LABELS if name in fields][:1]
    cells += [("labels", one if isinstance(one, list) else [one]) for one in labels]
    return checked_row(where, cells, damaged=damaged)
