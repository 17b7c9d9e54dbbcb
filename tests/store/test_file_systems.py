"""File systems that do not offer everything: no hard links, no sync of folders, no modes, no locks."""

import errno
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.store_helpers import FILES, KEY, contents, draft, folder_with

from mmer_core.errors import ArtifactConflict, StoreError
from mmer_core.store import open_store, run_stage

LINK = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
MODE = (errno.EPERM, errno.ENOTSUP)


def refusing(code: int) -> Callable:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.fixture(
    params=[("link", code) for code in LINK]
    + [("fsync", code) for code in SYNC]
    + [("fchmod", c) for c in MODE],
    ids=lambda case: f"{case[0]}-{errno.errorcode[case[1]]}",
)
def poor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that refuses one thing: what its kernel says where it really does."""
    name, code = request.param
    real = getattr(os, name)

    def of_folders_only(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, name, of_folders_only if name == "fsync" else refusing(code))


@pytest.mark.usefixtures("poor")
@pytest.mark.parametrize("adopt", [False, True])
def test_a_poor_file_system_keeps_all_promises(tmp_path: Path, source: Path, adopt: bool) -> None:
    store = open_store(str(tmp_path / "store"))
    made = store.publish(source, draft(), adopt=adopt)
    assert store.publish(source, draft()) == made
    assert contents(store.fetch(KEY)) == FILES
    with pytest.raises(ArtifactConflict):
        store.publish(folder_with(tmp_path / "other", {"x": b"other"}), draft())
    store.delete(KEY)
    assert store.gc().bytes == 0
    store.publish(source, draft())
    assert store.verify(KEY) == []
    store.delete(KEY)
    assert store.gc(older_than=-10).bytes >= sum(map(len, FILES.values()))
    left = {path.parent.name for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert left == {".users"}


@pytest.mark.parametrize("code", LINK, ids=errno.errorcode.get)
def test_without_hard_links_one_of_many_writers_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "link", refusing(code))
    folders = [folder_with(tmp_path / str(number), {"x": b"%d" % number}) for number in range(8)]
    url = str(tmp_path / "store")
    junk = tmp_path / "store" / "artifacts" / str(KEY)
    junk.mkdir(parents=True)
    (junk / ".DS_Store").write_text("of a desktop")

    def publish(folder: Path) -> str:
        try:
            open_store(url).publish(folder, draft())
        except ArtifactConflict:
            return "conflict"
        return folder.name

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(publish, folders))
    assert outcomes.count("conflict") == 7
    (winner,) = set(outcomes) - {"conflict"}
    assert contents(open_store(url).fetch(KEY)) == {"x": winner.encode()}
    assert list((tmp_path / "store").rglob(".tmp-*")) == []


def test_what_cannot_be_cleared_away_is_named(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    monkeypatch.setattr("mmer_core.store.local._PATIENCE", 0.05)
    (tmp_path / "store" / "artifacts" / str(KEY) / "notes").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"0123abcd holds notes, .*: remove it$"):
        open_store(str(tmp_path / "store")).publish(source, draft())


def test_a_file_system_on_which_nothing_is_exclusive_is_refused_before_any_work(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.rename

    def replacing(old: Path, new: Path) -> None:
        shutil.rmtree(new, ignore_errors=True)
        real(old, new)

    monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    monkeypatch.setattr(os, "rename", replacing)
    store, built = open_store(str(tmp_path / "store")), []
    for refused in (
        lambda: store.publish(source, draft()),
        lambda: run_stage(store, "model", 1, {}, {}, built.append, work=tmp_path / "work"),
    ):
        with pytest.raises(
            StoreError, match=r"no hard links and replaces folders .*: choose a folder"
        ) as error:
            refused()
        assert "\n" not in str(error.value)
    assert built == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS], ids=errno.errorcode.get)
def test_work_on_a_file_system_without_locks_is_refused_before_it_begins(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr("fcntl.flock", refusing(code))
    store, built = open_store(str(tmp_path / "store")), []
    with pytest.raises(StoreError, match=r"work is on a file system without locks .* with --work$"):
        run_stage(store, "model", 1, {}, {}, built.append, work=tmp_path / "work")
    assert built == []
    # A store needs none.
    store.publish(source, draft())
    assert contents(store.fetch(KEY)) == FILES


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_an_error_of_the_disk_is_no_peculiarity_of_a_file_system(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "fsync", refusing(code))
    store = open_store(str(tmp_path / "store"))
    with pytest.raises(StoreError):
        store.publish(source, draft())
    assert not store.has(KEY)
