import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mmer_core.config import IngestConfig
from mmer_core.datasets import archives
from mmer_core.datasets.archives import unpacked
from mmer_core.datasets.ingest import ingest, source_identity
from mmer_core.errors import DatasetError


def _files(root: Path) -> dict[str, bytes]:
    found = {}
    for folder, _, names in os.walk(root, followlinks=True):
        for name in names:
            path = Path(folder) / name
            found[path.relative_to(root).as_posix()] = path.read_bytes()
    return found


def _pack(archive: Path, root: Path, members: list[str] | None = None) -> Path:
    members = members if members is not None else sorted(_files(root))
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name in members:
                zipped.write(root / name, name)
    else:
        with tarfile.open(archive, "w:" if archive.suffix == ".tar" else "w:gz") as tarred:
            for name in members:
                tarred.add(root / name, name)
    return archive


def _hostile_tar(path: Path, **fields: object) -> Path:
    with tarfile.open(path, "w") as tarred:
        info = tarfile.TarInfo("ok.txt")
        for name, value in fields.items():
            setattr(info, name, value)
        tarred.addfile(info, io.BytesIO(b"x" * info.size))
    return path


@pytest.mark.parametrize("suffix", archives.SUFFIXES)
def test_an_archive_becomes_the_tree_it_was_made_of(emotic_tree, tmp_path, suffix):
    archive = _pack(tmp_path / f"emotic{suffix}", emotic_tree)
    assert _files(unpacked(archive, tmp_path / "out")) == _files(emotic_tree)


@pytest.mark.parametrize("protocol", ["corrected", "mat2py"])
def test_archives_beside_the_tree_give_the_arrays_of_the_tree(emotic_tree, tmp_path, protocol):
    """As downloaded: photos of one database unpacked, the others and the annotations still packed."""
    names = sorted(_files(emotic_tree))
    mixed = tmp_path / "mixed"
    for name in names:
        if "framesdb" in name:
            (mixed / name).parent.mkdir(parents=True, exist_ok=True)
            (mixed / name).write_bytes((emotic_tree / name).read_bytes())
    _pack(mixed / "annotations.zip", emotic_tree, [n for n in names if n.startswith("Annotations")])
    _pack(
        mixed / "photos.tar.gz",
        emotic_tree,
        [n for n in names if n.startswith("emotic") and "framesdb" not in n],
    )
    outputs = []
    for number, root in enumerate((emotic_tree, mixed)):
        config = IngestConfig(root=root, protocol=protocol, context_size=32, body_size=16)
        ingest(config, tmp_path / f"out{number}", tmp_path / f"scratch{number}", workers=2)
        outputs.append(_files(tmp_path / f"out{number}"))
    assert outputs[0] == outputs[1]


def test_flickr8k_from_one_archive(flickr_tree, tmp_path):
    archive = _pack(tmp_path / "flickr8k.zip", flickr_tree)
    config = IngestConfig(dataset="flickr8k", root=archive, context_size=16)
    card = ingest(config, tmp_path / "packed", tmp_path / "scratch", workers=2)
    plain = ingest(config.model_copy(update={"root": flickr_tree}), tmp_path / "plain", tmp_path, workers=2)
    assert card == plain
    np.testing.assert_equal(_files(tmp_path / "packed"), _files(tmp_path / "plain"))


