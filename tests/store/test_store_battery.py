"""The same battery on local disk and on a real S3 server."""

import hashlib
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest
from support.store_helpers import FILES, KEY, RawStore, contents, draft, folder_with

from mmer_core.errors import ArtifactConflict, ArtifactCorrupt, ArtifactNotFound, StoreError
from mmer_core.store import ArtifactKey, Store, open_store

MANIFEST = f"artifacts/{KEY}/manifest.json"


def blob(data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    return f"blobs/{sha256[:2]}/{sha256}"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def store(store_url: str, cache: Path) -> Store:
    return open_store(store_url, cache)


@pytest.fixture
def raw(store_url: str, request: pytest.FixtureRequest) -> RawStore:
    return RawStore(store_url, request.getfixturevalue("s3") if store_url.startswith("s3:") else None)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return folder_with(tmp_path / "source", FILES)


def test_roundtrip(store: Store, store_url: str, raw: RawStore, source: Path, cache: Path) -> None:
    assert not store.has(KEY)
    made = store.publish(
        source, draft(inputs={"prepared": "prepared/ff"}, config={"width": 3}, seed=7, summary={"map": 0.5})
    )
    assert store.has(KEY)
    assert contents(source) == FILES  # the caller's folder is left alone

    other = open_store(store.url, cache)
    manifest = other.manifest(KEY)
    assert manifest.key == KEY
    assert manifest == made
    assert (manifest.inputs, manifest.config, manifest.seed) == ({"prepared": "prepared/ff"}, {"width": 3}, 7)
    assert {entry.path: (entry.size, entry.sha256) for entry in manifest.files} == {
        name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in FILES.items()
    }
    folder = other.fetch(KEY)
    assert contents(folder) == FILES
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in folder.rglob("*") if path.is_file())
    assert other.fetch(KEY) == folder
    stored = [name for name in raw.names() if not name.startswith("checkout/")]
    assert stored == sorted([MANIFEST, *map(blob, FILES.values())])
    assert store.verify(KEY) == []


def test_what_is_not_there_is_not_found(store: Store) -> None:
    for ask in (store.manifest, store.fetch, store.verify, store.delete):
        with pytest.raises(ArtifactNotFound, match=str(KEY)):
            ask(KEY)
    assert list(store.list()) == []
    assert list(store.list("features")) == []


def test_publishing_again_is_idempotent_and_other_content_a_conflict(
    store: Store, source: Path, tmp_path: Path
) -> None:
    first = store.publish(source, draft(wall_seconds=1.0))
    assert store.publish(source, draft(wall_seconds=99.0)) == first
    changed = folder_with(tmp_path / "changed", FILES | {"a.npy": b"other"})
    renamed = folder_with(tmp_path / "renamed", {"A.npy": FILES["a.npy"]})
    for folder in (changed, renamed):
        with pytest.raises(ArtifactConflict, match=str(KEY)):
            store.publish(folder, draft())
    assert store.manifest(KEY) == first
    assert contents(store.fetch(KEY)) == FILES


def test_of_many_writers_all_with_the_same_content_succeed(store_url: str, source: Path, cache: Path) -> None:
    stores = [open_store(store_url, cache) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        made = list(
            pool.map(lambda item: item[1].publish(source, draft(wall_seconds=item[0])), enumerate(stores))
        )
    assert len({manifest.wall_seconds for manifest in made}) == 1
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda store: store.fetch(KEY), stores))
    assert contents(folders.pop()) == FILES
    assert not folders


def test_of_many_writers_with_different_content_one_wins(store_url: str, tmp_path: Path) -> None:
    folders = [folder_with(tmp_path / str(number), {"x": b"%d" % number}) for number in range(4)]

    def publish(folder: Path) -> str:
        try:
            open_store(store_url).publish(folder, draft())
        except ArtifactConflict:
            return "conflict"
        return folder.name

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(publish, folders))
    assert outcomes.count("conflict") == 3
    (winner,) = set(outcomes) - {"conflict"}
    assert contents(open_store(store_url, tmp_path / "cache").fetch(KEY)) == {"x": winner.encode()}


