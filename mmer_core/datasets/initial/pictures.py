"""The pictures below a folder, found by whatever a table calls them."""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from mmer_core.confined.picture_limits import PHOTOS
from mmer_core.datasets.image_places import ImagePlaces
from mmer_core.datasets.walking import walk


def files_below(base: Path) -> Iterator[str]:
    """Paths of all files below a folder, with forward slashes, in order; but for hidden ones."""
    for folder, below, names in walk(base):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(folder, name).relative_to(base).as_posix()


class Pictures:
    """Finds pictures by their path, by the end of their path, or by their name without its suffix."""

    def __init__(self, base: Path) -> None:
        self.places = ImagePlaces(base)
        self.base = base

    @cached_property
    def paths(self) -> list[str]:
        return [name for name in files_below(self.base) if name.lower().endswith(PHOTOS)]

    def find(self, name: str) -> str:
        """The path of the only picture that may be meant, or ``""``."""
        if not name.strip():
            return ""
        if place := self.places.find(name).path:
            return place if place.lower().endswith(PHOTOS) or os.path.splitext(place)[1] else ""
        found = self._by_end.get(name.strip().replace("\\", "/").removeprefix("./"), [])
        return found[0] if len(found) == 1 else ""

    @cached_property
    def _by_end(self) -> dict[str, list[str]]:
        """Paths by each of their ends, with and without the suffix."""
        ends: dict[str, list[str]] = {}
        for path in self.paths:
            parts = path.split("/")
            for start in range(len(parts)):
                end = "/".join(parts[start:])
                for form in {end, os.path.splitext(end)[0]}:
                    ends.setdefault(form, []).append(path)
        return ends
