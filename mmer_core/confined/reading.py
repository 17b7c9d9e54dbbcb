"""One outside file read by a child process that lives for this file only, and may crash on it."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any

from mmer_core.confined import child
from mmer_core.confined.plain import from_line
from mmer_core.errors import DatasetError

SECONDS = 120.0
"""Time that a child has for a file, and a second more for every `BYTES_A_SECOND`."""
BYTES_A_SECOND = 2**20
MEMORY = 2**31
"""Private memory of a child, in bytes."""
ROW_WEIGHT, VALUE_WEIGHT = 512, 64
"""Bytes of memory that a line of the answer and each value in it take in the parent, beside their text."""
ANSWER_FLOOR = 2**27
"""Bytes of memory that the answer to any file may take in the parent, however small the file is."""
ANSWER_RATIO = 200
"""Larger answers may take so many times the bytes of the file: more than that is a bomb and no dataset."""

# Threads would only reserve memory, and Arrow's own allocators reserve a gigabyte before the first byte.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


def read_in_child(reader: str, path: Path, *, what: str, cure: str) -> Iterator[Any]:
    """The values that a function of a light module yields for a file, called in a child process.

    They come through a pipe as `mmer_core.confined.plain` describes; no pickle is read. The child is gone when the
    iterator ends or is closed.

    Args:
        reader: ``module:function``; the function takes a `Path` and yields values.
        what: What the file should be, for the error: "a MATLAB file".
        cure: What to do about the error: "download it again".

    Raises:
        DatasetError: The function raised, or the child crashed or exceeded a limit of time, memory or answer.
    """
    size = path.stat().st_size if path.is_file() else 0
    seconds = SECONDS + size / BYTES_A_SECOND
    command = [sys.executable, "-P", child.__file__, reader, str(path), str(seconds), str(MEMORY)]
    # Python's own path, as multiprocessing hands it on: mmer may run from a source tree. An empty entry is the
    # working folder.
    places = os.pathsep.join(place for place in sys.path if place and Path(place).is_absolute())
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": places},
    )
    assert process.stdout is not None
    room = max(ANSWER_FLOOR, ANSWER_RATIO * size)
    try:
        reason = yield from _values(process.stdout, room)
        if reason is None:
            reason = _ended(process.wait(), seconds)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    if reason:
        raise DatasetError(f"{path} cannot be read as {what} ({reason}): {cure}")


def _values(pipe: IO[bytes], room: int) -> Generator[Any, None, str | None]:
    """Yield the values; return the reason why there are no more: "" at the end, None when the child broke off."""
    while line := pipe.readline(room + 1):
        room -= len(line) + ROW_WEIGHT + VALUE_WEIGHT * line.count(b",")
        if room < 0:
            return "it expands to far more than its size: a bomb, or damaged"
        if not line.endswith(b"\n"):
            return None
        if line.startswith(b"="):
            yield from_line(line[1:])
        elif line.startswith(b"m"):
            return _too_much_memory()
        else:
            return line[1:].decode("utf-8").strip()
    return None


def _ended(code: int, seconds: float) -> str:
    if code == -signal.SIGALRM:
        return f"reading took longer than {seconds:.0f} s"
    if code == -signal.SIGKILL:
        return "its reader was killed, as happens when the machine is short of memory"
    if code < 0:
        return f"it makes its reader crash: {signal.Signals(-code).name}"
    return f"its reader ended with code {code}"


def _too_much_memory() -> str:
    return f"reading takes more than {MEMORY // 2**20} MB of memory"
