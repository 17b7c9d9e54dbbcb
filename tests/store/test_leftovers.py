"""What should not be there: left-overs of killed runs, entries of other programs, damaged manifests, wrong dates."""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.store_helpers import FILES, KEY, RawStore, contents, draft, folder_with

from flows import artifacts_cli
from flows.cli import main
from mmer_core.config import RuntimeConfig
from mmer_core.errors import ArtifactCorrupt, StoreError
from mmer_core.store import ArtifactKey, Draft, FileEntry, Manifest, open_store, stage_key
from mmer_core.store.ancestry import Ancestry
from mmer_core.store.backend import sha256_of
from mmer_core.store.checkouts import Checkouts
from mmer_core.store.collection import Tally
from mmer_core.store.in_use import claim, release, unclaimed
from mmer_core.store.local import LocalBackend
from mmer_core.store.store import Damaged

OTHER = ArtifactKey("features", "ffff")
DAY = 24 * 3600.0


@pytest.fixture
def raw(store_url: str, request: pytest.FixtureRequest) -> RawStore:
    return RawStore(store_url, request.getfixturevalue("s3") if store_url.startswith("s3:") else None)


def made_old(path: Path, seconds: float) -> Path:
    then = time.time() - seconds
    for one in (path, *path.rglob("*")):
        os.utime(one, (then, then))
    return path