def test_a_publisher_killed_before_the_manifest_leaves_nothing_visible(
    store: Store, store_url: str, raw: RawStore, source: Path
) -> None:
    program = dedent(
        f"""
        import os, signal
        from pathlib import Path
        from mmer_core.store import Draft, open_store
        store = open_store({store_url!r})
        store._backend.create_exclusive = lambda key, data: os.kill(os.getpid(), signal.SIGKILL)
        store.publish(Path({str(source)!r}), Draft(kind={KEY.kind!r}, digest={KEY.digest!r}))
        """
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", program], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert blob(FILES["a.npy"]) in raw.names()
    assert not store.has(KEY)
    assert list(store.list()) == []
    store.publish(source, draft())
    assert contents(store.fetch(KEY)) == FILES


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_at_rest_is_found_and_can_be_cured(
    store: Store, raw: RawStore, source: Path, damage: str
) -> None:
    store.publish(source, draft())
    name, data = blob(FILES["a.npy"]), bytearray(FILES["a.npy"])
    if damage == "flip":
        data[1000] ^= 4
        raw.write(name, bytes(data))
    elif damage == "truncate":
        raw.write(name, bytes(data[:-1]))
    else:
        raw.remove(name)
    with pytest.raises(ArtifactCorrupt, match=r"a\.npy.*run its stage again"):
        store.fetch(KEY)
    (problem,) = store.verify(KEY)
    assert "a.npy" in problem
    store.delete(KEY)
    store.publish(source, draft())
    assert contents(store.fetch(KEY)) == FILES
    assert store.verify(KEY) == []


def test_a_damaged_manifest_is_found_and_can_be_deleted(store: Store, raw: RawStore, source: Path) -> None:
    store.publish(source, draft(summary={"map": 0.25}))
    good = raw.read(MANIFEST)
    letters = [position for position, byte in enumerate(good) if not chr(byte).isspace()]
    for position in letters[:: len(letters) // 12]:
        bad = bytearray(good)
        bad[position] ^= 1
        raw.write(MANIFEST, bytes(bad))
        with pytest.raises(ArtifactCorrupt, match=str(KEY)):
            store.manifest(KEY)
    raw.write(MANIFEST, good[: len(good) // 2])
    assert len(store.verify(KEY)) == 1
    with pytest.raises(ArtifactCorrupt):
        store.fetch(KEY)
    store.delete(KEY)
    assert not store.has(KEY)


def test_a_manifest_moved_to_another_key_is_refused(store: Store, raw: RawStore, source: Path) -> None:
    store.publish(source, draft())
    raw.write("artifacts/features/9999/manifest.json", raw.read(MANIFEST))
    with pytest.raises(ArtifactCorrupt, match="belongs to features/0123abcd"):
        store.fetch(ArtifactKey("features", "9999"))


def test_list_find_and_delete(store: Store, tmp_path: Path) -> None:
    keys = [ArtifactKey("model", "aa11"), ArtifactKey("model", "aa22"), ArtifactKey("report", "bb11")]
    folders = [folder_with(tmp_path / key.digest, {"x": key.digest.encode(), "shared": b"s"}) for key in keys]
    for key, folder in zip(keys, folders, strict=True):
        store.publish(folder, draft(key))
    assert [manifest.key for manifest in store.list()] == keys
    assert [manifest.key for manifest in store.list("model")] == keys[:2]
    assert store.find("report/bb11") == keys[2]
    assert store.find("bb") == keys[2]
    assert store.find("model/aa2") == keys[1]
    assert store.find("model") == keys[1]
    with pytest.raises(StoreError, match=r"fits 2 artifacts .*aa11.*aa22"):
        store.find("aa")
    with pytest.raises(ArtifactNotFound, match="zz"):
        store.find("zz")
    with pytest.raises(StoreError):
        store.find("../etc")

    store.delete(keys[0])
    assert [manifest.key for manifest in store.list()] == keys[1:]
    assert store.gc().bytes == 0  # all contents are younger than the grace period
    assert store.gc(older_than=-10).bytes == len(b"aa11")
    assert contents(store.fetch(keys[1])) == {"x": b"aa22", "shared": b"s"}
    assert store.verify(keys[2]) == []


def test_a_checkout_that_lost_a_file_is_made_anew(store: Store, source: Path) -> None:
    store.publish(source, draft())
    folder = store.fetch(KEY)
    (folder / "a.npy").unlink()
    assert contents(store.fetch(KEY)) == FILES


def test_a_key_made_anew_with_other_content_does_not_serve_old_checkouts(
    store_url: str, source: Path, tmp_path: Path
) -> None:
    here, there = (open_store(store_url, tmp_path / name) for name in ("here", "there"))
    here.publish(source, draft())
    here.fetch(KEY)
    there.delete(KEY)
    there.publish(folder_with(tmp_path / "new", {"x": b"new"}), draft())
    assert contents(here.fetch(KEY)) == {"x": b"new"}


def test_unsafe_folders_are_refused(store: Store, raw: RawStore, tmp_path: Path) -> None:
    secret = folder_with(tmp_path, {"secret.txt": b"secret"}) / "secret.txt"
    link = folder_with(tmp_path / "link", {"x": b""})
    (link / "y").symlink_to(secret)
    linked_folder = folder_with(tmp_path / "linked", {"x": b""})
    (linked_folder / "sub").symlink_to(tmp_path, target_is_directory=True)
    pipe = folder_with(tmp_path / "pipe", {"x": b""})
    os.mkfifo(pipe / "fifo")
    hidden = folder_with(tmp_path / "hidden", {".env": b""})
    dots = folder_with(tmp_path / "dots", {"a..b": b""})
    long = folder_with(tmp_path / "long", {"n" * 201: b""})
    for folder in (link, linked_folder, pipe, hidden, dots, long, tmp_path / "absent", secret):
        with pytest.raises(StoreError):
            store.publish(folder, draft())
    assert raw.names() == []


def test_an_artifact_may_hold_no_files(store: Store, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    store.publish(tmp_path / "nothing", draft(summary={"loss": float("nan"), "n": 3}))
    assert contents(store.fetch(KEY)) == {}
    assert store.manifest(KEY).summary == {"loss": None, "n": 3}
