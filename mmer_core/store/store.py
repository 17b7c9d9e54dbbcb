"""The artifact store: the logic shared by all backends."""

import builtins
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from urllib.parse import unquote

from mmer_core import signals
from mmer_core.errors import ArtifactConflict, ArtifactCorrupt, ArtifactNotFound, StoreError
from mmer_core.store.absence import ANYTHING, missing
from mmer_core.store.artifact import ArtifactKey, checked_segment
from mmer_core.store.backend import Backend, MissingObjectError, StoredObject, in_parallel
from mmer_core.store.checkouts import Checkouts
from mmer_core.store.collection import Freed, blob_object, collect, trashed_copies
from mmer_core.store.folder import scan
from mmer_core.store.manifest import CURE, Draft, FileEntry, Manifest, UnknownLayout
from mmer_core.store.parts import Parts
from mmer_core.usage import Meter, leg

T = TypeVar("T")

_READERS = 8  # manifests read in parallel when listing
_LOOKS = 3  # attempts to find a content that collections may be moving
_CLOCK_STEP = 1.0  # seconds by which a server may round down the time of an object

CACHE_BYTES = 20_000_000_000
"""Default limit for fetched artifacts, in bytes."""


@dataclass(frozen=True)
class Damaged:
    """An artifact with an unreadable manifest (damaged, or from a newer mmer), and the reason."""

    key: ArtifactKey
    error: ArtifactCorrupt | UnknownLayout


