"""The artifact store: what is the same on every backend."""

import builtins
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

from mmer_core.errors import ArtifactConflict, ArtifactCorrupt, ArtifactNotFound, StoreError
from mmer_core.store.absence import ANYTHING, missing
from mmer_core.store.artifact import ArtifactKey, checked_path, checked_segment
from mmer_core.store.backend import Backend, MissingObjectError, StoredObject, disk_errors, sha256_of
from mmer_core.store.local import TEMPORARY, make_folder
from mmer_core.store.manifest import Draft, FileEntry, Manifest
from mmer_core.usage import Meter, leg

_CURE = "delete the artifact and run its stage again"
_whole: set[Path] = set()
"""Checkouts whose bytes this process has checked."""

_READERS = 8  # manifests read at the same time when listing


class Store:
    """Immutable artifacts by key, on local disk or S3.

    File contents lie at ``blobs/<first 2 hex of the SHA-256>/<SHA-256>``. An artifact exists from the moment
    when ``artifacts/<kind>/<digest>/manifest.json`` does, which is created last and only once.

    Args:
        backend: Keeps the bytes.
        cache: Where fetched artifacts land, unless the backend has a better place itself.
    """

    def __init__(self, backend: Backend, cache: Path) -> None:
        self._backend = backend
        self._checkouts = backend.checkouts(cache.expanduser().absolute())

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    @property
    def url(self) -> str:
        """What `open_store` takes to open this store."""
        return self._backend.url

    def ensure_writable(self) -> None:
        """Raise `StoreError` now rather than after hours of work when publishing cannot succeed."""
        self._backend.ensure_writable()

    def has(self, key: ArtifactKey) -> bool:
        """Whether the artifact exists; its bytes are not checked."""
        return self._backend.exists(_manifest_object(key))

    def publish(
        self, folder: Path, draft: Draft, *, adopt: bool = False, meter: Meter | None = None
    ) -> Manifest:
        """Store all files below a folder as one artifact; empty subfolders are not kept.

        Publishing the same content again, also from several processes at once, is no error: the manifest
        that was there first is returned.

        Args:
            adopt: Nobody writes to the files any more: a store on the same file system takes them over, read-only,
                where it otherwise copies them.
            meter: Measures the making; what it says when all files are stored becomes part of the manifest.

        Raises:
            ArtifactConflict: Other files already stand under this key.
            StoreError: A symbolic link, an unsafe file name, or the store cannot be written.
        """
        key = draft.key
        files = _scan(folder)
        self.ensure_writable()
        if self.has(key):
            return self._same(Manifest.of(draft, files))
        for sha256, entry in {entry.sha256: entry for entry in files}.items():
            self._backend.put_file(_blob_object(sha256), folder / entry.path, sha256, adopt=adopt)
        manifest = Manifest.of(draft, files, meter.usage() if meter else None)
        if self._backend.create_exclusive(_manifest_object(key), manifest.to_bytes()):
            return manifest
        return self._same(manifest)

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
        """A local folder with the artifact's files. Do not write there.

        Each file is checked against its SHA-256 when it comes, and by every process again when it first asks for the
        folder: disks forget, and what was made from a damaged file would be published as if it were right.

        Raises:
            ArtifactNotFound: There is no such artifact.
            ArtifactCorrupt: A stored file is damaged or gone.
        """
        with leg("read"):
            return self._fetched(key)

    def _fetched(self, key: ArtifactKey) -> Path:
        manifest = self.manifest(key)
        # The content is part of the path: a key that was deleted and made anew elsewhere has another folder.
        target = self._checkouts / key.kind / key.digest / manifest.content[:16]
        if target in _whole and _is_complete(target, manifest):
            return target
        with disk_errors(target):
            if _is_complete(target, manifest):
                if _scan(target) == tuple(sorted(manifest.files, key=lambda entry: entry.path)):
                    _whole.add(target)
                    return target
                _remove(target)
            make_folder(target.parent)
            staging = target.with_name(TEMPORARY + uuid.uuid4().hex)
            try:
                staging.mkdir()
                for entry in manifest.files:
                    self._materialise(key, entry, staging / entry.path)
                _move_into_place(staging, target, manifest)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        _whole.add(target)
        return target

    def keys(self, kind: str | None = None) -> Iterator[ArtifactKey]:
        """Keys of all artifacts, or of one kind, in order."""
        prefix = "artifacts/" if kind is None else f"artifacts/{checked_segment(kind, 'kind of artifact')}/"
        for stored in self._backend.list(prefix):
            parts = stored.key.split("/")
            if len(parts) == 4 and parts[3] == "manifest.json":
                yield ArtifactKey(parts[1], parts[2])

    def list(self, kind: str | None = None) -> Iterator[Manifest]:
        """Manifests of all artifacts, or of one kind, in the order of their keys.

        Raises:
            ArtifactCorrupt: A manifest is damaged.
        """
        keys = self.keys(kind)
        with ThreadPoolExecutor(_READERS) as pool:
            while batch := list(islice(keys, 64)):
                yield from filter(None, pool.map(self._manifest_or_none, batch))

    def find(self, text: str) -> ArtifactKey:
        """The artifact a person means by ``kind/digest``, the beginning of a digest, or a kind (its newest).

        Raises:
            ArtifactNotFound: Nothing fits.
            StoreError: Several digests begin so.
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
        """Read all stored bytes of an artifact again; one sentence a problem, none when it is intact.

        Raises:
            ArtifactNotFound: There is no such artifact.
        """
        try:
            manifest = self.manifest(key)
        except ArtifactCorrupt as error:
            return [str(error)]
        problems = (self._problem(entry) for entry in manifest.files)
        return [problem for problem in problems if problem]

    def delete(self, key: ArtifactKey) -> None:
        """Remove an artifact, damaged or not; its file contents stay until `gc`, as others may share them.

        Raises:
            ArtifactNotFound: There is no such artifact.
        """
        if not self.has(key):
            raise ArtifactNotFound(f"{self.url} has no artifact {key} to delete: list what is there")
        self._backend.delete(_manifest_object(key))
        shutil.rmtree(self._checkouts / key.kind / key.digest, ignore_errors=True)

    def gc(self, *, older_than: float = 24 * 3600.0) -> int:
        """Delete file contents that no artifact uses and return how many bytes that freed.

        Contents are uploaded before the manifest that names them, so those written in the last
        ``older_than`` seconds stay: they may belong to an artifact that is just being published.

        Raises:
            ArtifactCorrupt: A manifest is damaged, so what it uses is unknown; nothing is deleted.
        """
        limit = time.time() - older_than
        candidates = [stored for stored in self._backend.list("blobs/") if stored.modified <= limit]
        used = {_blob_object(entry.sha256) for manifest in self.list() for entry in manifest.files}
        freed = 0
        for stored in candidates:
            if stored.key not in used and self._still_older(stored, limit):
                self._backend.delete(stored.key)
                freed += stored.size
        return freed

    def _still_older(self, stored: StoredObject, limit: float) -> bool:
        """Whether nobody has written the object since it was listed, for an artifact published since then."""
        modified = self._backend.modified(stored.key)
        return modified is not None and modified <= limit

    def _same(self, manifest: Manifest) -> Manifest:
        stored = self.manifest(manifest.key)
        if stored.content != manifest.content:
            raise ArtifactConflict(
                f"{self.url} already has an artifact {manifest.key} with other files: use that one, or delete it first"
            )
        return stored

    def _manifest_or_none(self, key: ArtifactKey) -> Manifest | None:
        try:
            return self.manifest(key)
        except ArtifactNotFound:  # deleted since it was listed
            return None

    def _materialise(self, key: ArtifactKey, entry: FileEntry, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(self._backend.read_attempts):
            try:
                if self._backend.materialise(_blob_object(entry.sha256), target) == entry.sha256:
                    return
            except MissingObjectError:
                raise ArtifactCorrupt(f"{entry.path} of {key} is missing from {self.url}: {_CURE}") from None
            target.unlink()
        raise ArtifactCorrupt(f"{entry.path} of {key} is damaged in {self.url}: {_CURE}")

    def _problem(self, entry: FileEntry) -> str | None:
        actual = ""
        for _ in range(self._backend.read_attempts):
            try:
                actual = self._backend.hash(_blob_object(entry.sha256))
            except MissingObjectError:
                return f"{entry.path} is missing"
            if actual == entry.sha256:
                return None
        return f"{entry.path} is damaged: its SHA-256 is {actual} instead of {entry.sha256}"


def _manifest_object(key: ArtifactKey) -> str:
    return f"artifacts/{key}/manifest.json"


def _blob_object(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256}"


def _scan(folder: Path) -> tuple[FileEntry, ...]:
    """All files below a folder, hashed, in the order of their paths."""
    with disk_errors(folder):
        if not folder.is_dir():
            raise StoreError(f"{folder} is no folder: give the folder that holds the artifact's files")
        files = sorted(_regular_files(folder, ""))
        with ThreadPoolExecutor() as pool:
            digests = pool.map(sha256_of, [path for _, path in files])
            return tuple(
                FileEntry(path=name, size=path.stat().st_size, sha256=digest)
                for (name, path), digest in zip(files, digests, strict=True)
            )


def _regular_files(folder: Path, prefix: str) -> Iterable[tuple[str, Path]]:
    for path in folder.iterdir():
        name = checked_path(prefix + path.name)
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise StoreError(f"{path} is a link or a special file: an artifact holds regular files only")
        if path.is_dir():
            yield from _regular_files(path, f"{name}/")
        else:
            yield name, path


def _is_complete(folder: Path, manifest: Manifest) -> bool:
    """Whether all files are there in full size; their bytes were checked when they came."""
    try:
        return folder.is_dir() and all(
            (folder / entry.path).stat().st_size == entry.size for entry in manifest.files
        )
    except OSError:
        return False


def _move_into_place(staging: Path, target: Path, manifest: Manifest) -> None:
    """Make a finished checkout visible under its name, unless another process was first."""
    try:
        staging.rename(target)
    except OSError:
        if _is_complete(target, manifest):
            return
        # Somebody removed or cut a file of an earlier checkout.
        _remove(target)
        staging.rename(target)


def _remove(checkout: Path) -> None:
    """Take a damaged checkout away, whole or not at all, as others may look for it or remove it as well."""
    broken = checkout.with_name(TEMPORARY + uuid.uuid4().hex)
    with suppress(FileNotFoundError):
        checkout.rename(broken)
    shutil.rmtree(broken, ignore_errors=True)
