"""Fetched artifacts: local folders with verified files, evicted when space is needed."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mmer_core.durable import make_folder
from mmer_core.errors import StoreError
from mmer_core.store.artifact import ArtifactKey
from mmer_core.store.backend import disk_errors
from mmer_core.store.folder import scan
from mmer_core.store.in_use import claim, unclaimed
from mmer_core.store.local import TEMPORARY, bytes_below, free_temporaries, remove
from mmer_core.store.locks import NoLocksError, only_one
from mmer_core.store.manifest import FileEntry, Manifest

_FETCHING = ".fetching"

_whole: set[Path] = set()
"""Checkouts that this process has verified."""

_SPARED = 60.0
"""Seconds after its last use for which an artifact is kept, so that a script can use what a command fetched."""

_SPARED_WITHOUT_LOCKS = 7 * 24 * 3600.0
"""The same on file systems without locks, where it is unknown what is in use."""

_CONTENT_DIGITS = 16  # hex digits of the content in the name of a checkout
_ATTEMPTS = 5  # to replace a damaged checkout while other processes do the same
_LOOKS = 20  # checks of the total size while fetching as many bytes as the limit
_until_look: dict[Path, float] = {}
"""Bytes that this process may fetch into a folder between two checks of its size."""


class Checkouts:
    """A folder of fetched artifacts, ``<kind>/<digest>/<content>/``, shared by several processes.

    Over the limit, the least recently used artifacts are removed first, but none that a living process uses. Hard
    links to a store's own files take no space.

    Args:
        limit: Maximal size of all fetched artifacts in bytes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self._limit = limit

    def get(self, manifest: Manifest, materialise: Callable[[FileEntry, Path], None]) -> Path:
        """The folder with an artifact's files, created or repaired if necessary.

        Args:
            materialise: Writes a file of the artifact to a path, verified.
        """
        # The content is part of the path, so a key that was deleted and made anew elsewhere gets another folder.
        name = f"{manifest.kind}/{manifest.digest}/{manifest.content[:_CONTENT_DIGITS]}"
        target = self.folder / name
        if target in _whole and _is_complete(target, manifest):
            return target
        claim(self.folder, name)
        with disk_errors(target):
            for parent in (target.parent.parent, target.parent):
                if os.path.lexists(parent) and not parent.is_dir():
                    remove(parent)
            # One process of the machine fetches, and the others wait and find it.
            with self.alone(manifest):
                if not _is_intact(target, manifest):
                    _discard(target)
                    self._make(target, manifest, materialise)
            with suppress(OSError):
                os.utime(target)
        _whole.add(target)
        return target

    def part(self, manifest: Manifest) -> Path:
        """A folder for parts of an artifact, removed like others when space is needed and no living process uses it."""
        # As that of the whole artifact, under another name of the same form.
        content = hashlib.sha256(f"parts of {manifest.content}".encode()).hexdigest()
        name = f"{manifest.kind}/{manifest.digest}/{content[:_CONTENT_DIGITS]}"
        claim(self.folder, name)
        with disk_errors(self.folder / name):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            with suppress(OSError):
                os.utime(self.folder / name)
        return self.folder / name

    @contextmanager
    def alone(self, manifest: Manifest) -> Iterator[None]:
        """Where the file system has no locks, several may fetch the same at the same time, which does no harm."""
        with ExitStack() as stack:
            with suppress(NoLocksError):
                lock = self.folder / _FETCHING / f"{manifest.kind}-{manifest.digest}.lock"
                stack.enter_context(only_one(lock))
            yield

    def discard(self, key: ArtifactKey) -> None:
        """Remove an artifact's checkout."""
        shutil.rmtree(self.folder / key.kind / key.digest, ignore_errors=True)

    def free(self, older_than: float) -> tuple[list[int], list[int]]:
        """Remove leftovers of killed processes older than this many seconds, and what exceeds the limit; bytes of each."""
        if not self.folder.is_dir():
            return [], []
        with disk_errors(self.folder):
            unfinished = free_temporaries(self.folder, _now(self.folder) - older_than, depth=2)
            return list(unfinished), list(self._shrink())

    def _make(self, target: Path, manifest: Manifest, materialise: Callable[[FileEntry, Path], None]) -> None:
        while not self._made(target, manifest, materialise):
            pass
        self.grew(bytes_below(target))

    def grew(self, size: int) -> None:
        """So many bytes were fetched into the folder; now and then it is seen whether it exceeds the limit."""
        if not size:
            return
        _until_look[self.folder] = _until_look.get(self.folder, 0) - size
        if _until_look[self.folder] <= 0:
            _until_look[self.folder] = self._limit / _LOOKS
            list(self._shrink())

    @staticmethod
    def _made(target: Path, manifest: Manifest, materialise: Callable[[FileEntry, Path], None]) -> bool:
        """Make a checkout; False if a collection removed the unfinished one as a killed process's leftover."""
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
            # If it was removed meanwhile, later files are in a new folder of that name, which lacks the marker.
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
        """Remove artifacts until the rest is within the limit; yield the bytes of each."""
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
        """For each artifact its last use, the bytes that removing it frees (only if any), and its name."""
        # Other programs' folders are skipped.
        for path in self.folder.glob("[!.]*/[!.]*/" + _CONTENT_DIGITS * "[0-9a-f]"):
            with suppress(OSError):
                if size := bytes_below(path):
                    yield path.stat().st_mtime, size, str(path.relative_to(self.folder))


def _is_complete(folder: Path, manifest: Manifest) -> bool:
    """Whether all files exist with their full size."""
    try:
        return folder.is_dir() and all(
            (folder / entry.path).stat().st_size == entry.size for entry in manifest.files
        )
    except OSError:
        return False


def _is_intact(folder: Path, manifest: Manifest) -> bool:
    """Whether the folder holds exactly the artifact's files with the right bytes, and no links or foreign files."""
    try:
        return _is_complete(folder, manifest) and _contents(scan(folder, foreign=True)) == _contents(
            manifest.files
        )
    except StoreError:
        return False


def _contents(files: Sequence[FileEntry]) -> list[tuple[str, str]]:
    return sorted((entry.path, entry.sha256) for entry in files)


def _move_into_place(staging: Path, target: Path, manifest: Manifest) -> None:
    """Rename a finished checkout to its final name, unless another process was first."""
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
    """Rename a checkout away atomically, since other processes may use or remove it; None if it was already gone."""
    hidden = checkout.with_name(TEMPORARY + uuid.uuid4().hex)
    try:
        checkout.rename(hidden)
    except OSError:
        return None
    return hidden


def _now(folder: Path) -> float:
    """The current time by the clock of the folder's file system, which may be another machine's."""
    trial = folder / f"{TEMPORARY}{uuid.uuid4().hex}"
    trial.touch()
    try:
        return trial.stat().st_mtime
    finally:
        trial.unlink()