def test_what_killed_runs_left_in_folders_is_freed_and_told(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, work = tmp_path / "store", tmp_path / "work"
    store = open_store(str(root))
    store.publish(source, draft())
    store.fetch(KEY)
    old = {
        "temporary file": folder_with(root / "blobs" / "ab", {".tmp-1": b"1"}) / ".tmp-1",
        "folder to rename": folder_with(root / "artifacts" / "model" / ".tmp-2", {"manifest.json": b"22"}),
        "half a checkout": folder_with(root / "checkout" / "model" / "ab" / ".tmp-3", {"x/y": b"333"}),
    }
    for path in old.values():
        made_old(path, 1.1 * DAY)
    young = [folder_with(path.parent, {".tmp-young": b"-"}) / ".tmp-young" for path in old.values()]
    abandoned = made_old(folder_with(work / f"model-{'0' * 32}", {"scratch/checkpoint": b"4444"}), 15 * DAY)
    resumed = made_old(folder_with(work / f"model-{'1' * 32}", {"scratch/checkpoint": b"-"}), 13 * DAY)
    made = stage_key("model", {}, {}, 1)
    store.publish(source, draft(made))
    useless = folder_with(work / f"model-{made.digest}", {"scratch/checkpoint": b"55555"})
    artifacts_cli.gc(runtime=RuntimeConfig(store=str(root), work=work))
    assert capsys.readouterr().out.splitlines() == [
        "0.0 MB freed",
        "  3 unfinished files and uploads of killed runs: 0.0 MB",
        "  2 work of killed runs that nobody will resume: 0.0 MB",
    ]
    assert not any(path.exists() for path in (*old.values(), abandoned, useless))
    assert all(path.exists() for path in (*young, resumed))
    assert store.verify(KEY) == []
    assert contents(store.fetch(KEY)) == FILES


def _copied(source: Path) -> Callable[[FileEntry, Path], None]:
    def materialise(entry: FileEntry, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / entry.path, target)

    return materialise


def test_fetched_artifacts_have_a_limit_and_what_is_in_use_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmer_core.store.checkouts._SPARED", -1.0)
    source = folder_with(tmp_path / "source", {"a/x": bytes(1000)})
    entry = FileEntry(path="a/x", size=1000, sha256=sha256_of(source / "a" / "x"))
    manifests = [Manifest.of(Draft(kind="model", digest=f"{number:04}"), [entry]) for number in range(5)]
    cache = tmp_path / "cache"

    def there() -> list[int]:
        return [n for n, one in enumerate(manifests) if any((cache / "model" / one.digest).glob("*/a/x"))]

    checkouts = Checkouts(cache, limit=3500)
    for manifest in manifests[:4]:
        checkouts.get(manifest, _copied(source))
    assert there() == [0, 1, 2, 3]  # this process uses them all
    release()  # as when it ends
    monkeypatch.setattr("mmer_core.store.checkouts._whole", set())
    for age, manifest in enumerate(reversed(manifests[:4])):
        made_old(cache / "model" / manifest.digest, 100.0 * (age + 1))
    kept = checkouts.get(manifests[0], _copied(source))  # the oldest is used again
    checkouts.get(manifests[4], _copied(source))
    assert there() == [0, 3, 4]
    assert contents(kept) == {"a/x": bytes(1000)}
    checkouts._limit = 0
    assert checkouts.free(DAY) == ([], [1000])
    assert there() == [0, 4]
    release()
    assert sum(checkouts.free(DAY)[1]) == 2000
    assert there() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(
    ("mode", "list_mode", "known"),
    [(0o777, 0o644, True), (0o1777, 0o644, True), (0o777, 0o600, False), (0o755, 0o644, False)],
)
def test_another_user_sees_what_is_in_use_or_that_nobody_can_tell(
    mode: int, list_mode: int, known: bool
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        claim(folder, "features/0123")
        lists = folder / ".users"
        (lists / "of a dead process").write_text("features/dead\n")
        for path in lists.iterdir():
            path.chmod(0o666 if path.name == "lock" and mode & 2 else list_mode)
        for path, how in ((folder, 0o755), (lists, mode)):
            path.chmod(how)
        reader, writer = os.pipe()
        if not (child := os.fork()):
            with suppress(BaseException):
                os.setgroups([])
                os.setuid(65534)
                with unclaimed(folder) as used:
                    os.write(writer, repr(used).encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        with open(reader, "rb") as said:
            assert said.read().decode() == (repr({"features/0123"}) if known else "None")


def test_a_broken_link_is_no_place_to_fetch_to(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_store(str(tmp_path / "store")).publish(source, draft())
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(SystemExit, match="1"):
        main(
            [
                "artifacts",
                "fetch",
                "features",
                "--to",
                str(tmp_path / "link"),
                "--store",
                str(tmp_path / "store"),
            ]
        )
    assert capsys.readouterr().err == f"mmer: {tmp_path}/link exists already; name a folder that does not\n"
    assert not (tmp_path / "nowhere").exists()


def test_hard_links_take_no_room(tmp_path: Path, source: Path) -> None:
    store = open_store(str(tmp_path / "store"), cache_bytes=0)
    store.publish(source, draft())
    folder = store.fetch(KEY)
    release()
    made_old(folder, DAY)
    assert store.gc().fetched == Tally()
    assert contents(folder) == FILES


FOREIGN: dict[str, Callable[[Path], object]] = {
    ".DS_Store": lambda path: path.write_bytes(b"\0"),
    "Thumbs.db": lambda path: path.write_bytes(b"\0"),
    "deep/.nfs000000000000001": lambda path: path.write_bytes(b"\0"),
    "link": lambda path: path.symlink_to("/etc/hostname"),
    "broken link": lambda path: path.symlink_to("nowhere"),
    "deep/fifo": os.mkfifo,
    "folder": Path.mkdir,
    "name\nwith a line break": Path.touch,
    "x" * 255: Path.touch,
}


@pytest.mark.parametrize("name", FOREIGN, ids=lambda name: name[:12].strip())
def test_a_checkout_with_a_foreign_entry_is_made_anew(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    store = open_store(str(tmp_path / "store"))
    store.publish(source, draft())
    folder = store.fetch(KEY)
    FOREIGN[name](folder / name)
    monkeypatch.setattr("mmer_core.store.checkouts._whole", set())  # as it is in another process
    assert contents(store.fetch(KEY)) == FILES
    if name != "folder":  # an empty folder is not kept, and does no harm
        assert not os.path.lexists(folder / name)
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]


LITTER = (
    ".DS_Store",
    "._a.npy",
    "Thumbs.db",
    "Desktop.ini",
    ".directory",
    ".nfs00ab12",
    ".smbdelete1",
    ".fuse_hidden0001",
)


@pytest.mark.parametrize("adopt", [False, True])
def test_what_desktops_put_among_the_files_is_not_published(
    tmp_path: Path, source: Path, adopt: bool
) -> None:
    for name in LITTER:
        (source / name).write_bytes(b"\0")
        (source / "deep" / name).symlink_to("nowhere")
    (source / "__MACOSX" / "..x").mkdir(parents=True)
    store = open_store(str(tmp_path / "store"))
    store.publish(source, draft(), adopt=adopt)
    assert contents(store.fetch(KEY)) == FILES


@pytest.mark.parametrize("name", [".hidden", ".git", ".nfsmount"])
def test_a_hidden_file_of_ones_own_is_refused_and_not_left_out(
    tmp_path: Path, source: Path, name: str
) -> None:
    (source / name).write_bytes(b"kept")
    with pytest.raises(StoreError, match="name for a file of an artifact"):
        open_store(str(tmp_path / "store")).publish(source, draft())


@pytest.mark.parametrize("kind", ["file", "symlink", "broken symlink"])
@pytest.mark.parametrize("above", range(3))
def test_something_else_in_place_of_a_checkout_is_replaced(
    tmp_path: Path, source: Path, kind: str, above: int
) -> None:
    store = open_store(str(tmp_path / "store"))
    store.publish(source, draft())
    folder = store.fetch(KEY)
    place = (folder, *folder.parents)[above]
    shutil.rmtree(place)
    place.write_text("") if kind == "file" else place.symlink_to(tmp_path if kind == "symlink" else "nowhere")
    assert contents(store.fetch(KEY)) == FILES
    assert above or not folder.is_symlink()


def test_foreign_entries_in_a_store_are_left_alone(store_url: str, source: Path, raw: RawStore) -> None:
    store = open_store(store_url)
    foreign = [
        "notes.txt", "blobs/notes.txt", "blobs/ab/Thumbs.db", f"blobs/ab/{'0' * 64}", "trash/ab/notes", "gc/notes",
        "artifacts/Thumbs.db", "artifacts/features/Thumbs.db", "artifacts/my folder/ab/manifest.json",
        f"artifacts/{KEY}/Thumbs.db", "artifacts/features/..x/manifest.json",
    ]  # fmt: skip
    for name in foreign:
        raw.write(name, b"of somebody else")
    store.publish(source, draft())
    assert [manifest.key for manifest in store.list()] == [KEY]
    assert store.find("features") == KEY
    assert store.gc(older_than=-10).bytes == 0
    assert set(foreign) <= set(raw.names())
    assert store.verify(KEY) == []


def test_a_part_of_a_store_may_be_a_link_to_another_disk(tmp_path: Path, source: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.publish(source, draft())
    for part in ("artifacts/features", "blobs"):
        shutil.move(tmp_path / "store" / part, tmp_path / Path(part).name)
        (tmp_path / "store" / part).symlink_to(tmp_path / Path(part).name)
    assert [manifest.key for manifest in store.list()] == [KEY]
    assert store.gc(older_than=-10).bytes == 0
    assert store.verify(KEY) == []


ODD: dict[str, Callable[[Path], object]] = {
    "broken link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "fifo": os.mkfifo,
    "folder": Path.mkdir,
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_in_a_store_is_not_read(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    root = tmp_path / "store"
    store = open_store(str(root))
    store.publish(source, draft())
    for place in ("blobs", "artifacts", "artifacts/features", "trash", "gc"):
        (root / place).mkdir(exist_ok=True)
        ODD[kind](root / place / "odd")
    assert [found.key for found in store.survey()] == [KEY]
    assert store.gc(older_than=-10).bytes == 0
    (root / "artifacts" / str(OTHER)).mkdir()
    taken = root / "artifacts" / str(OTHER) / "manifest.json"
    ODD[kind](taken)
    assert [found.key for found in store.survey()] == [KEY]
    for exclusively in (True, False):  # by a hard link, by a folder that is renamed
        monkeypatch.setitem(LocalBackend._links, root, exclusively)
        monkeypatch.setattr("mmer_core.store.local._PATIENCE", 0.1)
        with pytest.raises(StoreError, match=r"manifest\.json.*: remove it"):
            store.publish(source, draft(OTHER))
    for blob in list((root / "blobs").glob("??/*")):
        blob.unlink()
        ODD[kind](blob)
    assert store.verify(KEY) == [f"{name} is missing" for name in FILES]
    with pytest.raises(ArtifactCorrupt, match="missing"):
        store.fetch(KEY)
    if kind != "folder":
        store.publish(source, draft())
        assert contents(store.fetch(KEY)) == FILES


def test_what_others_keep_beside_fetched_artifacts_and_work_stays(tmp_path: Path, source: Path) -> None:
    root, shared = tmp_path / "store", tmp_path / "shared"
    store = open_store(str(root))
    store.publish(source, draft())
    beside = folder_with(
        shared, {"pip/http/a": b"1" * 100, "pip/http/b/c": b"2" * 100, "pip/http/wheels/x/.tmp-1": b"3"}
    )
    work = folder_with(
        shared / "work", {f"photos-{'0' * 32}/a.jpg": b"4", f"my photos-{'1' * 32}/b.jpg": b"5"}
    )
    (work / f"model-{'2' * 32}.lock").mkdir()
    made_old(shared, 30 * DAY)
    before = contents(beside)
    assert Checkouts(shared, limit=0).free(DAY) == ([], [])
    artifacts_cli.gc(older_than=0, runtime=RuntimeConfig(store=str(root), work=work))
    assert contents(beside).items() >= before.items()


def _resigned(manifest: bytes, old: bytes, new: bytes) -> bytes:
    """A manifest with other bytes and the checksum that our own code would give it, where it gives one."""
    fields = json.loads(manifest.replace(old, new))
    del fields["checksum"]
    plain = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    fields["checksum"] = hashlib.sha256(plain).hexdigest()
    return json.dumps(fields).encode()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "NaN": lambda good: _resigned(good, b'"wall_seconds": 0.0', b'"wall_seconds": NaN'),
    "infinity": lambda good: _resigned(good, b'"wall_seconds": 0.0', b'"wall_seconds": 1e999'),
    "NaN in a figure": lambda good: _resigned(good, b'"loss": 0.5', b'"loss": -Infinity'),
    "no date": lambda good: _resigned(good, b'"created": "2', b'"created": "x2'),
    "a date of nowhere": lambda good: _resigned(good, b'+00:00"', b'"'),
    "no object": lambda good: b"[]",
    "a number": lambda good: b"1",
    "nothing": lambda good: b"",
    "a name twice": lambda good: good.replace(b'"seed": null', b'"seed": null, "seed": null'),
    "no layout": lambda good: _resigned(good, b'"schema_version": 6', b'"layout": 2'),
    "a date beyond all": lambda good: _resigned(
        good, json.loads(good)["created"].encode(), b"0001-01-01T00:00:00+14:00"
    ),
    "nested": lambda good: b"[" * 100_000,
    "no text": lambda good: b"\xff\xfe\xfd",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest_is_named_everywhere(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    store = open_store(str(tmp_path / "store"))
    store.publish(source, draft(summary={"loss": 0.5}))
    store.publish(folder_with(tmp_path / "other", {"x": b"other"}), draft(OTHER, inputs={"from": str(KEY)}))
    path = tmp_path / "store" / "artifacts" / str(KEY) / "manifest.json"
    good = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(DAMAGES[damage](good))
    assert path.read_bytes() != good
    says = f"the manifest of {KEY} .*: delete the artifact and run its stage again"
    for ask in (
        lambda: store.manifest(KEY),
        lambda: store.fetch(KEY),
        lambda: list(store.list()),
        lambda: store.find("features"),
        lambda: store.gc(older_than=-10),
        lambda: Ancestry.of(store, OTHER),
    ):
        with pytest.raises(ArtifactCorrupt, match=says) as error:
            ask()
        assert "\n" not in str(error.value)
    assert len(store.verify(KEY)) == 1
    assert [(type(found), found.key) for found in store.survey()] == [(Damaged, KEY), (Manifest, OTHER)]
    assert len(list((tmp_path / "store" / "blobs").glob("*/*"))) == len(FILES) + 1
    store.delete(store.find(str(KEY)))
    assert store.gc(older_than=-10).contents.bytes == sum(map(len, FILES.values()))


def test_damaged_artifacts_are_listed_as_such(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(str(tmp_path / "store"))
    store.publish(source, draft())
    store.publish(source, draft(OTHER))
    path = tmp_path / "store" / "artifacts" / str(KEY) / "manifest.json"
    path.chmod(0o644)
    path.write_text('{"wall_seconds": NaN}')
    artifacts_cli.ls(runtime=RuntimeConfig(store=str(tmp_path / "store")))
    first, second = capsys.readouterr().out.splitlines()[1:3]
    assert first.split()[:2] == [str(KEY), "damaged"]
    assert second.split()[0] == str(OTHER)


def test_dates_are_compared_as_moments(tmp_path: Path, source: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    dates = {
        "aaaa": "2024-05-01T09:00:00-05:00",
        "bbbb": "2024-05-01T10:00:00+05:00",
        "cccc": "20240501T120000Z",
    }
    for digest, date in dates.items():
        key = ArtifactKey("model", digest)
        store.publish(source, draft(key))
        path = tmp_path / "store" / "artifacts" / str(key) / "manifest.json"
        good = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(_resigned(good, json.loads(good)["created"].encode(), date.encode()))
    assert store.find("model").digest == "aaaa"
    assert max(store.list("model"), key=lambda one: one.created).digest == "aaaa"


def test_an_artifact_of_a_newer_mmer_hides_no_other(tmp_path: Path, source: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.publish(source, draft())
    store.publish(folder_with(tmp_path / "other", {"x": b"other"}), draft(OTHER))
    path = tmp_path / "store" / "artifacts" / str(OTHER) / "manifest.json"
    good = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(_resigned(good, b'"schema_version": 6', b'"schema_version": 7'))
    assert [(type(found), found.key) for found in store.survey()] == [(Manifest, KEY), (Damaged, OTHER)]
    assert "use the version of mmer that wrote it" in store.verify(OTHER)[0]
    with pytest.raises(ArtifactCorrupt, match="layout 7"):
        store.gc(older_than=-10)


def test_a_date_in_the_future_makes_nothing_the_newest(
    store_url: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(store_url)
    ahead, right = ArtifactKey("model", "ffff"), ArtifactKey("model", "aaaa")

    class Ahead(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=2)

    with monkeypatch.context() as patched:
        patched.setattr("mmer_core.store.manifest.datetime", Ahead)
        store.publish(source, draft(ahead))
    if store_url.startswith("s3:"):
        time.sleep(1.1)  # a server dates in whole seconds
    store.publish(source, draft(right))
    assert store.find("model") == right
    assert max(store.list("model"), key=lambda one: one.created).key == right
    assert all(datetime.fromisoformat(one.created) <= datetime.now(UTC) for one in store.list())
    assert datetime.fromisoformat(store.manifest(ahead).created) > datetime.now(UTC)  # as its maker wrote it
