"""The processes that decode pictures: how they come, go, and keep to themselves."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image
from support.picture_files import scans

from mmer_core.confined import picture_limits as limits
from mmer_core.confined import picture_process, pictures
from mmer_core.confined.pictures import UnreadableImageError, decoded, decoded_each
from mmer_core.errors import EngineError


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (30, 20), (1, 2, 3)).save(path)
    return path


@pytest.fixture
def child(photo):
    """The only one there is, waiting."""
    pictures.end_all()
    decoded(photo)
    (one,) = pictures._waiting
    yield one
    pictures.end_all()


def gone(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_children_start_without_heavy_libraries():
    code = "import sys, mmer_core.confined.picture_child; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {"torch", "numpy", "pandas", "pyarrow", "scipy", "cv2", "PIL.EpsImagePlugin"} & set(loaded)


def test_a_child_knows_nothing_that_it_does_not_need(child, photo, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with (tmp_path / "open").open("w") as handed_on:
        os.set_inheritable(handed_on.fileno(), True)
        pictures.end_all()
        decoded(photo)
    (pid,) = (one.pid for one in pictures._waiting)
    assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()
    held = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    assert str(tmp_path / "open") not in held
    assert all(one.startswith(("socket:", "/memfd:", "/dev/null")) for one in held)


@pytest.mark.parametrize("word", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_somebody_killed_is_replaced(child, photo, word):
    os.kill(child.pid, word)
    assert gone(child.pid)
    assert decoded(photo).shape == (20, 30, 4)


def test_ctrl_c_is_the_parents_affair(child, photo):
    os.kill(child.pid, signal.SIGINT)
    assert decoded(photo).shape == (20, 30, 4)
    assert list(pictures._waiting) == [child]


def test_a_decoder_that_hangs_is_ended(child, photo, monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.2)
    monkeypatch.setattr(picture_process, "_GRACE_SECONDS", 0.2)
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(UnreadableImageError, match=r"does not end within 0\.2 s"):
        decoded(photo)
    assert gone(child.pid)
    monkeypatch.undo()
    assert decoded(photo).shape == (20, 30, 4)


def test_decoding_can_be_called_off(tmp_path):
    white = Image.new("RGB", (6000, 6000), "white")
    (tmp_path / "slow.jpg").write_bytes(scans(white, 90))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(decoded, tmp_path / "slow.jpg")
        while not pictures._busy:
            time.sleep(0.01)
        time.sleep(0.2)
        pictures.end_all()
        with pytest.raises(UnreadableImageError, match="SIGKILL"):
            waiting.result(timeout=5)


def test_a_child_that_cannot_be_started_is_no_fault_of_the_photo(photo, monkeypatch):
    pictures.end_all()
    monkeypatch.setattr(picture_process, "_CHILD", "mmer_core.confined.missing")
    with pytest.raises(EngineError, match=r"No module named mmer_core\.confined\.missing"):
        decoded(photo)


def test_what_fails_in_the_parent_leaves_no_answers_behind(tmp_path):
    paths = []
    for shade in range(40):
        paths.append(tmp_path / f"{shade}.png")
        Image.new("RGB", (300, 200), (shade, 0, 0)).save(paths[-1])

    def use(pixels):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decoded_each(paths, use)
    assert decoded(paths[7])[0, 0, 0] == 7


def test_many_threads_get_their_own_pictures(tmp_path):
    paths = []
    for shade in range(60):
        paths.append(tmp_path / f"{shade}.jpg")
        size = (40 + 7 * shade, 300) if shade % 9 else (2500, 2000)  # some have no room beside others
        Image.new("RGB", size, (4 * shade, 0, 0)).save(paths[-1], quality=100)

    def shades(some):
        return decoded_each(some, lambda pixels: (pixels.shape[1], int(pixels[..., 0].mean().round())))

    with ThreadPoolExecutor(6) as pool:
        found = [one for part in pool.map(shades, [paths[at::6] for at in range(6)]) for one in part]
    expected = [(40 + 7 * n if n % 9 else 2500, 4 * n) for start in range(6) for n in range(start, 60, 6)]
    assert [width for width, _ in found] == [width for width, _ in expected]
    assert max(abs(a - b) for (_, a), (_, b) in zip(found, expected, strict=True)) <= 1


def test_pixels_stay_as_they_are_for_as_long_as_they_are_held(tmp_path):
    pictures.end_all()
    shades = range(60)
    for shade in shades:
        Image.new("RGB", (30, 20), (shade, 0, 0)).save(tmp_path / f"{shade}.png")
    held = [decoded(tmp_path / f"{shade}.png") for shade in shades]
    assert len(pictures._busy) <= pictures._MOST + 1, "children do not pile up"
    assert (
        [int(one[..., 0].max()) for one in held] == [int(one[..., 0].min()) for one in held] == list(shades)
    )
    part = held[0][3:4]
    del held
    decoded(tmp_path / "9.png")
    assert not part[..., 0].any()


_PARENT = """
import os, sys, time
from pathlib import Path
from mmer_core.confined.pictures import decoded, _waiting
photo = Path(sys.argv[1])
decoded(photo)
print(_waiting[0].pid, flush=True)
copy = os.fork()
if not copy:
    assert not _waiting
    decoded(photo)
    print(_waiting[0].pid, flush=True)
    os._exit(0) if sys.argv[2] == "exit" else time.sleep(60)
