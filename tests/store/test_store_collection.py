"""Freeing space on local disk and on a real S3 server, while others publish and read."""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from support.faulty_proxy import Fault, faulty_proxy
from support.s3_server import S3Server, client_of
from support.store_helpers import RawStore, contents, draft, folder_with

from mmer_core.errors import ArtifactCorrupt
from mmer_core.store import ArtifactKey, Store, open_store
from mmer_core.store.backend import StoredObject, sha256_of
from mmer_core.store.collection import Tally, blob_object
from mmer_core.store.s3 import S3Backend

KEEPER, VICTIM = ArtifactKey("model", "aa"), ArtifactKey("model", "bb")
FILES = {"x": b"shared", "deep/y": b"as well"}
REQUESTS = (
    "put_file",
    "put_bytes",
    "create_exclusive",
    "read_bytes",
    "exists",
    "stat",
    "copy",
    "list",
    "delete",
)
DAY = 24 * 3600.0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return folder_with(tmp_path / "source", FILES)


@pytest.fixture
def raw(store_url: str, request: pytest.FixtureRequest) -> RawStore:
    return RawStore(store_url, request.getfixturevalue("s3") if store_url.startswith("s3:") else None)


def before_each_request(store: Store, happens: Callable[[int], None]) -> Store:
    """A store that has something happen before each of its requests, which are counted."""
    count = iter(range(1000))

    def disturbed(request: Callable) -> Callable:
        def asked(*arguments: object, **options: object) -> object:
            happens(next(count))
            return request(*arguments, **options)

        return asked

    for name in REQUESTS:
        setattr(store._backend, name, disturbed(getattr(store._backend, name)))
    return store


def garbage(store: Store, source: Path) -> None:
    """Leave contents that no artifact uses."""
    store.publish(source, draft(VICTIM))
    store.delete(VICTIM)


@pytest.mark.parametrize("disturbed", ["collection", "publisher"])
def test_a_publisher_and_a_collection_meet_at_each_request(
    store_url: str, raw: RawStore, tmp_path: Path, disturbed: str
) -> None:
    """One is held before its first, second, ... request while the other one does all its work."""
    calm = open_store(store_url, tmp_path / "cache")
    source = folder_with(tmp_path / "one", {"x": FILES["x"]})

    def publish(store: Store) -> None:
        store.publish(source, draft(KEEPER))

    def collect(store: Store) -> None:
        store.gc(older_than=-10)

    first, second = (collect, publish) if disturbed == "collection" else (publish, collect)
    for moment in range(100):
        raw.write(blob_object(sha256_of(source / "x")), FILES["x"])
        met = []

        def happens(number: int, moment: int = moment, met: list[int] = met) -> None:
            if number == moment:
                met.append(number)
                second(open_store(store_url, tmp_path / "cache"))

        first(before_each_request(open_store(store_url, tmp_path / "cache"), happens))
        if not met:
            break
        cache = tmp_path / f"read-{moment}"
        got = contents(open_store(store_url, cache).fetch(KEEPER))
        assert got == {"x": FILES["x"]}, f"lost at request {moment}"
        calm.delete(KEEPER)
    assert moment > 3


@pytest.mark.long
def test_publishers_and_collections_at_random(store_url: str, source: Path, tmp_path: Path) -> None:
    """With pauses before requests, and collections whose clocks are two days off."""
    rng = random.Random(0)

    def slow(number: int) -> None:
        time.sleep(rng.choice((0, 0, 0.001, 0.005)))

    stores = [before_each_request(open_store(store_url, tmp_path / f"{n}"), slow) for n in range(4)]
    lost = []
    with ThreadPoolExecutor(4) as pool:
        for number in range(10):
            garbage(stores[0], source)
            key = ArtifactKey("model", f"{number:04}")
            collections = [pool.submit(stores[n].gc, older_than=-10) for n in (1, 2)]
            stores[0].publish(source, draft(key))
            try:
                stores[3].fetch(key)
            except ArtifactCorrupt as error:
                lost.append(str(error))
            for collection in collections:
                collection.result()
            lost += stores[3].verify(key)
            stores[3].delete(key)
    assert lost == []


@pytest.mark.parametrize("days", [-2, 2])
def test_age_is_by_the_clock_of_the_store(
    store_url: str, source: Path, raw: RawStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    store = open_store(store_url, tmp_path / "cache")
    garbage(store, source)
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() + days * DAY)
    freed = store.gc(older_than=DAY / 24)
    assert (freed.bytes, freed.trash) == (0, Tally())
    assert [name for name in raw.names() if name.startswith("blobs/")]


