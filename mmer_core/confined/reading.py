"""Reading one external file in a child process of its own, which may crash on it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mmer_core.confined import child
from mmer_core.confined.plain import from_line
from mmer_core.errors import MmerError

BYTES_A_SECOND = 2**20
"""Bytes of a file that allow its child one more second."""
ROW_WEIGHT, VALUE_WEIGHT = 512, 64
"""Bytes of memory in the parent for each line of the answer and each value in it, in addition to their text."""
ANSWER_FLOOR = 2**27
"""Bytes of memory that the answer to any file may take in the parent, however small the file is."""
ANSWER_RATIO = 200
"""Larger answers may take this many times the file's size; beyond that, the file is a bomb rather than a dataset."""

_SHORT_OF_MEMORY = "memory"
# Threads would only reserve memory, and Arrow's own allocators reserve a gigabyte up front.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


@dataclass(frozen=True)
class Limits:
    """Limits of a child: wall-clock time (extended for a large file), and bytes of private memory."""

    seconds: float = 120.0
    memory: int = 2**31


def read_in_child(
    reader: str, path: Path, refuse: Callable[[str], MmerError], limits: Limits = Limits()
) -> Iterator[Any]:
    """Yield the values that a function of a light module yields for a file, called in a child process.

    They come through a pipe, encoded by `mmer_core.confined.plain`; no pickle is read. The child ends when the
    iterator is exhausted or closed.

    Args:
        reader: ``module:function``; the function takes a `Path` and yields values.
        refuse: Makes the error from a reason: the function raised, or the child crashed or exceeded a limit of
            time, memory or answer size.
    """
    size = path.stat().st_size if path.is_file() else 0
    seconds = limits.seconds + size / BYTES_A_SECOND
    command = [sys.executable, "-P", child.__file__, reader, str(path), str(seconds), str(limits.memory)]
    # Pass on Python's own path, as multiprocessing does: mmer may run from a source tree. An empty entry would be the
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
        elif reason == _SHORT_OF_MEMORY:
            reason = f"reading takes more than {limits.memory // 2**20} MB of memory"
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    if reason:
        raise refuse(reason)


def _values(pipe: IO[bytes], room: int) -> Generator[Any, None, str | None]:
    """Yield the values; return the reason for the end: "" if complete, None if the child stopped prematurely."""
    while line := pipe.readline(room + 1):
        room -= len(line) + ROW_WEIGHT + VALUE_WEIGHT * line.count(b",")
        if room < 0:
            return "it expands to far more than its size: a bomb, or damaged"
        if not line.endswith(b"\n"):
            return None
        if line.startswith(b"="):
            yield from_line(line[1:])
        elif line.startswith(b"m"):
            return _SHORT_OF_MEMORY
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
