"""What goes wrong in a reader of outside files, each in a function of its own; called in child processes."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def sound(path: Path) -> Iterator[Any]:
    os.write(1, b"!what a native library prints is no answer\n")
    yield [path.read_text(), float("inf"), None, {"a": b"\x00"}]


def raises(path: Path) -> Iterator[Any]:
    yield 1
    raise RuntimeError("bad\nmagic")


def crashes(path: Path) -> Iterator[Any]:
    yield 1
    os.kill(os.getpid(), signal.SIGSEGV)


def takes_memory(path: Path) -> Iterator[Any]:
    yield len(bytes(2**31))


def takes_time(path: Path) -> Iterator[Any]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    time.sleep(600)
    yield 1


def answers_for_ever(path: Path) -> Iterator[Any]:
    while True:
        yield []


def answers_one_long_line(path: Path) -> Iterator[Any]:
    yield "x" * 2**27


def ends(path: Path) -> Iterator[Any]:
    os._exit(0)
    yield 1