def test_contents_wait_in_the_trash_and_come_back_when_they_are_used(
    store_url: str, source: Path, raw: RawStore, tmp_path: Path
) -> None:
    store = open_store(store_url, tmp_path / "cache")
    store.publish(source, draft(KEEPER))
    size = sum(map(len, FILES.values()))
    monday = raw.read(f"artifacts/{KEEPER}/manifest.json")
    store.delete(KEEPER)
    # Old enough to leave its place, and new in the trash: as if a day had passed.
    record = store._backend.stat
    store._backend.stat = lambda key: (
        record(key) if not key.startswith("gc/") else later(record(key), 25 * 3600)
    )
    freed = store.gc()
    assert (freed.bytes, freed.trash, freed.restored) == (0, Tally(len(FILES), size), 0)
    assert not [name for name in raw.names() if name.startswith(("blobs/", "gc/"))]
    # A publisher that died between its manifest and its last look left this.
    raw.write(f"artifacts/{KEEPER}/manifest.json", monday)
    store._backend.stat = record
    assert store.verify(KEEPER) == []
    assert contents(open_store(store_url, tmp_path / "other").fetch(KEEPER)) == FILES
    assert store.gc().restored == len(FILES)
    assert {blob_object(entry.sha256) for entry in store.manifest(KEEPER).files} <= set(raw.names())
    store.delete(KEEPER)
    freed = store.gc(older_than=-10 * DAY)
    assert freed.contents.bytes == 2 * size  # in their place again, and still in the trash
    assert [name for name in raw.names() if not name.startswith("checkout/")] == []


def later(stored: StoredObject | None, seconds: float) -> StoredObject | None:
    """The same, written so many seconds later."""
    return stored and replace(stored, modified=stored.modified + seconds)


def test_publishing_again_cures_contents_that_are_gone_or_cut(
    store_url: str, source: Path, raw: RawStore, tmp_path: Path
) -> None:
    store = open_store(store_url, tmp_path / "cache")
    made = store.publish(source, draft(KEEPER))
    gone, cut = (blob_object(entry.sha256) for entry in made.files)
    raw.remove(gone)
    raw.write(cut, b"-")
    assert len(store.verify(KEEPER)) == 2
    assert store.publish(source, draft(KEEPER)) == made
    assert store.verify(KEEPER) == []


def test_what_is_published_while_its_artifact_is_deleted_is_published(
    store_url: str, source: Path, tmp_path: Path
) -> None:
    calm = open_store(store_url, tmp_path / "cache")
    for moment in range(100):
        calm.publish(source, draft(KEEPER, seed=1))
        met = []

        def happens(number: int, moment: int = moment, met: list[int] = met) -> None:
            if number == moment:
                met.append(number)
                calm.delete(KEEPER)

        store = before_each_request(open_store(store_url, tmp_path / "cache"), happens)
        made = store.publish(source, draft(KEEPER, seed=2))
        if not met:
            break
        assert made.seed in (1, 2)
        if calm.has(KEEPER):
            assert (made.seed, calm.verify(KEEPER)) == (2, [])
    assert moment > 3


def test_what_killed_publishers_left_is_freed(
    store_url: str, source: Path, raw: RawStore, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = open_store(store_url, tmp_path / "cache")
    store.publish(source, draft(KEEPER))
    if store_url.startswith("s3:"):
        server = request.getfixturevalue("s3")
        client, prefix = client_of(server), store_url.rpartition("/")[2]
        for name in ("blobs/ab/abc", "strangers/file"):
            where = {"Bucket": server.bucket, "Key": f"{prefix}/{name}"}
            upload = client.create_multipart_upload(**where)["UploadId"]
            client.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"half")
        of_others = 1
    else:
        raw.write("blobs/ab/.tmp-1", b"half")
        of_others = 0
    assert store.gc().unfinished == Tally()
    assert store.gc(older_than=-10).unfinished == Tally(1, 4)
    if store_url.startswith("s3:"):
        left = client.list_multipart_uploads(Bucket=server.bucket, Prefix=prefix).get("Uploads", [])
        assert len(left) == of_others
    assert not [name for name in raw.names() if ".tmp-" in name]
    assert store.verify(KEEPER) == []


@pytest.mark.integration
def test_a_deletion_that_was_asked_for_twice_may_still_be_on_its_way(
    s3_url: str, s3: S3Server, tmp_path: Path
) -> None:
    store = open_store(s3_url, tmp_path / "cache")
    folder = folder_with(tmp_path / "one", {"x": b"1"})
    garbage(store, folder)
    with faulty_proxy(s3.endpoint, s3.certificate) as proxy, pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        proxy.faults.append(Fault("lose_answer", "DELETE", "/blobs/"))
        behind = Store(S3Backend(s3.bucket, s3_url.rpartition("/")[2]), tmp_path / "behind")
        freed = behind.gc(older_than=-10)
    assert (freed.contents, freed.trash) == (Tally(), Tally(1, 1))
    assert store.gc(older_than=-10).trash == Tally(1, 1)  # not before it cannot be on its way any more
