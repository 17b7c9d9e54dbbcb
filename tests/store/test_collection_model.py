"""Publishers, collections, readers and deaths at once, in every order: nothing that was published is lost.

The code that runs is the store's own. So that the search is known to find what is wrong, it is also made with the older
protocol, and without each of the precautions of the present one: every time it has to find a loss.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from support.explorer import NOW, OLD, Actor, Ended, Explorer, Objects
from support.store_helpers import contents, draft, folder_with

from mmer_core.errors import ArtifactNotFound
from mmer_core.store import ArtifactKey, Draft, Store
from mmer_core.store.collection import Freed, _Collection, blob_object
from mmer_core.store.folder import scan
from mmer_core.store.manifest import Manifest

FILES = {"x": b"shared"}
SHA256 = hashlib.sha256(FILES["x"]).hexdigest()
FIRST, SECOND = ArtifactKey("model", "aa"), ArtifactKey("model", "bb")
GARBAGE: Objects = frozenset({(blob_object(SHA256), (FILES["x"], OLD))})
"""The content of an artifact that was deleted long ago; whoever publishes it now reuses it."""

NOTHING_SPARED, A_DAY = -1.0, 24 * 3600.0


def publisher(folder: Path, key: ArtifactKey, name: str = "publisher", *, may_die: bool = False) -> Actor:
    source = folder_with(folder / "source", FILES)
    return Actor(f"{name} of {key}", lambda store: store.publish(source, draft(key)).key, may_die)


def collector(name: str, older_than: float = NOTHING_SPARED, *, may_die: bool = False) -> Actor:
    return Actor(name, lambda store: store.gc(older_than=older_than).bytes, may_die)


def reader(key: ArtifactKey) -> Actor:
    def read(store: Store) -> bool | None:
        with suppress(ArtifactNotFound):
            return contents(store.fetch(key)) == FILES
        return None

    return Actor(f"reader of {key}", read)


def deleter(key: ArtifactKey) -> Actor:
    def delete(store: Store) -> None:
        with suppress(ArtifactNotFound):
            store.delete(key)

    return Actor(f"deleter of {key}", delete)


def losses(explorer: Explorer, objects: Objects) -> Iterator[str]:
    """What goes wrong in any state that can be reached."""
    later = collector("a later collection", A_DAY)

    @cache
    def read(stored: int, key: ArtifactKey) -> Ended:
        return explorer.alone(stored, reader(key))[0]

    @cache
    def read_after_a_later_collection(stored: int, key: ArtifactKey) -> Ended:
        return read(explorer.alone(stored, later)[1], key)

    deleted = any(actor.name.startswith("deleter") for actor in explorer.actors)
    for state in explorer.states(objects):
        ends = [end for end in explorer.ended(state) if end is not None]
        yield from (end.error for end in ends if end.error)
        published = {end.result for end in ends if isinstance(end.result, ArtifactKey)}
        for key in set() if deleted else published:
            end = read(state.objects, key)
            if end.result is not True:
                yield f"published, and cannot be read: {end}"
        if explorer.at_rest(state):
            # Of whoever died there may be an artifact or none, and nothing between.
            visible = {
                key for key in (FIRST, SECOND) if explorer.holds(state, f"artifacts/{key}/manifest.json")
            }
            for key in visible:
                end = read_after_a_later_collection(state.objects, key)
                if end.result is not True:
                    yield f"visible, and cannot be read: {end}"


def two_publishers(folder: Path) -> list[Actor]:
    return [publisher(folder, FIRST), publisher(folder, SECOND), collector("collection")]


def two_of_one_artifact(folder: Path) -> list[Actor]:
    return [publisher(folder, FIRST), publisher(folder, FIRST, "other publisher"), collector("collection")]


def two_collections(folder: Path) -> list[Actor]:
    return [publisher(folder, FIRST), collector("collection", may_die=True), collector("other collection")]


def a_reader(folder: Path) -> list[Actor]:
    # Who reads before the publisher is done needs the trash, too: it must not be emptied at once.
    return [
        publisher(folder, FIRST),
        reader(FIRST),
        collector("collection", A_DAY),
        collector("other", A_DAY),
    ]


def a_deleter(folder: Path) -> list[Actor]:
    return [publisher(folder, FIRST), deleter(FIRST), collector("collection")]


def a_publisher_that_dies(folder: Path) -> list[Actor]:
    # While contents are spared for longer than a publisher pauses.
    return [publisher(folder, FIRST, may_die=True), collector("collection", A_DAY), collector("other", A_DAY)]


def a_late_deletion(folder: Path) -> list[Actor]:
    return [publisher(folder, FIRST), collector("collection")]


@pytest.mark.long
@pytest.mark.parametrize(
    "actors",
    [
        two_publishers,
        two_of_one_artifact,
        two_collections,
        a_reader,
        a_deleter,
        a_publisher_that_dies,
        a_late_deletion,
    ],
)
def test_nothing_is_lost_in_any_order(actors: Callable[[Path], list[Actor]], tmp_path: Path) -> None:
    explorer = Explorer(actors(tmp_path), tmp_path, late=actors is a_late_deletion)
    assert next(losses(explorer, GARBAGE), None) is None


class AsItWas(Store):
    """Publishing, collecting and reading as they were before."""

    def publish(self, folder: Path, draft: Draft, **_: object) -> Manifest:
        files = scan(folder)
        if self.has(draft.key):
            return self.manifest(draft.key)
        for entry in files:
            self._backend.put_file(blob_object(entry.sha256), folder / entry.path, entry.sha256, adopt=False)
        manifest = Manifest.of(draft, files)
        if self._backend.create_exclusive(f"artifacts/{draft.key}/manifest.json", manifest.to_bytes()):
            return manifest
        return self.manifest(draft.key)

    def gc(self, *, older_than: float = A_DAY) -> Freed:
        limit = NOW - older_than
        candidates = [stored for stored in self._backend.list("blobs/") if stored.modified <= limit]
        used = {blob_object(entry.sha256) for manifest in self.list() for entry in manifest.files}
        for stored in candidates:
            if stored.key not in used:
                again = self._backend.stat(stored.key)
                if again is not None and again.modified <= limit:
                    self._backend.delete(stored.key)
        return Freed()

    def _wherever(self, sha256: str, read: Callable[[str], str]) -> str:
        return read(blob_object(sha256))


def test_the_older_protocol_loses_what_was_published_even_with_contents_spared(tmp_path: Path) -> None:
    actors = [publisher(tmp_path, FIRST), collector("collection", A_DAY)]
    assert "published, and cannot be read" in next(losses(Explorer(actors, tmp_path, AsItWas), GARBAGE))


@pytest.mark.parametrize(
    ("actors", "owner", "name", "instead"),
    [
        (two_publishers, Store, "_complete", lambda *_: None),
        (two_publishers, _Collection, "_restore", lambda *_: None),
        (two_publishers, Store, "_wherever", AsItWas._wherever),
        (a_reader, Store, "_wherever", AsItWas._wherever),
        (two_collections, _Collection, "_goes_on", lambda *_: False),
        (
            two_collections,
            _Collection,
            "_trashed",
            lambda _, sha256: f"trash/{sha256[:2]}/{sha256}.1.{'0' * 32}",
        ),
        (a_publisher_that_dies, Store, "_wherever", AsItWas._wherever),
        (a_late_deletion, _Collection, "_is_over", lambda *_: True),
    ],
    ids=[
        "a publisher does not look again",
        "a collection does not look again",
        "the trash is not read",
        "the trash is not read by who reads meanwhile",
        "the trash of a collection that goes on is emptied",
        "a name in the trash is used twice",
        "the trash of a dead publisher is not read",
        "a deletion without an answer counts as over",
    ],
)
def test_each_precaution_is_needed(
    actors: Callable[[Path], list[Actor]],
    owner: type,
    name: str,
    instead: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner, name, instead)
    explorer = Explorer(actors(tmp_path), tmp_path, late=actors is a_late_deletion)
    assert next(losses(explorer, GARBAGE), None) is not None
