"""Fetched artifacts: local folders with verified files, kept until their room is needed."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from mmer_core.durable import make_folder
from mmer_core.errors import StoreError
from mmer_core.store.artifact import ArtifactKey
from mmer_core.store.backend import disk_errors
from mmer_core.store.folder import scan
from mmer_core.store.in_use import claim, unclaimed
from mmer_core.store.local import TEMPORARY, bytes_below, free_temporaries, remove
from mmer_core.store.manifest import FileEntry, Manifest

_whole: set[Path] = set()
"""Checkouts whose bytes this process has checked."""

_SPARED = 60.0
"""Seconds for which an artifact that was asked for is spared, so that a script can use what a command fetched."""

_SPARED_WITHOUT_LOCKS = 7 * 24 * 3600.0
"""The same where the file system has no locks, and so nobody can tell what is in use."""

_CONTENT_DIGITS = 16  # in the name of a checkout
_ATTEMPTS = 5  # to replace a damaged checkout while others do so as well
_LOOKS = 20  # how often the size is looked at while as much is fetched as there is room for
_until_look: dict[Path, float] = {}
"""Bytes that this process may fetch into a folder before it looks at the size."""


class Checkouts:
    """A folder of fetched artifacts, ``<kind>/<digest>/<content>/``, which several processes share.

    When they take more room than they may, those go first that have not been asked for the longest, and none that a
    living process uses. Hard links to a store's own files take no room.

    Args:
        limit: Bytes that fetched artifacts may take.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self._limit = limit

    def get(self, manifest: Manifest, materialise: Callable[[FileEntry, Path], None]) -> Path:
        """The folder with an artifact's files, made where it is not there or not as it should be.

        Args:
            materialise: Puts a file of the artifact to a path, verified.
        """
        # The content is part of the path: a key that was deleted and made anew elsewhere has another folder.
        name = f"{manifest.kind}/{manifest.digest}/{manifest.content[:_CONTENT_DIGITS]}"
        target = self.folder / name
        if target in _whole and _is_complete(target, manifest):
            return target
        claim(self.folder, name)
        with disk_errors(target):
            for parent in (target.parent.parent, target.parent):
                if os.path.lexists(parent) and not parent.is_dir():
                    remove(parent)
            if not _is_intact(target, manifest):
                _discard(target)
                self._make(target, manifest, materialise)
            with suppress(OSError):
                os.utime(target)
        _whole.add(target)
        return target

    def discard(self, key: ArtifactKey) -> None:
        """Remove what was fetched of an artifact."""
        shutil.rmtree(self.folder / key.kind / key.digest, ignore_errors=True)

    def free(self, older_than: float) -> tuple[list[int], list[int]]:
        """Remove what killed processes left before so many seconds, and what is beyond the limit; the bytes of each."""
        if not self.folder.is_dir():
            return [], []
        with disk_errors(self.folder):
            unfinished = free_temporaries(self.folder, _now(self.folder) - older_than, depth=2)
            return list(unfinished), list(self._shrink())

    def _make(self, target: Path, manifest: Manifest, materialise: Callable[[FileEntry, Path], None]) -> None:
        while not self._made(target, manifest, materialise):
            pass
        if size := bytes_below(target):
            _until_look[self.folder] = _until_look.get(self.folder, 0) - size
            if _until_look[self.folder] <= 0:
                _until_look[self.folder] = self._limit / _LOOKS
                list(self._shrink())

    @staticmethod
    def _made(target: Path, manifest: Manifest, materialise: Callable[[FileEntry, Path], None]) -> bool:
        """Make a checkout; False when a collection took the unfinished one for that of a killed process."""
        make_folder(target.parent)
        staging = target.with_name(TEMPORARY + uuid.uuid4().hex)
        mark, whole = staging / TEMPORARY, False
        try:
            staging.mkdir()
            mark.touch()
        except FileNotFoundError:
            return False
        try:
            for entry in manifest.files:
                materialise(entry, staging / entry.path)
            # Files that came after it was taken away are in a new folder of that name, without the mark.
            mark.unlink()
            whole = True
            _move_into_place(staging, target, manifest)
            return True
        except (OSError, StoreError):
            if (staging if whole else mark).exists():
                raise
            return False
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _shrink(self) -> Iterator[int]:
        """Remove artifacts until the rest is within the limit; the bytes of each."""
        found = sorted(self._taking_room())
        excess = sum(size for _, size, _ in found) - self._limit
        if excess <= 0:
            return
        doomed = []
        with unclaimed(self.folder) as used:
            spared = _now(self.folder) - (_SPARED_WITHOUT_LOCKS if used is None else _SPARED)
            for asked, size, name in found:
                if excess > 0 and asked < spared and name not in (used or ()):
                    doomed.append((size, _hidden(self.folder / name)))
                    excess -= size
        for size, path in doomed:
            if path is not None:
                remove(path)
                with suppress(OSError):
                    path.parent.rmdir()
                yield size

    def _taking_room(self) -> Iterator[tuple[float, int, str]]:
        """When each artifact was last asked for, the bytes that removing it frees where it does free any, its name."""
        for path in self.folder.glob(
            "[!.]*/[!.]*/" + _CONTENT_DIGITS * "[0-9a-f]"
        ):  # nothing of anybody else's
            with suppress(OSError):
                if size := bytes_below(path):
                    yield path.stat().st_mtime, size, str(path.relative_to(self.folder))


def _is_complete(folder: Path, manifest: Manifest) -> bool:
    """Whether all files are there in full size."""
    try:
        return folder.is_dir() and all(
            (folder / entry.path).stat().st_size == entry.size for entry in manifest.files
        )
    except OSError:
        return False


def _is_intact(folder: Path, manifest: Manifest) -> bool:
    """Whether exactly the artifact's files are there, with their bytes: no link, nothing of another program's."""
    try:
        return _is_complete(folder, manifest) and scan(folder, foreign=True) == tuple(
            sorted(manifest.files, key=lambda entry: entry.path)
        )
    except StoreError:
        return False


def _move_into_place(staging: Path, target: Path, manifest: Manifest) -> None:
    """Make a finished checkout visible under its name, unless another process was first."""
    for _ in range(_ATTEMPTS):
        try:
            staging.rename(target)
            return
        except OSError:
            if _is_complete(target, manifest):
                return
            _discard(target)
    staging.rename(target)


def _discard(checkout: Path) -> None:
    hidden = _hidden(checkout)
    if hidden is not None:
        remove(hidden)


def _hidden(checkout: Path) -> Path | None:
    """Take a checkout away, whole or not at all, as others may look for it or remove it as well; None if it was gone."""
    hidden = checkout.with_name(TEMPORARY + uuid.uuid4().hex)
    try:
        checkout.rename(hidden)
    except OSError:
        return None
    return hidden


def _now(folder: Path) -> float:
    """The time by the clock that dates the files of a folder, which may be another machine's."""
    trial = folder / f"{TEMPORARY}{uuid.uuid4().hex}"
    trial.touch()
    try:
        return trial.stat().st_mtime
    finally:
        trial.unlink()
