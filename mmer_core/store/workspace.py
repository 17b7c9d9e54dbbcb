"""Where an artifact is built: a folder that survives a crash, with one builder per machine at a time."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmer_core.errors import StoreError
from mmer_core.store.artifact import ArtifactKey
from mmer_core.store.backend import disk_errors
from mmer_core.store.local import bytes_below, last_written
from mmer_core.store.locks import Busy, NoLocksError, only_one
from mmer_core.store.store import Store

KEPT_SECONDS = 14 * 24 * 3600.0
"""Seconds for which unfinished work is kept: the next attempt resumes from its checkpoints."""

_NAME = re.compile(r"([A-Za-z0-9_-]+)-([0-9a-f]{32})")


@dataclass(frozen=True)
class Workspace:
    """Two folders for the builder of an artifact.

    Attributes:
        key: The artifact's.
        out: Empty at the start of every attempt; its files become the artifact.
        scratch: Kept if an attempt dies, for checkpoints from which the next attempt resumes.
        used: Values that the artifact is made with, for its manifest (`mmer_core.store.manifest.Draft`).
    """

    key: ArtifactKey
    out: Path
    scratch: Path
    used: dict[str, Any] = field(default_factory=dict)

    def use(self, values: Mapping[str, Any]) -> None:
        """Note further values that the artifact is made with."""
        self.used.update(_joined(self.used, values))


def _joined(one: Any, other: Any) -> Any:
    """Both, nested; a list where they say different things."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        both = {name: _joined(one[name], other[name]) for name in one.keys() & other.keys()}
        return {**one, **other, **both}
    if one == other:
        return one
    here, there = (value if isinstance(value, list) else [value] for value in (one, other))
    return [*here, *(value for value in there if value not in here)]


def place_of(work: Path, key: ArtifactKey) -> Path:
    """The folder in which an artifact is built."""
    return work.expanduser().absolute() / f"{key.kind}-{key.digest}"


def lock_of(place: Path) -> Path:
    """The lock file of the builder in this folder."""
    return place.with_name(f"{place.name}.lock")


def fresh_workspace(place: Path, key: ArtifactKey) -> Workspace:
    """A workspace without the unpublished output of an attempt that died."""
    workspace = Workspace(key, place / "out", place / "scratch")
    with disk_errors(place):
        if workspace.out.exists():
            shutil.rmtree(workspace.out)
        workspace.out.mkdir(parents=True)
        workspace.scratch.mkdir(exist_ok=True)
    return workspace


def free_workspaces(store: Store, work: Path, now: float) -> Iterator[int]:
    """Remove leftovers of dead builds that no attempt will need; yield the bytes of each.

    These are workspaces of artifacts that the store has by now, and those untouched for `KEPT_SECONDS`.
    """
    work = work.expanduser().absolute()
    names = {path.name.removesuffix(".lock") for path in work.iterdir()} if work.is_dir() else set()
    for name in sorted(names):
        found = _NAME.fullmatch(name)
        if found is None:
            continue
        place = work / name
        if not _is_ours(place):
            continue
        with suppress(Busy, NoLocksError, FileNotFoundError), only_one(lock_of(place), wait=False):
            if place.is_dir():
                dead = last_written(place) < now - KEPT_SECONDS
                if dead or store.has(ArtifactKey(found[1], found[2])):
                    size = bytes_below(place)
                    shutil.rmtree(place, ignore_errors=True)
                    yield size


def remove_leftover(place: Path) -> None:
    """Remove a workspace and its lock, unless a builder is at work there; what cannot be removed stays."""
    if (place.exists() or lock_of(place).exists()) and _is_ours(place):
        with suppress(Busy, StoreError, OSError), only_one(lock_of(place), wait=False):
            shutil.rmtree(place, ignore_errors=True)


def _is_ours(place: Path) -> bool:
    """Whether a folder is a workspace, or a lock's file that of one: another program's may have such names."""
    workspace = (place / "out").is_dir() or (place / "scratch").is_dir()
    return (workspace or not place.exists()) and not lock_of(place).is_dir()
