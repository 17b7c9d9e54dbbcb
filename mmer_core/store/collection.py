"""Freeing contents that no artifact uses, while others publish and read.

Contents are shared: any moment a publisher may come whose artifact has a file that `collect` is about to delete. An
object store can only delete whatever stands under a name, some time after it was asked to, so nothing can be checked
and deleted in one step. Nobody is lost nevertheless, whatever the pauses and the clocks:

- A publisher stores its contents, creates the manifest, and *then* looks whether all contents are (still) there. What
  is missing it stores again. Only after that has it published.
- A collection copies a content to the trash, under a name that is used once, before it deletes it. When all is deleted
  it reads the manifests again and copies back what one of them uses.
- What a collection put into the trash stays there while its record does, which it removes after that second look.
- Who reads looks into the trash for what is missing.

A deletion that comes before a publisher's look is seen by it. One that comes after that look comes after the manifest
too, so the second look, which comes later still, finds the manifest; until then the trash holds the bytes. A collection
that is killed leaves its record, and so its trash; the next one copies back what is used.

Age does not make this safe. It decides only what is worth deleting, and for how long a publisher may pause between
storing contents and creating the manifest before a crash right after that can leave an artifact without its bytes.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

from mmer_core.errors import StoreError
from mmer_core.store.backend import Backend, MissingObjectError, StoredObject, in_parallel

_BLOB = re.compile(r"blobs/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_TRASHED = re.compile(r"trash/([0-9a-f]{2})/(\1[0-9a-f]{62})\.(\d+)\.([0-9a-f]{32})")

_LONGEST = 24 * 3600.0
"""Seconds after which a collection that is still deleting stops; the next one goes on."""

_DEAD = 7 * 24 * 3600.0
"""Seconds after which a collection whose record is still there counts as killed: nothing of it can be on its way."""


@dataclass
class Tally:
    """How many things, and their bytes."""

    count: int = 0
    bytes: int = 0

    def add(self, sizes: Iterable[int]) -> None:
        for size in sizes:
            self.count += 1
            self.bytes += size


@dataclass
class Freed:
    """What a collection did.

    Attributes:
        contents: Contents that no artifact uses, which are gone.
        unfinished: What killed processes left: temporary files, half-made checkouts, uploads that were not completed.
        fetched: Fetched artifacts beyond the limit of the cache.
        trash: What is in the trash now, and goes with a later collection.
        restored: Contents that an artifact uses and that were in the trash only.
    """

    contents: Tally = field(default_factory=Tally)
    unfinished: Tally = field(default_factory=Tally)
    fetched: Tally = field(default_factory=Tally)
    trash: Tally = field(default_factory=Tally)
    restored: int = 0

    @property
    def bytes(self) -> int:
        """All that is free now."""
        return self.contents.bytes + self.unfinished.bytes + self.fetched.bytes


def blob_object(sha256: str) -> str:
    """Key of the content with a digest."""
    return f"blobs/{sha256[:2]}/{sha256}"


def trashed_copies(backend: Backend, sha256: str) -> list[str]:
    """Keys in the trash under which a content lies."""
    prefix = f"trash/{sha256[:2]}/"
    return [stored.key for stored in backend.list(prefix) if stored.key.startswith(f"{prefix}{sha256}.")]


def collect(backend: Backend, used: Callable[[], set[str]], older_than: float, freed: Freed) -> None:
    """Put contents that no artifact uses into the trash, and remove what has been there long enough.

    Args:
        used: Reads the manifests anew and says which contents they use; raises when it cannot read one.
        older_than: Seconds for which contents are spared, in their place and in the trash.
        freed: To which is added what was done.
    """
    collection = _Collection(backend, used, older_than, freed)
    collection.sweep()
    collection.empty_trash()
    collection.free_unfinished()


class _Collection:
    """One run. Its record is there from before its first look until nothing that it deletes can be on its way."""

    def __init__(
        self, backend: Backend, used: Callable[[], set[str]], older_than: float, freed: Freed
    ) -> None:
        self._backend = backend
        self._used = used
        self._freed = freed
        self._run = uuid.uuid4().hex
        self._start = _clocks()
        backend.put_bytes(self._record(self._run), b"collection\n")
        record = backend.stat(self._record(self._run))
        if record is None:
            raise StoreError(f"{backend.url} does not keep what is written there: check the store")
        # The clock that dates the contents, whatever this machine's says.
        self._now = record.modified
        self._limit = self._now - older_than

    def sweep(self) -> None:
        """Move what is old and unused to the trash, look again, and move back what is used by now."""
        begun = False
        try:
            stored = {}
            for blob in self._backend.list("blobs/"):
                if name := _BLOB.fullmatch(blob.key):
                    stored[name[2]] = blob
            used = self._used()
            self._restore(used - stored.keys())
            unused = [sha256 for sha256 in stored if sha256 not in used]
            doomed = [sha256 for sha256 in unused if stored[sha256].modified <= self._limit]
            begun = bool(doomed)
            outcomes = in_parallel(self._trash, doomed)
            moved = {sha256 for sha256, over in zip(doomed, outcomes, strict=True) if over is not None}
            if moved:
                self._restore(moved & self._used())
        except BaseException:
            if not begun:
                with suppress(StoreError):
                    self._backend.delete(self._record(self._run))
            raise
        if self._is_over(outcomes):
            self._backend.delete(self._record(self._run))

    def empty_trash(self) -> None:
        """Delete what has been in the trash long enough, and whose collection is over."""
        old: list[StoredObject] = []
        left: list[StoredObject] = []
        goes_on = cache(self._goes_on)
        for entry in list(self._backend.list("trash/")):
            if name := _TRASHED.fullmatch(entry.key):
                gone = int(name[3]) <= self._limit and not goes_on(name[4])
                (old if gone else left).append(entry)
        in_parallel(lambda entry: self._backend.delete(entry.key), old)
        self._freed.contents.add(entry.size for entry in old)
        self._freed.trash.add(entry.size for entry in left)
        runs = {entry.key.rpartition(".")[2] for entry in left}
        for record in list(self._backend.list("gc/")):
            if record.modified <= self._now - _DEAD and record.key.removeprefix("gc/") not in runs:
                self._backend.delete(record.key)

    def free_unfinished(self) -> None:
        """Remove what killed publishers left unfinished."""
        self._freed.unfinished.add(self._backend.free_unfinished(self._limit))

    def _trash(self, sha256: str) -> bool | None:
        """Move a content to the trash; whether its deletion is over, or None when it was left alone."""
        if _seconds_since(self._start) > _LONGEST:
            return None
        place = self._trashed(sha256)
        try:
            self._backend.copy(blob_object(sha256), place)
        except MissingObjectError:  # another collection was faster
            return None
        if _seconds_since(self._start) > _LONGEST:
            return None
        return self._backend.delete(blob_object(sha256))

    @staticmethod
    def _is_over(outcomes: Iterable[bool | None]) -> bool:
        """Whether none of the deletions can still be on its way."""
        return all(over is not False for over in outcomes)

    def _restore(self, wanted: Iterable[str]) -> None:
        """Copy contents from the trash back that are not in their place."""
        self._freed.restored += sum(in_parallel(self._restored, sorted(wanted)))

    def _restored(self, sha256: str) -> bool:
        if self._backend.exists(blob_object(sha256)):
            return False
        for place in trashed_copies(self._backend, sha256):
            with suppress(MissingObjectError):
                self._backend.copy(place, blob_object(sha256))
                return True
        return False

    def _goes_on(self, run: str) -> bool:
        record = self._backend.stat(self._record(run))
        return record is not None and record.modified > self._now - _DEAD

    def _trashed(self, sha256: str) -> str:
        return f"trash/{sha256[:2]}/{sha256}.{int(self._now)}.{self._run}"

    @staticmethod
    def _record(run: str) -> str:
        return f"gc/{run}"


def _clocks() -> tuple[float, float]:
    """The time of day, and the time since the machine started, in which its sleep is counted where that can be."""
    return time.time(), time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _seconds_since(start: tuple[float, float]) -> float:
    """The most that any clock says has passed."""
    return max(now - then for now, then in zip(_clocks(), start, strict=True))
