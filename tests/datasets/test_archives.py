import gzip
import io
import os
import struct
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


def _header(kind: bytes, size: int, name: str = "header", content: bytes = b"") -> bytes:
    """A header that may announce more than there is, with its content padded."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"%011o\0" % size if size >= 0 else b"\xff" * 4 + size.to_bytes(8, "big", signed=True)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + content + bytes(-len(content) % 512)


def _record(key: str, value: str) -> bytes:
    length = next(n for n in range(5, 99999) if len(f"{n} {key}={value}\n".encode()) == n)
    return f"{length} {key}={value}\n".encode()


def _said(content: bytes) -> bytes:
    return _header(b"x", len(content), content=content)


_FILE = _header(b"0", 3, "a.jpg", b"abc")
_HOSTILE_TARS = {
    "an announced gigabyte": (_header(b"x", 2**30) + bytes(2**20), "an extended header of 1073741824 bytes"),
    "an announced gigabyte for all": (_header(b"g", 2**30) + bytes(2**20), "an extended header of"),
    "a name of a gigabyte": (_header(b"L", 2**30) + bytes(2**20), "an extended header of 1073741824 bytes"),
    "a link's name of a gigabyte": (_header(b"K", 2**30) + bytes(2**20), "an extended header of"),
    "a header that is cut": (_header(b"x", 2000) + bytes(100), "in the middle of a header"),
    "a size below zero": (_header(b"0", -512), "a size below zero"),
    "a header's size below zero": (_header(b"x", -512), "a size below zero"),
    "records without an end": (_said(b"9" * 5000) + _FILE, "an extended header that cannot be read"),
    "records that go nowhere": (_said(b"0 a=b\n" * 50) + _FILE, "an extended header that cannot be read"),
    "a record below zero": (_said(b"-9 a=b\n" * 50) + _FILE, "an extended header that cannot be read"),
    "a huge size": (_said(_record("size", "9" * 30)) + _FILE, "an extended header that cannot be read"),
    "a terabyte to skip": (_said(_record("size", str(2**40))) + _FILE, "unpacks to at least"),
    "a sparse file": (_header(b"S", 0, "a.jpg"), "a sparse file"),
    "a sparse file by pax": (_said(_record("GNU.sparse.major", "1")) + _FILE, "a sparse file"),
    "a path by pax": (_said(_record("path", "../a.jpg")) + _FILE, "outside its folder"),
    "a path with NUL": (_said(_record("path", "a\0b.jpg")) + _FILE, "outside its folder"),
    "a path by GNU": (_header(b"L", 9, content=b"/etc/abcd") + _FILE, "outside its folder"),
    "a long name": (_said(_record("path", "ä" * 128)) + _FILE, "a name of more than 255 bytes"),
    "a name twice": (_FILE + _FILE, "holds 'a.jpg' twice"),
    "a name twice, in two spellings": (_FILE + _header(b"0", 3, "./a.jpg", b"abd"), "twice"),
    "damage behind a file": (_FILE + b"x" * 512, "bad checksum|invalid header|download it again"),
    "xz": (b"\xfd7zXZ\0\0\0", "compressed by xz"),
}


@pytest.mark.parametrize(("content", "message"), _HOSTILE_TARS.values(), ids=_HOSTILE_TARS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_hostile_tars_are_one_sentence(tmp_path, content, message, packed):
    archive = tmp_path / "a.tar"
    archive.write_bytes(gzip.compress(content) if packed and "xz" not in message else content)
    with pytest.raises(DatasetError, match=message) as caught:
        unpacked(archive, tmp_path / "out")
    assert str(caught.value).startswith(f"{archive} ")
    assert "\n" not in str(caught.value)


def test_tars_of_every_kind_and_long_names_are_read(tmp_path):
    names = ["a.txt", "b" * 120 + ".txt", "c" * 90 + "/" + "d" * 200, "ü.txt"]
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        for mode in ("w", "w:gz", "w:bz2"):
            path = tmp_path / f"{kind}{mode[2:]}.tar"
            wanted = {}
            with tarfile.open(
                path, mode, format=kind, pax_headers={"comment": "a"} if kind == 2 else None
            ) as tar:
                for name in names[: 2 if kind == tarfile.USTAR_FORMAT else None]:
                    name = name[:99] if kind == tarfile.USTAR_FORMAT else name
                    wanted[name] = name.encode() * 300
                    info = tarfile.TarInfo(name)
                    info.size = len(wanted[name])
                    tar.addfile(info, io.BytesIO(wanted[name]))
                folder = tarfile.TarInfo("empty")
                folder.type = tarfile.DIRTYPE
                tar.addfile(folder)
            assert _files(unpacked(path, tmp_path / f"out {path.name}")) == wanted


def _zip(*names: str, content: bytes = b"abc") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in names:
            zipped.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def _at(data: bytes, mark: bytes, offset: int, value: bytes) -> bytes:
    """All headers of a kind with other bytes at an offset."""
    parts = data.split(mark)
    return mark.join(
        [parts[0], *(part[: offset - 4] + value + part[offset - 4 + len(value) :] for part in parts[1:])]
    )


_LOCAL, _CENTRAL, _END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_SOUND = _zip("a.jpg", "b.jpg")
_HOSTILE_ZIPS: dict[str, tuple[bytes, str]] = {
    "encrypted": (_at(_SOUND, _CENTRAL, 8, b"\1\0"), "is encrypted: unpack it yourself"),
    "LZMA with a huge dictionary": (_at(_SOUND, _CENTRAL, 10, b"\x0e\0"), "compressed by method 14"),
    "an unknown method": (_at(_SOUND, _CENTRAL, 10, b"\x63\0"), "compressed by method 99"),
    "a size that is too small": (_at(_SOUND, _CENTRAL, 24, struct.pack("<I", 1)), "download it again"),
    "a size that is too large": (_at(_SOUND, _CENTRAL, 24, struct.pack("<I", 99)), "download it again"),
    "a name twice": (_zip("a.jpg", "a.jpg"), "twice"),
    "a name that is cut": (_at(_zip("a.jpg\x01.txt"), _CENTRAL, 51, b"\0"), "outside its folder"),
    "a long name": (_zip("a" * 300), "a name of more than 255 bytes"),
    "a list of contents of gigabytes": (_at(_SOUND, _END, 12, struct.pack("<II", 2**31, 0)), "a.zip"),
    "overlapping files": (_at(_SOUND, _CENTRAL, 42, struct.pack("<I", 0)), "download it again"),
    "an offset out of the file": (_at(_SOUND, _CENTRAL, 42, struct.pack("<I", 2**31)), "download it again"),
    "a terabyte by zip64": (
        _at(_at(_SOUND, _CENTRAL, 24, b"\xff" * 4), _CENTRAL, 30, b"\0\0"), "unpacks to at least 4294967295|download"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), _HOSTILE_ZIPS.values(), ids=_HOSTILE_ZIPS)
def test_hostile_zips_are_one_sentence(tmp_path, content, message):
    archive = tmp_path / "a.zip"
    archive.write_bytes(content)
    with pytest.raises(DatasetError, match=message) as caught:
        unpacked(archive, tmp_path / "out")
    assert str(caught.value).startswith(f"{archive} ")
    assert "\n" not in str(caught.value)


def test_a_long_list_of_contents_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_DIRECTORY", 2**17)
    (tmp_path / "a.zip").write_bytes(_zip(*map(str, range(3000)), content=b""))
    with pytest.raises(DatasetError, match="a list of contents of"):
        unpacked(tmp_path / "a.zip", tmp_path / "out")


def test_empty_folders_without_end_are_refused(tmp_path, monkeypatch):
    """They are no files, but take time: half a kilobyte each, and nearly nothing when packed."""
    monkeypatch.setattr(archives, "RATIO_FLOOR", 2**16)
    folder = _header(b"5", 0, "folder")
    (tmp_path / "a.tgz").write_bytes(gzip.compress(folder * 2**17))
    with pytest.raises(DatasetError, match="unpacks to at least"):
        unpacked(tmp_path / "a.tgz", tmp_path / "out")
