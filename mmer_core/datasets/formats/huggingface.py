"""Folders of Hugging Face's `datasets` library: what ``save_to_disk`` writes, and imagefolder with metadata.

https://huggingface.co/docs/datasets/image_dataset describes imagefolder: ``metadata.csv`` or ``metadata.jsonl`` with a
column ``file_name`` beside the pictures, in the folder itself or in one for each split. A saved dataset consists of
Arrow streams, ``state.json`` which names them, and ``dataset_info.json`` with the types of columns.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmer_core.confined.reading import read_in_child
from mmer_core.datasets.delimited import read_rows
from mmer_core.datasets.formats.base import Format
from mmer_core.datasets.formats.manifest import read_listed
from mmer_core.datasets.layout import require_folder, stays_inside
from mmer_core.datasets.manifest_rows import Declaration, Row, checked_row
from mmer_core.datasets.raw import RawDataset
from mmer_core.errors import DatasetError
from mmer_core.strict_json import parse, parse_line
from mmer_core.text_lines import read_lines, read_text

_STATE = "state.json"
_TEXTS = ("caption", "captions", "sentence", "sentences")
"""Columns that hold texts, besides those of a manifest."""
Cells = list[tuple[str, Any]]


class HuggingFace(Format):
    """A saved dataset or an imagefolder; folders of splits are called as in a manifest."""

    name = "huggingface"
    summary = "folders of Hugging Face's datasets: save_to_disk, or imagefolder with metadata.csv or .jsonl"

    def unpacked(self, root: Path, scratch: Path) -> Path:
        """The folder itself, or one with the pictures of a saved dataset."""
        require_folder(root, "huggingface")
        saved = [folder for folder in (root, *_folders(root)) if (folder / _STATE).is_file()]
        if not saved:
            self._rows = list(_image_folder(root))
            return root
        self._rows = [row for folder in saved for row in _saved(root, folder, scratch)]
        return scratch

    def read(self, root: Path) -> RawDataset:
        """A row is an input.

        Raises:
            DatasetError: The folder is neither, or a file of it cannot be read at all.
        """
        if not any(row.labels is not None or row.texts for row in self._rows):
            raise DatasetError(
                f"{root} holds no row with a text or a label: name a column text, caption or label"
            )
        return read_listed("huggingface", root, self._rows, Declaration())


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def _saved(root: Path, folder: Path, scratch: Path) -> Iterator[Row]:
    """The rows of one saved split; its pictures go to the scratch folder."""
    columns = _json(folder / "dataset_info.json").get("features")
    features = columns if isinstance(columns, dict) else {}
    files = _json(folder / _STATE).get("_data_files")
    listed = (
        [one.get("filename") for one in files if isinstance(one, dict)] if isinstance(files, list) else []
    )
    named = [name for name in listed if isinstance(name, str) and stays_inside(name)]
    if not named or len(named) < len(listed):
        raise DatasetError(f"{folder / _STATE} names no files of the folder: save the dataset again")
    place = folder.relative_to(root)
    (scratch / place).mkdir(parents=True, exist_ok=True)
    number = 0
    for name in named:
        path = folder / name

        def refuse(reason: str, path: Path = path) -> DatasetError:
            return DatasetError(
                f"{path} cannot be read as an Arrow stream ({reason}): save the dataset again"
            )

        values = read_in_child("mmer_core.confined.parquet:stream_rows", path, refuse)
        names: list[str] = next(values, [])
        for cells in values:
            picture = (place / f"{number:07d}").as_posix()
            found = [
                (column, _value(value, features.get(column)))
                for column, value in zip(names, cells, strict=True)
            ]
            yield _row(f"{picture}", _with_picture(found, scratch, picture), place.as_posix())
            number += 1


def _with_picture(cells: Cells, scratch: Path, picture: str) -> Cells:
    """The cells with the first picture as a file, and without further ones."""
    images = [value for _, value in cells if _is_picture(value)]
    rest = [(name, value) for name, value in cells if not _is_picture(value) and name.lower() != "image"]
    if not images:
        return rest
    if isinstance(images[0]["bytes"], bytes):
        try:
            (scratch / picture).write_bytes(images[0]["bytes"])
        except OSError as error:
            raise DatasetError(f"{scratch / picture} cannot be written: {error.strerror or error}") from None
        return [*rest, ("image", picture)]
    return [*rest, ("image", images[0]["path"])]


def _is_picture(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"bytes", "path"}


def _value(value: Any, feature: Any) -> Any:
    """A value with the names of classes in place of their numbers; no class is -1."""
    if not isinstance(feature, dict):
        return value
    if isinstance(value, list):
        return [_value(one, feature.get("feature")) for one in value]
    names = feature.get("names")
    if feature.get("_type") != "ClassLabel" or not isinstance(names, list) or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def _image_folder(root: Path) -> Iterator[Row]:
    found = False
    for folder in (root, *_folders(root)):
        place = "" if folder == root else folder.name
        for name, read in (("metadata.csv", _csv), ("metadata.jsonl", _json_lines)):
            if (folder / name).is_file():
                found = True
                for where, cells, problem, damaged in read(folder / name):
                    where = f"{where} of {place}/{name}" if place else f"{where} of {name}"
                    if problem:
                        yield Row(where, problem=problem)
                        continue
                    file = next((value for column, value in cells if column == "file_name"), None)
                    image = f"{place}/{file}" if place and file else file
                    rest = [(column, value) for column, value in cells if column != "file_name"]
                    yield _row(str(image or where), [*rest, ("image", image)], place, where, damaged=damaged)
    if not found:
        raise DatasetError(
            f"{root} holds neither {_STATE} nor metadata.csv or metadata.jsonl: give a folder of save_to_disk, or an "
            "imagefolder; photos in folders of labels are the format class-folders"
        )


def _csv(path: Path) -> Iterator[tuple[str, Cells, str, bool]]:
    for record, row in read_rows(path, ("file_name",), files="file_name"):
        yield f"line {record.line}", list(row.items()), record.problem, record.damaged


def _json_lines(path: Path) -> Iterator[tuple[str, Cells, str, bool]]:
    text = read_lines(path)
    for place, line in enumerate(text.lines):
        if not line.strip():
            continue
        cells: Cells = []
        problem = ""
        try:
            content = parse_line(line)
            cells = list(content.items()) if isinstance(content, dict) else []
            problem = "" if cells else "not a JSON object"
        except ValueError as error:
            problem = f"not JSON: {error}"
        yield f"line {place + 1}", cells, problem, place in text.damaged


def _row(identity: str, cells: Cells, place: str, where: str = "", *, damaged: bool = False) -> Row:
    """The row of these cells; its id is where it is, and its split the folder's unless a column says it."""
    renamed = {"id": "source_id", **dict.fromkeys(_TEXTS, "text")}
    cells = [(renamed.get(name.lower(), name), value) for name, value in cells]
    if place not in ("", ".") and not any(name.lower() == "split" for name, _ in cells):
        cells.append(("split", place))
    return checked_row(where or identity, [("id", identity), *cells], damaged=damaged)


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = parse(read_text(path)[0])
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}): save the dataset again") from None
    return content if isinstance(content, dict) else {}