class Store:
    """Immutable artifacts by key, on local disk or S3.

    File contents are stored at ``blobs/<first 2 hex of the SHA-256>/<SHA-256>``. An artifact exists as soon as
    ``artifacts/<kind>/<digest>/manifest.json`` does, which is created last and only once.

    Args:
        backend: Stores the bytes.
        cache: Folder for fetched artifacts, unless the backend has a better one of its own.
        cache_bytes: Maximal size of that cache; beyond it, the least recently used artifacts not in use are removed.
    """

    def __init__(self, backend: Backend, cache: Path, cache_bytes: int = CACHE_BYTES) -> None:
        self._backend = backend
        self._checkouts = Checkouts(backend.checkouts(cache.expanduser().absolute()), cache_bytes)

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    @property
    def url(self) -> str:
        """URL for `open_store` to open this store."""
        return self._backend.url

    @property
    def place(self) -> str:
        """A location that can be shared: the URL, or only the last component of a local path."""
        scheme, _, path = self.url.partition("://")
        return f"…/{unquote(path).rpartition('/')[2]}" if scheme == "file" else self.url

    def ensure_writable(self) -> None:
        """Raise `StoreError` now, rather than after hours of work, if publishing cannot succeed."""
        self._backend.ensure_writable()

    def has(self, key: ArtifactKey) -> bool:
        """Whether the artifact exists; its bytes are not checked."""
        return self._backend.exists(_manifest_object(key))

    def publish(
        self, folder: Path, draft: Draft, *, adopt: bool = False, meter: Meter | None = None
    ) -> Manifest:
        """Store all files below a folder as one artifact; empty subfolders are not kept, nor what
        desktops and file systems put there.

        Publishing the same content again, even concurrently, is not an error: the first manifest is returned, and
        missing contents are stored again.

        Args:
            adopt: The caller no longer writes to the files: a store on the same file system takes them over, read-only,
                instead of copying them.
            meter: Measures the cost of making; its usage once all files are stored becomes part of the manifest.

        Raises:
            ArtifactConflict: Other files already exist under this key.
            StoreError: The folder has a symbolic link or an unsafe file name, or the store is not writable.
        """
        key = draft.key
        files = scan(folder)
        self.ensure_writable()
        published = self._same(Manifest.of(draft, files)) if self.has(key) else None
        if published is None:
            self._store(folder, files, adopt=adopt)
            published = self._created(Manifest.of(draft, files, meter.usage() if meter else None))
        # Only now is every collection (`gc`) sure to see the manifest before it ends: contents that one has deleted so
        # far are missing here, and contents that one deletes later it restores.
        self._complete(folder, files, adopt=adopt)
        return published

    def manifest(self, key: ArtifactKey) -> Manifest:
        """Read an artifact's manifest.

        Raises:
            ArtifactNotFound: There is no such artifact.
            ArtifactCorrupt: The manifest is damaged.
        """
        for attempt in range(1, self._backend.read_attempts + 1):
            try:
                return Manifest.from_bytes(self._backend.read_bytes(_manifest_object(key)), key)
            except MissingObjectError:
                break
            except ArtifactCorrupt:
                if attempt == self._backend.read_attempts:
                    raise
        raise ArtifactNotFound(
            f"{self.url} has no artifact {key}: run the stage that makes it, or list what is there"
        )

    def fetch(self, key: ArtifactKey) -> Path:
        """A local folder with the artifact's files. Treat it as read-only.

        Each file is checked against its SHA-256 when it is fetched, and again by every process that first asks for the
        folder: disks decay, and results made from a damaged file would be published as valid.

        Raises:
            ArtifactNotFound: There is no such artifact.
            ArtifactCorrupt: A stored file is damaged or missing.
        """
        with leg("read"):
            return self._checkouts.get(self.manifest(key), partial(self._materialise, key))

    def parts(self, key: ArtifactKey) -> Parts:
        """The artifact's files, fetched one by one, and piece by piece, when they are asked for.

        Raises:
            ArtifactNotFound: There is no such artifact.
        """
        manifest = self.manifest(key)
        return Parts(
            manifest,
            place=self._checkouts.part(manifest),
            alone=partial(self._checkouts.alone, manifest),
            materialise=partial(self._materialise, key),
            read_range=self._read_range,
            whole=partial(self.fetch, key),
            stored=lambda sha256: self._backend.path(blob_object(sha256)),
            attempts=self._backend.read_attempts,
            grew=self._checkouts.grew,
        )

    def _read_range(self, sha256: str, start: int, stop: int) -> bytes:
        with leg("read"):
            found = self._wherever(sha256, lambda stored: self._backend.read_range(stored, start, stop))
        self._count(signals.STORE_READ, len(found))
        return found

    def read(self, manifest: Manifest, path: str) -> bytes:
        """One file of an artifact, checked against its SHA-256; the others are not fetched.

        Raises:
            ArtifactCorrupt: The stored file is damaged, or the artifact lacks it.
        """
        entry = next((one for one in manifest.files if one.path == path), None)
        if entry is None:
            raise ArtifactCorrupt(f"{manifest.key} has no {path}: {CURE}")
        with leg("read"), TemporaryDirectory(prefix="mmer-") as folder:
            target = Path(folder) / "file"
            self._materialise(manifest.key, entry, target)
            return target.read_bytes()

    def keys(self, kind: str | None = None) -> Iterator[ArtifactKey]:
        """Keys of all artifacts, or of one kind, sorted."""
        return (key for key, _ in self._manifest_objects(kind))

    def list(self, kind: str | None = None) -> Iterator[Manifest]:
        """Manifests of all artifacts, or of one kind, in the order of their keys.

        ``created`` is capped at the time at which the store received the manifest, so a fast clock makes nothing the
        newest.

        Raises:
            ArtifactCorrupt: A manifest is damaged.
        """
        for found in self.survey(kind):
            if isinstance(found, Damaged):
                raise found.error
            yield found

    def survey(self, kind: str | None = None) -> Iterator[Manifest | Damaged]:
        """The same as `list`, but yields damaged artifacts as `Damaged`."""
        objects = self._manifest_objects(kind)
        with ThreadPoolExecutor(_READERS) as pool:
            while batch := list(islice(objects, 64)):
                yield from filter(None, pool.map(lambda found: self._surveyed(*found), batch))

    def _manifest_objects(self, kind: str | None) -> Iterator[tuple[ArtifactKey, StoredObject]]:
        prefix = "artifacts/" if kind is None else f"artifacts/{checked_segment(kind, 'kind of artifact')}/"
        for stored in self._backend.list(prefix):
            parts = stored.key.split("/")
            if len(parts) == 4 and parts[3] == "manifest.json":
                with suppress(StoreError):  # not an artifact's name, so not written by mmer
                    yield ArtifactKey(parts[1], parts[2]), stored

    def _surveyed(self, key: ArtifactKey, stored: StoredObject) -> Manifest | Damaged | None:
        try:
            return _dated(self.manifest(key), stored.placed)
        except ArtifactNotFound:  # deleted since it was listed
            return None
        except (ArtifactCorrupt, UnknownLayout) as error:
            return Damaged(key, error)

    def find(self, text: str) -> ArtifactKey:
        """The artifact meant by ``kind/digest``, a prefix of a digest, or a kind (its newest artifact).

        Raises:
            ArtifactNotFound: Nothing matches.
            StoreError: Several digests match.
        """
        kind, slash, prefix = text.rpartition("/")
        if slash and self.has(key := ArtifactKey(kind, prefix)):
            return key
        if not slash:
            newest = max(
                self.list(text), key=lambda manifest: (manifest.created, manifest.digest), default=None
            )
            if newest:
                return newest.key
        fitting = [key for key in self.keys(kind or None) if key.digest.startswith(prefix)]
        exact = [key for key in fitting if key.digest == prefix]
        match exact or fitting:
            case []:
                raise ArtifactNotFound(
                    missing(self, f"artifact {text!r}", ANYTHING, "mmer artifacts ls lists what is there")
                )
            case [key]:
                return key
            case several:
                names = ", ".join(map(str, several[:5])) + (", …" if len(several) > 5 else "")
                raise StoreError(f"{text!r} fits {len(several)} artifacts ({names}): give more of the digest")

    def verify(self, key: ArtifactKey) -> builtins.list[str]:
        """Read all stored bytes of an artifact again; one sentence per problem, none if it is intact.

        Raises:
            ArtifactNotFound: There is no such artifact.
        """
        try:
            manifest = self.manifest(key)
        except (ArtifactCorrupt, UnknownLayout) as error:
            return [str(error)]
        problems = (self._problem(entry) for entry in manifest.files)
        return [problem for problem in problems if problem]

    def delete(self, key: ArtifactKey) -> None:
        """Delete an artifact, damaged or not; its file contents stay until `gc`, because others may share them.

        Raises:
            ArtifactNotFound: There is no such artifact.
        """
        if not self.has(key):
            raise ArtifactNotFound(f"{self.url} has no artifact {key} to delete: list what is there")
        self._backend.delete(_manifest_object(key))
        self._checkouts.discard(key)

    def gc(self, *, older_than: float = 24 * 3600.0) -> Freed:
        """Free unused contents, leftovers of killed processes, and fetched artifacts beyond the limit.

        Contents first go to the trash, and are deleted by a collection at least ``older_than`` seconds later. No
        published content is lost, even with concurrent publishers and collections: see `mmer_core.store.collection`.

        Args:
            older_than: Minimal age in seconds, by the store's clock, of everything that is freed, because newer files
                may belong to a running process.

        Raises:
            ArtifactCorrupt: Manifests cannot be read, so the contents in use are unknown; nothing is freed.
        """
        freed = Freed()
        collect(self._backend, self._used, older_than, freed)
        unfinished, fetched = self._checkouts.free(older_than)
        freed.unfinished.add(unfinished)
        freed.fetched.add(fetched)
        return freed

    def _used(self) -> set[str]:
        """Digests of all contents in use. Raises `ArtifactCorrupt`, which names all unreadable manifests."""
        used, unread = set[str](), []
        for found in self.survey():
            if isinstance(found, Damaged):
                unread.append(str(found.error))
            else:
                used.update(entry.sha256 for entry in found.files)
        if unread:
            raise ArtifactCorrupt(
                f"nothing can be freed, as what some artifacts use is unknown: {'; '.join(unread)}"
            )
        return used

    def _count(self, counted: signals.Counted, amount: int) -> None:
        signals.add(counted, amount, store=self.url.partition("://")[0])

    def _store(self, folder: Path, files: Iterable[FileEntry], *, adopt: bool) -> None:
        """Store the contents of files."""

        def put(entry: FileEntry) -> None:
            self._backend.put_file(blob_object(entry.sha256), folder / entry.path, entry.sha256, adopt=adopt)
            self._count(signals.STORE_WRITTEN, entry.size)

        in_parallel(put, {entry.sha256: entry for entry in files}.values())

    def _complete(self, folder: Path, files: Sequence[FileEntry], *, adopt: bool) -> None:
        """Store the contents again that are missing or incomplete."""

        def is_there(entry: FileEntry) -> bool:
            stored = self._backend.stat(blob_object(entry.sha256))
            return stored is not None and stored.size == entry.size

        there = in_parallel(is_there, files)
        self._store(folder, [one for one, found in zip(files, there, strict=True) if not found], adopt=adopt)

    def _created(self, manifest: Manifest) -> Manifest:
        """Create the manifest, or return an equal one that another publisher created."""
        data = manifest.to_bytes()
        while True:
            if self._backend.create_exclusive(_manifest_object(manifest.key), data):
                return manifest
            if stored := self._same(manifest):
                return stored

    def _same(self, manifest: Manifest) -> Manifest | None:
        """The manifest stored under the key, or None if it was deleted meanwhile. Raises `ArtifactConflict`."""
        try:
            stored = self.manifest(manifest.key)
        except ArtifactNotFound:
            return None
        if stored.content != manifest.content:
            raise ArtifactConflict(
                f"{self.url} already has an artifact {manifest.key} with other files: use that one, or delete it first"
            )
        return stored

    def _materialise(self, key: ArtifactKey, entry: FileEntry, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(self._backend.read_attempts):
            try:
                digest = self._wherever(
                    entry.sha256, lambda stored: self._backend.materialise(stored, target)
                )
            except MissingObjectError:
                raise ArtifactCorrupt(f"{entry.path} of {key} is missing from {self.url}: {CURE}") from None
            self._count(signals.STORE_READ, entry.size)
            if digest == entry.sha256:
                return
            target.unlink()
        self._count(signals.STORE_ERRORS, 1)
        raise ArtifactCorrupt(f"{entry.path} of {key} is damaged in {self.url}: {CURE}")

    def _problem(self, entry: FileEntry) -> str | None:
        actual = ""
        for _ in range(self._backend.read_attempts):
            try:
                actual = self._wherever(entry.sha256, self._backend.hash)
            except MissingObjectError:
                return f"{entry.path} is missing"
            if actual == entry.sha256:
                return None
        return f"{entry.path} is damaged: its SHA-256 is {actual} instead of {entry.sha256}"

    def _wherever(self, sha256: str, read: Callable[[str], T]) -> T:
        """Read a content from its place or, while a collection moves it, from the trash. Raises `MissingObjectError`."""
        for _ in range(_LOOKS):
            with suppress(MissingObjectError):
                return read(blob_object(sha256))
            for copy in trashed_copies(self._backend, sha256):
                with suppress(MissingObjectError):
                    return read(copy)
        raise MissingObjectError(f"{self.url} does not hold {sha256}")


def _dated(manifest: Manifest, placed: float) -> Manifest:
    """A manifest whose date is not later than that of its object."""
    if datetime.fromisoformat(manifest.created).timestamp() <= placed + _CLOCK_STEP:
        return manifest
    return manifest.model_copy(update={"created": datetime.fromtimestamp(placed, UTC).isoformat()})


def _manifest_object(key: ArtifactKey) -> str:
    return f"artifacts/{key}/manifest.json"
