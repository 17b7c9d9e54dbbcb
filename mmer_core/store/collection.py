"""Garbage collection of unused contents, concurrently with publishers and readers.

Contents are shared: at any moment a publisher may need a file that `collect` is about to delete. An object store
deletes whatever is stored under a name, some time after the request, so checking and deleting cannot be one atomic
step. No content is lost nevertheless, whatever the delays and clocks:

- A publisher stores its contents, creates the manifest, and *then* checks that all contents (still) exist. It stores
  missing ones again. Only then is the artifact published.
- A collection copies a content to the trash, under a unique name, before deleting it. After all deletions it reads the
  manifests again and copies back whatever is used.
- What a collection put into the trash stays there as long as its record, which it removes after that second check.
- Readers look into the trash for missing contents.

A deletion before a publisher's check is noticed by that check. A deletion after it also comes after the manifest, so
the second check, which is later still, finds the manifest; until then the trash holds the bytes. A killed collection
leaves its record and therefore its trash; the next one copies back what is used.

Age is not what makes this safe. It only determines what is worth deleting, and how long a publisher may pause between
storing contents and creating the manifest before a crash right afterwards could leave an artifact without its bytes.
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
"""Seconds after which a collection stops deleting; the next one continues."""

_DEAD = 7 * 24 * 3600.0
"""Seconds after which a collection with a remaining record counts as killed: none of its requests can be pending."""


@dataclass
class Tally:
    """A number of objects, and their bytes."""

    count: int = 0
    bytes: int = 0

    def add(self, sizes: Iterable[int]) -> None:
        for size in sizes:
            self.count += 1
            self.bytes += size


@dataclass
class Freed:
    """The result of a collection.

    Attributes:
        contents: Unused contents that were deleted.
        unfinished: Leftovers of killed processes: temporary files, unfinished checkouts, incomplete uploads.
        fetched: Fetched artifacts beyond the limit of the cache.
        trash: Contents that are now in the trash and will be deleted by a later collection.
        restored: Used contents that were only in the trash.
    """

    contents: Tally = field(default_factory=Tally)
    unfinished: Tally = field(default_factory=Tally)
    fetched: Tally = field(default_factory=Tally)
    trash: Tally = field(default_factory=Tally)
    restored: int = 0

    @property
    def bytes(self) -> int:
        """Bytes freed in total."""
        return self.contents.bytes + self.unfinished.bytes + self.fetched.bytes


def blob_object(sha256: str) -> str:
    """Object key of the content with this digest."""
    return f"blobs/{sha256[:2]}/{sha256}"


def trashed_copies(backend: Backend, sha256: str) -> list[str]:
    """Object keys of the copies of a content in the trash."""
    prefix = f"trash/{sha256[:2]}/"
    return [stored.key for stored in backend.list(prefix) if stored.key.startswith(f"{prefix}{sha256}.")]


def collect(backend: Backend, used: Callable[[], set[str]], older_than: float, freed: Freed) -> None:
    """Move unused contents to the trash, and delete what has been there long enough.

    Args:
        used: Reads the manifests and returns the digests of all used contents; raises if one cannot be read.
        older_than: Minimal age in seconds of contents to move, and of trash to delete.
        freed: The result, which is updated.
    """
    collection = _Collection(backend, used, older_than, freed)
    collection.sweep()
    collection.empty_trash()
    collection.free_unfinished()


class _Collection:
    """One run. Its record exists from before its first check until none of its deletions can be pending."""

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
        # The clock that dates the contents, which may differ from this machine's.
        self._now = record.modified
        self._limit = self._now - older_than

    def sweep(self) -> None:
        """Move old unused contents to the trash, check again, and move back those that are used by now."""
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
        """Delete what has been in the trash long enough and whose collection has finished."""
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
        """Remove unfinished writes of killed publishers."""
        self._freed.unfinished.add(self._backend.free_unfinished(self._limit))

    def _trash(self, sha256: str) -> bool | None:
        """Move a content to the trash; return whether the deletion is final, or None if nothing was moved."""
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
        """Whether no deletion can be pending."""
        return all(over is not False for over in outcomes)

    def _restore(self, wanted: Iterable[str]) -> None:
        """Copy missing contents back from the trash."""
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
    """Wall-clock time, and time since boot, including sleep where the system reports it."""
    return time.time(), time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _seconds_since(start: tuple[float, float]) -> float:
    """The largest elapsed time of all clocks."""
    return max(now - then for now, then in zip(_clocks(), start, strict=True))
