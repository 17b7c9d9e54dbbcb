"""Resolving the image paths of a manifest to files below its folder."""

import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

_Form = Callable[[str], str]

_NAME_BYTES = 255
"""Maximal length of a file name in bytes on common file systems."""


@dataclass(frozen=True)
class Place:
    """Where an image is, or why it cannot be used.

    Attributes:
        path: Relative to the folder, with forward slashes; ``""`` if there is a fault.
        reason, fault: A short code and a sentence, both ``""`` if the file exists.
    """

    path: str
    reason: str = ""
    fault: str = ""


class ImagePlaces:
    """Finds the images of one folder; each path is looked up once.

    A path is accepted if it denotes exactly one file of the folder. It may be absolute, leave and re-enter the folder
    by ``..``, use backslashes, or use another Unicode normal form than the name on disk (macOS). It is refused if it
    leaves the folder, also through a link. Surrounding blanks are kept if the file's name has them.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self._places: dict[str, Place] = {}
        self._listings: dict[tuple[str, _Form], dict[str, list[str]]] = {}
        self._within: dict[str, bool] = {}

    def find(self, name: str) -> Place:
        """Look up an image by its path in the manifest."""
        if name not in self._places:
            self._places[name] = self._look(name)
        return self._places[name]

    def spelt(self, path: str) -> str:
        """A path below the folder as spelt on disk, if only the Unicode normal form differs."""
        return self._on_disk(path) or path

    @cached_property
    def _roots(self) -> tuple[str, str]:
        """The folder as named and as resolved; both end in a slash."""
        return os.path.join(os.path.abspath(self.base), ""), os.path.join(os.path.realpath(self.base), "")

    def _look(self, name: str) -> Place:
        if not name:
            return Place("", "no_image", "no image")
        ways = (name, name.replace("\\", "/"), name.strip(), name.strip().replace("\\", "/"))
        paths = [self._inside(way) for way in dict.fromkeys(ways)]
        inside = [path for path in paths if path is not None]
        for path in inside:
            if (found := self._on_disk(path)) is not None:
                return self._linked(name, found) or Place(found)
        if len(inside) < len(paths) or PureWindowsPath(name).drive:
            cure = "write its path below that folder"
            return Place("", "outside", f"image {name!r} lies outside the manifest's folder: {cure}")
        hint = self._hint(inside[-1]) or self._address(name)
        return Place("", "missing_image", f"image {name!r} does not exist{hint}")

    def _inside(self, name: str) -> str | None:
        """The path relative to the folder, unless its text leaves the folder."""
        path = PurePosixPath(name)
        if not path.is_absolute() and ".." not in path.parts:
            return name
        # Try the path as written and with its folder resolved: manifests often record another name of the same disk.
        folder, last = os.path.split(os.path.join(self.base, name))
        ways = [os.path.normpath(os.path.join(root, name)) for root in self._roots]
        for there in [*ways, os.path.normpath(os.path.join(os.path.realpath(folder), last))]:
            for top in self._roots:
                if there.startswith(top):
                    return there[len(top) :]
        return None

    def _on_disk(self, path: str) -> str | None:
        """The path with the names as they are on disk, if the file exists."""
        if os.path.isfile(self.base / path):
            return path
        found = ""
        for part in PurePosixPath(path).parts:
            names = (
                [part] if self._exists(found, part) else self._names(found, _normal).get(_normal(part), [])
            )
            if len(names) != 1:
                return None
            found = os.path.join(found, names[0])
        return found if os.path.isfile(self.base / found) else None

    def _linked(self, name: str, path: str) -> Place | None:
        """The fault of a path that leaves the folder through a link, if it does."""
        folder = os.path.dirname(path)
        if folder not in self._within:
            self._within[folder] = self._leads_inside(folder)
        if self._within[folder] and (not os.path.islink(self.base / path) or self._leads_inside(path)):
            return None
        parts = PurePosixPath(path).parts
        steps = ("/".join(parts[: length + 1]) for length in range(len(parts)))
        link = next((step for step in steps if not self._leads_inside(step)), path)
        return Place(
            "",
            "outside",
            f"image {name!r} lies outside the manifest's folder, because {link!r} is a link that leads out of it: "
            "put the images themselves there, or the manifest where the link leads",
        )

    def _leads_inside(self, path: str) -> bool:
        return os.path.join(os.path.realpath(self.base / path), "").startswith(self._roots[1])

    def _hint(self, path: str) -> str:
        """A possible explanation for a missing file, as the end of a sentence."""
        found = ""
        for part in PurePosixPath(path).parts:
            if len(os.fsencode(part)) > _NAME_BYTES:
                return f": a name has at most {_NAME_BYTES} bytes"
            if not self._exists(found, part):
                alike = self._names(found, _folded).get(_folded(part), [])
                spelt = os.path.join(found, alike[0]) if alike else ""
                return f", but {spelt!r} does, which differs by case only: write it so" if alike else ""
            found = os.path.join(found, part)
        return ""

    def _address(self, name: str) -> str:
        """Advice for a path written as a URL or percent-encoded, as the end of a sentence."""
        if "://" in name:
            return ": addresses are not fetched, so write its path below the manifest's folder"
        plain = self._inside(unquote(name))
        return f", but {plain!r} does: write it so" if plain and self._on_disk(plain) else ""

    def _exists(self, folder: str, name: str) -> bool:
        return os.path.lexists(self.base / folder / name)

    def _names(self, folder: str, form: _Form) -> dict[str, list[str]]:
        """The names in a folder, by their normalised or case-folded form."""
        if (folder, form) not in self._listings:
            found = self._listings[folder, form] = {}
            try:
                for name in sorted(os.listdir(self.base / folder)):
                    found.setdefault(form(name), []).append(name)
            except OSError:
                pass
        return self._listings[folder, form]


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _normal(name).casefold()
