"""Small files that would take the machine: refused before they are decoded, or decoded within bounds."""

import os
import signal
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.picture_files import chunk, file_of, png, scans

from mmer_core.config import IngestConfig
from mmer_core.confined import picture_limits as limits
from mmer_core.confined import pictures
from mmer_core.confined.pictures import UnreadableImageError, decoded, decoded_each
from mmer_core.datasets.check import check
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.photos import resized

MEBI = 2**20
LITTLE = 100 * MEBI
"""More than the interpreter with its libraries takes, and less than any picture worth the name of a bomb."""


def peak(pid: int | str) -> int:
    """Most resident bytes of a process so far."""
    (line,) = (row for row in Path(f"/proc/{pid}/status").read_text().splitlines() if row.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


@pytest.fixture
def children():
    """None at the start, and none at the end."""
    pictures.end_all()
    yield lambda: [child.pid for child in (*pictures._waiting, *pictures._busy)]
    pictures.end_all()


def _flat(width: int, height: int, *, kind: int = 0, depth: int = 8) -> bytes:
    row = bytes(1 + width * depth * {0: 1, 2: 3, 6: 4}[kind] // 8)
    return png((width, height), row * height, kind=kind, depth=depth)


WHITE = Image.new("RGB", (1024, 1024), (250, 240, 230))
REFUSED = {
    "tall.png": (lambda: _flat(1, 8_388_608), "1x8388608 pixels: a side"),
    "wide.png": (lambda: _flat(8_388_608, 1), "8388608x1 pixels: a side"),
    "thin.png": (lambda: _flat(3, 4_000), "1000 times"),
    "large.png": (lambda: png((60_000, 60_000), b""), "3600000000 pixels"),
    "deep.png": (lambda: png((65_000, 65_000), b"", kind=6, depth=16), "pixels"),
    "large.webp": (lambda: file_of(Image.new("L", (9_000, 9_000)), "WEBP", lossless=True, method=0), "81000000 pixels"),
    "large.gif": (lambda: b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\0;", "pixels"),
    "large.bmp": (
        lambda: file_of(WHITE, "BMP").replace(b"\0\x04\0\0\0\x04\0\0", b"\0\0\x01\0\0\0\x01\0", 1),
        "65536x65536",
    ),
    "large.ppm": (lambda: b"P6 9000 9000 255\n", "81000000 pixels"),
    "scans.jpg": (lambda: scans(WHITE, 3_000), "more than 100 scans"),
    "cut-scans.jpg": (lambda: scans(WHITE, 3_000)[:-2], "more than 100 scans"),
    "profile.png": (
        lambda: png((9, 9), bytes(90), before=chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(300 * MEBI), 9))),
        "too large",
    ),
    "text.png": (
        lambda: png((9, 9), bytes(90), before=80 * chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(1_000_000)))),
        "Too much memory",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_bomb_is_refused_with_little_memory_and_work(name, tmp_path, children):
    make, why = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(make())
    with pytest.raises(UnreadableImageError, match=why):
        decoded(path)
    if name not in ("profile.png", "text.png"):  # which OpenCV does not unpack
        with pytest.raises(UnreadableImageError):
            decoded(path, how="opencv")
    (pid,) = children()
    assert peak(pid) < LITTLE
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    assert (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") < 2


def test_the_check_and_the_ingestion_agree_on_bombs(tmp_path):
    for name, (make, _) in REFUSED.items():
        (tmp_path / name).write_bytes(make())
    WHITE.save(tmp_path / "sound.png")
    rows = "".join(
        f"{at}-{split},{split},{name},x\n" for split in ("train", "val") for at, name in enumerate(REFUSED)
    )
    (tmp_path / "all.csv").write_text(f"id,split,image,text\n{rows}a,train,sound.png,x\nb,val,sound.png,y\n")
    config = IngestConfig(dataset="manifest", root=tmp_path / "all.csv")
    reported = check(config, tmp_path / "scratch", workers=2)
    card = ingest(config, tmp_path / "made", tmp_path / "scratch", workers=2)
    refused = [fault for fault in reported.faults if fault.reason == "unreadable_image"]
    assert len(refused) == card.quarantined["unreadable_image"] == 2 * len(REFUSED)
    assert reported.sound == sum(card.counts.values()) == 2


def test_a_deep_picture_takes_few_bytes_a_pixel(tmp_path, children):
    side = 4096
    (tmp_path / "deep.png").write_bytes(_flat(side, side, depth=16))
    assert decoded(tmp_path / "deep.png").shape == (side, side, 4)
    (pid,) = children()
    assert peak(pid) < LITTLE + 16 * side * side


def test_the_memory_of_large_pictures_is_given_back(tmp_path, children):
    Image.new("RGB", (6000, 6000)).save(tmp_path / "large.jpg")
    WHITE.save(tmp_path / "small.jpg")
    assert decoded(tmp_path / "large.jpg").nbytes == 4 * 6000**2
    (pid,) = children()

    def resident() -> int:
        return 4096 * int(Path(f"/proc/{pid}/statm").read_text().split()[1])

    assert resident() < LITTLE
    decoded(tmp_path / "small.jpg")
    assert resident() < LITTLE


def test_what_needs_too_much_memory_is_refused(tmp_path):
    path = tmp_path / "a.jpg"
    WHITE.save(path, progressive=True)
    os.truncate(path, 400 * MEBI)  # nothing but zeros, of which no block is stored
    with pytest.raises(UnreadableImageError, match="takes more than 280 MiB of memory"):
        decoded(path, most=MEBI)
    os.truncate(path, limits.MAX_FILE_BYTES + 1)
    with pytest.raises(UnreadableImageError, match="536870913 bytes"):
        decoded(path)


def test_what_needs_too_much_work_is_refused_and_its_neighbours_are_read(tmp_path, monkeypatch):
    (tmp_path / "slow.jpg").write_bytes(scans(WHITE.resize((6000, 6000)), 80))
    WHITE.save(tmp_path / "fine.jpg")
    paths = [tmp_path / name for name in ("fine.jpg", "slow.jpg", "fine.jpg", "none.jpg", "fine.jpg")]
    monkeypatch.setattr(limits, "CPU_SECONDS", 0.3)
    for how in ("pillow", "opencv"):
        found = decoded_each(
            paths, lambda one: str(one) if isinstance(one, Exception) else one.shape[:2], how=how
        )
        slow = "decoding it takes more than 0.3 s of computing"
        assert found == [(1024, 1024), slow, (1024, 1024), "the file does not exist", (1024, 1024)]


def test_a_picture_that_crashes_its_decoder_is_refused(tmp_path, children):
    (tmp_path / "slow.jpg").write_bytes(scans(WHITE.resize((6000, 6000)), 80))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(decoded, tmp_path / "slow.jpg")
        killed = set()
        while not waiting.done():
            for child in list(pictures._busy):
                killed.add(child.pid)
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGSEGV)
            time.sleep(0.02)
        with pytest.raises(UnreadableImageError, match=r"its decoder crashes \(SIGSEGV\)"):
            waiting.result()
    assert len(killed) == 2, "another child had tried"


def test_a_tall_picture_is_squeezed_without_a_wide_copy():
    clear = Path("/proc/self/clear_refs")
    tall = Image.new("RGB", (1, 2**21), (9, 99, 199))
    resized(tall, 16)
    clear.write_text("5")  # the peak starts anew
    before = peak("self")
    square = resized(tall, 224)
    assert peak("self") - before < LITTLE, "at a width of 224 it would take 1.9 GB"
    np.testing.assert_array_equal(square, np.broadcast_to(np.array([9, 99, 199]), (224, 224, 3)))
