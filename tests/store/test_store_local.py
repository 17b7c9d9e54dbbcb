"""What only a folder can do to a store, and addresses of stores."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from support.small_disk import small_disk as mounted
from support.store_helpers import FILES, KEY, contents, draft, folder_with

from mmer_core.errors import ArtifactCorrupt, StoreError
from mmer_core.store import Draft, Manifest, open_store
from mmer_core.store.absence import exists


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return folder_with(tmp_path / "source", FILES)


def test_a_checkout_is_hard_links_and_costs_no_space(tmp_path: Path, source: Path) -> None:
    store = open_store(str(tmp_path / "store"), tmp_path / "cache")
    store.publish(source, draft())
    folder = store.fetch(KEY)
    assert tmp_path / "store" in folder.parents
    blobs = {path.stat().st_ino for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file()}
    assert {path.stat().st_ino for path in folder.rglob("*") if path.is_file()} == blobs
    # Taking the checkout away does no harm to the store.
    shutil.rmtree(folder)
    assert contents(store.fetch(KEY)) == FILES


def test_adopted_files_are_the_stores_own_and_new_there(tmp_path: Path, source: Path) -> None:
    store = open_store(str(tmp_path / "store"), tmp_path / "cache")
    for path in source.rglob("*"):
        os.utime(path, (0, 0))
    written = {path.stat().st_ino for path in source.rglob("*") if path.is_file()}
    store.publish(source, draft(), adopt=True)
    blobs = [path for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file()]
    assert {path.stat().st_ino for path in blobs} == written
    assert {path.stat().st_mode & 0o777 for path in blobs} == {0o444}
    store.delete(KEY)
    assert store.gc().bytes == 0
    assert store.gc(older_than=-1).bytes == sum(map(len, FILES.values()))
    shutil.rmtree(source)


def test_files_of_another_disk_are_copied_when_adopted(small_disk: Path, source: Path) -> None:
    store = open_store(str(small_disk / "store"), small_disk / "cache")
    store.publish(source, draft(), adopt=True)
    assert contents(store.fetch(KEY)) == FILES == contents(source)


def test_a_thousand_artifacts_are_listed_and_found(tmp_path: Path) -> None:
    digests = [f"{number:04d}" for number in range(1005)]
    for digest in digests:
        data = Manifest.of(Draft(kind="shard", digest=digest), []).to_bytes()
        place = tmp_path / "store" / "artifacts" / "shard" / digest
        place.mkdir(parents=True)
        (place / "manifest.json").write_bytes(data)
    store = open_store(str(tmp_path / "store"))
    assert [manifest.digest for manifest in store.list("shard")] == digests
    assert store.find("1003").digest == "1003"
    with pytest.raises(StoreError, match=r"fits 5 artifacts"):
        store.find("100")


@pytest.mark.parametrize("place", ["file/store", "/proc/store"])
def test_an_unwritable_store_says_so_in_one_sentence(tmp_path: Path, source: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    store = open_store(str(tmp_path / place))
    assert not store.has(KEY)
    with pytest.raises(StoreError) as error:
        store.publish(source, draft())
    assert "\n" not in str(error.value)
    assert place in str(error.value)


def test_a_store_cannot_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        open_store(str(tmp_path / "file"))


def test_a_write_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    source = folder_with(tmp_path / "source", {"big": b"x" * 500_000})
    program = dedent(
        f"""
        import resource
        from pathlib import Path
        from mmer_core.errors import StoreError
        from mmer_core.store import Draft, open_store
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            open_store({str(tmp_path / "store")!r}).publish(Path({str(source)!r}), Draft(kind="k", digest="d"))
        except StoreError as error:
            raise SystemExit(str(error))
        """
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "File too large" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", kibibytes=256) as disk:
        if disk is None:
            pytest.skip("a small disk cannot be mounted here (it takes root)")
        yield disk.folder


def test_what_is_damaged_after_it_was_fetched_is_not_read_by_the_next_process(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path / "store"))
    store.publish(source, draft())
    folder = store.fetch(KEY)
    (name, content) = next((name, content) for name, content in FILES.items() if content)
    (folder / name).chmod(0o644)
    (folder / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    monkeypatch.setattr("mmer_core.store.checkouts._whole", set())  # as it is in another process
    with pytest.raises(ArtifactCorrupt, match=f"{name} of {KEY} is damaged"):
        store.fetch(KEY)


def test_a_full_disk_says_so_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    store = open_store(str(small_disk / "store"))
    with pytest.raises(StoreError, match="the disk is full"):
        store.publish(folder_with(tmp_path / "big", {"big": b"x" * 500_000}), draft())
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
    assert not store.has(KEY)


def test_a_store_on_another_disk_than_the_caller(small_disk: Path, source: Path) -> None:
    store = open_store(str(small_disk / "store"))
    store.publish(source, draft())
    assert contents(store.fetch(KEY)) == FILES


def test_addresses(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative = open_store("my store")
    relative.publish(source, draft())
    for address in (relative.url, (tmp_path / "my store").as_uri(), str(tmp_path / "my store")):
        assert open_store(address).has(KEY)
        assert open_store(address).url == relative.url


@pytest.mark.parametrize(
    "address",
    [
        "gs://bucket/x",
        "file://host/x",
        "file://",
        "s3://",
        "s3://bucket/../x",
        "s3://bucket/.x",
        "s3://bucket/x?y=1",
        "s3:/bucket/x",
        "S3:bucket",
        "file:/tmp/store",
        "",
        " ",
    ],
)
def test_addresses_without_meaning(address: str) -> None:
    with pytest.raises(StoreError):
        open_store(address)


def test_a_store_whose_path_is_no_text(tmp_path: Path, source: Path) -> None:
    address = str(tmp_path / "a%20 #\n\udcff")
    open_store(address).publish(source, draft())
    again = open_store(open_store(address).url)
    assert again.has(KEY)
    assert exists(again)


def test_a_secret_in_an_address_is_not_repeated() -> None:
    with pytest.raises(StoreError) as error:
        open_store("s3://key:hunter2@bucket/x")
    assert "hunter2" not in str(error.value)


def test_a_corrupt_manifest_stops_garbage_collection(tmp_path: Path, source: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.publish(source, draft())
    (tmp_path / "store" / "artifacts" / str(KEY) / "manifest.json").unlink()
    (tmp_path / "store" / "artifacts" / str(KEY) / "manifest.json").write_text("{")
    with pytest.raises(ArtifactCorrupt):
        store.gc(older_than=-10)
    assert len(list((tmp_path / "store" / "blobs").glob("*/*"))) == len(FILES)