def test_what_is_unpacked_already_is_not_unpacked_again(emotic_tree, tmp_path):
    root = tmp_path / "download"
    root.mkdir()
    unpacked(_pack(root / "emotic.zip", emotic_tree), root)
    assert unpacked(root, tmp_path / "out") == root
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(6):
        (source / f"{number}.txt").write_text("photo" * number)
    archive = _pack(tmp_path / "a.tar", source)
    written = []
    copy = archives.shutil.copyfileobj

    def dies_in_the_fourth(reading, writing, length):
        written.append(len(written))
        if len(written) == 4:
            writing.write(b"pho")
            raise KeyboardInterrupt
        copy(reading, writing, length)

    monkeypatch.setattr(archives.shutil, "copyfileobj", dies_in_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        unpacked(archive, tmp_path / "out")
    assert _files(unpacked(archive, tmp_path / "out")) == _files(source)
    assert len(written) == 4 + 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "../evil.txt"}, "outside its folder"),
        ({"name": "a/../../evil.txt"}, "outside its folder"),
        ({"name": "/evil.txt"}, "outside its folder"),
        ({"name": "C:\\evil.txt"}, "outside its folder"),
        ({"name": "..\\evil.txt"}, "outside its folder"),
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "link or device"),
        ({"type": tarfile.LNKTYPE, "linkname": "../evil.txt"}, "link or device"),
        ({"type": tarfile.CHRTYPE}, "link or device"),
        ({"type": tarfile.FIFOTYPE}, "link or device"),
    ],
)
def test_hostile_members_are_refused(tmp_path, fields, message):
    archive = _hostile_tar(tmp_path / "a.tar", **fields)
    with pytest.raises(DatasetError, match=message):
        unpacked(archive, tmp_path / "deep" / "out")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a.tar"]


def test_zips_are_held_to_the_same_rules(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    for number, info in enumerate((zipfile.ZipInfo("../evil.txt"), link)):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as zipped:
            zipped.writestr(info, "/etc/passwd")
        with pytest.raises(DatasetError, match=r"outside its folder|link or device"):
            unpacked(tmp_path / f"{number}.zip", tmp_path / "out")
    assert _files(tmp_path / "out") == {}


def test_bombs_are_refused_before_they_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "RATIO_FLOOR", 2**12)
    source = tmp_path / "source"
    source.mkdir()
    (source / "zeros").write_bytes(bytes(2**20))
    for suffix in (".zip", ".tgz"):
        with pytest.raises(DatasetError, match="unpacks to at least 1048576 bytes"):
            unpacked(_pack(tmp_path / f"bomb{suffix}", source), tmp_path / "out")
    monkeypatch.setattr(archives, "RATIO_FLOOR", 2**30)
    monkeypatch.setattr(archives, "MAX_BYTES", 2**19)
    with pytest.raises(DatasetError, match="unpacks to at least"):
        unpacked(tmp_path / "bomb.zip", tmp_path / "out")
    assert _files(tmp_path / "out") == {}
    monkeypatch.setattr(archives, "MAX_MEMBERS", 0)
    with pytest.raises(DatasetError, match="more than 0 files"):
        unpacked(tmp_path / "bomb.zip", tmp_path / "out")


@pytest.mark.parametrize("suffix", archives.SUFFIXES)
def test_damaged_archives_are_one_sentence(emotic_tree, tmp_path, suffix):
    archive = _pack(tmp_path / f"a{suffix}", emotic_tree)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(DatasetError, match="download it again"):
        unpacked(archive, tmp_path / "out")
    archive.write_bytes(b"this is no archive")
    with pytest.raises(DatasetError, match="download it again"):
        unpacked(archive, tmp_path / "out")


def test_links_left_in_the_scratch_folder_are_not_written_through(tmp_path):
    (tmp_path / "source" / "inner").mkdir(parents=True)
    (tmp_path / "source" / "inner" / "a.txt").write_text("new")
    (tmp_path / "precious").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "inner").symlink_to(tmp_path / "precious")
    with pytest.raises(DatasetError, match="links out of itself"):
        unpacked(_pack(tmp_path / "a.zip", tmp_path / "source"), tmp_path / "out")
    assert _files(tmp_path / "precious") == {}


def test_the_identity_is_the_archives_content(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"one")
    before = source_identity(IngestConfig(root=tmp_path / "a.zip"))
    (tmp_path / "a.zip").rename(tmp_path / "b.zip")
    assert source_identity(IngestConfig(root=tmp_path / "b.zip")) == before
    (tmp_path / "b.zip").write_bytes(b"two")
    assert source_identity(IngestConfig(root=tmp_path / "b.zip")) != before