if sys.argv[2] == "exit":
    os.waitpid(copy, 0)
    assert decoded(photo).shape == (20, 30, 4)
    print(_waiting[0].pid, copy, flush=True)
else:
    print(copy, flush=True)
    time.sleep(60)
"""


def _parent(photo: Path, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", _PARENT, str(photo), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_forked_copy_has_children_of_its_own(photo):
    process = _parent(photo, "exit")
    out, errors = process.communicate(timeout=60)
    first, second, last, _ = map(int, out.split())
    assert (process.returncode, errors) == (0, "")
    assert first == last != second
    assert all(map(gone, (first, second)))


def test_children_do_not_outlive_a_killed_parent(photo):
    process = _parent(photo, "stay")
    assert process.stdout is not None
    first, *others = (int(process.stdout.readline()) for _ in range(3))
    process.kill()
    process.wait()
    assert gone(first), "a forked copy of its parent does not keep it"
    for pid in others:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert all(map(gone, others))


def test_nothing_is_left_open(photo):
    """In a process of its own: in this one other tests open and close files."""
    code = """
import os, sys
from pathlib import Path
from mmer_core.confined import pictures
def handles():
    pictures.end_all()
    assert pictures.decoded(Path(sys.argv[1])).flags.writeable
    return len(os.listdir("/proc/self/fd"))
counts = [handles() for _ in range(6)]
assert len(set(counts)) == 1, counts
"""
    subprocess.run([sys.executable, "-c", code, str(photo)], check=True)


def test_shared_memory_never_shrinks_beneath_a_child(child, tmp_path):
    Image.new("RGB", (5000, 5000)).save(tmp_path / "cut.jpg")
    os.truncate(tmp_path / "cut.jpg", 50_000)
    with pytest.raises(UnreadableImageError, match="truncated"):
        decoded(tmp_path / "cut.jpg")  # its memory was made before
    Image.new("RGB", (30, 20), "white").save(tmp_path / "small.jpg")
    assert decoded((tmp_path / "small.jpg").read_bytes() + bytes(2**25)).shape == (20, 30, 4)
    Image.new("RGB", (4900, 4900), "white").save(tmp_path / "large.jpg")
    assert decoded(tmp_path / "large.jpg").min() == 255
    assert list(pictures._waiting) == [child], "it has lived through all of it"


def test_children_that_start_ahead_are_those_that_are_asked(photo):
    pictures.end_all()
    pictures.start_ahead(2)
    begun = list(pictures._starting)
    pictures.start_ahead(2)  # both are on their way already
    assert list(pictures._starting) == begun
    ahead = {one.result().child.pid for one in begun}
    del begun
    held = [decoded(photo), decoded(photo)]
    assert not pictures._starting
    assert [one.shape for one in held] == [(20, 30, 4)] * 2
    del held
    assert ahead == {child.pid for child in pictures._waiting}
    pictures.start_ahead(2)  # both wait already
    assert not pictures._starting
    pictures.end_all()


def test_a_child_that_cannot_start_ahead_is_an_error_for_who_needs_it(photo, monkeypatch):
    pictures.end_all()
    monkeypatch.setattr(picture_process, "_CHILD", "mmer_core.confined.no_such_child")
    pictures.start_ahead(1)
    with pytest.raises(EngineError, match="no_such_child"):
        decoded(photo)
    monkeypatch.undo()
    assert decoded(photo).shape == (20, 30, 4)
