"""Photos in folders named after their label, with or without folders of splits above them.

``<label>/.../<photo>`` or ``<split>/<label>/.../<photo>``, as torchvision's ImageFolder and many downloads have them.
"""

from collections.abc import Iterator
from pathlib import Path

from mmer_core.confined.picture_limits import SUFFIXES
from mmer_core.datasets.formats.base import Format
from mmer_core.datasets.formats.manifest import read_listed
from mmer_core.datasets.layout import require_folder
from mmer_core.datasets.manifest_rows import Declaration, Row, checked_row
from mmer_core.datasets.manifest_splits import SPLIT_NAMES
from mmer_core.datasets.raw import RawDataset
from mmer_core.datasets.walking import walk
from mmer_core.errors import DatasetError
from mmer_core.taxonomy import SPLITS

_PHOTOS = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


class ClassFolders(Format):
    """A photo's label is the name of its folder; splits are generated where there are no folders of splits."""

    name = "class-folders"
    summary = "photos in folders named after their label, below folders of splits or not"

    def read(self, root: Path) -> RawDataset:
        """Every file is an input, but for hidden ones; one that is no photo in a folder is quarantined.

        Raises:
            DatasetError: The folder is missing, or holds no photo in a folder.
        """
        require_folder(root, "class-folders")
        files = sorted(_files(root))
        tops = {file.split("/")[0].lower() for file in files if "/" in file}
        split = bool(tops) and all(top in SPLITS or top in SPLIT_NAMES for top in tops)
        rows = [_row(file, split) for file in files]
        if not any(row.labels for row in rows):
            raise DatasetError(f"{root} holds no photo in a folder: put photos into LABEL or SPLIT/LABEL")
        return read_listed(root.name, root, rows, Declaration(multi_label=False))


def _files(root: Path) -> Iterator[str]:
    """Paths below the folder, with forward slashes."""
    for folder, below, names in walk(root):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield Path(folder, name).relative_to(root).as_posix()


def _row(file: str, split: bool) -> Row:
    *folders, name = file.split("/")
    labels = folders[1:2] if split else folders[:1]
    if not name.lower().endswith(_PHOTOS):
        return Row(file, problem="its name is not that of a photo")
    cells = [("id", file), ("image", file), ("labels", labels)]
    return checked_row(file, [*cells, ("split", folders[0])] if split and folders else cells)
