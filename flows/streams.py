"""Standard output and error that are safe to write to, wherever they lead.

A closed pipe ends a command quietly, as it does other tools. A result that cannot be written is an error of one
sentence. Characters that the terminal's encoding lacks are shown with backslashes.
"""

import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from mmer_core.errors import MmerError

CLOSED_PIPE = 141
"""Exit code of a command that a closed pipe ends: 128 + SIGPIPE."""


class OutputError(MmerError):
    """Standard output cannot be written."""


class _Descriptor(io.FileIO):
    """A descriptor that reports its first failure and ignores later writes, so that nothing fails again at exit."""

    def __init__(self, descriptor: int, failed: Callable[[OSError], None]) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._failed = failed
        self._broken = False

    def write(self, data: bytes | memoryview) -> int | None:  # type: ignore[override]
        if not self._broken:
            try:
                return super().write(data)
            except OSError as error:
                self._broken = True
                self._failed(error)
        return memoryview(data).nbytes


def guard() -> None:
    """Replace this process's standard output and error, unless a caller has replaced them already."""
    _open_what_is_closed()
    if sys.stdout is sys.__stdout__:
        sys.stdout = _guarded(1, sys.stdout, _stop)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _guarded(2, sys.stderr, lambda error: None)  # there is nowhere to report it


def flush() -> None:
    """Write what is buffered while a failure can still be reported. Raises `OutputError`."""
    sys.stdout.flush()


def _stop(error: OSError) -> None:
    if isinstance(error, BrokenPipeError):
        raise SystemExit(CLOSED_PIPE)
    raise OutputError(
        f"cannot write to standard output ({error.strerror}); the answer is lost: free some space or write it elsewhere"
    ) from None


def _guarded(descriptor: int, stream: TextIO | None, failed: Callable[[OSError], None]) -> TextIO:
    raw = _Descriptor(descriptor, failed)
    at_once = bool(getattr(stream, "write_through", False))
    buffer: Any = raw if at_once else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer,
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=getattr(stream, "line_buffering", descriptor == 2),
        write_through=at_once,
    )


def _open_what_is_closed() -> None:
    """Open closed standard streams; otherwise the next file to be opened would take their place, and prints go into it.

    They are opened the wrong way round, as GNU's tools do: reading gives nothing, and writing fails.
    """
    for descriptor, way in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, way)  # takes the lowest number that is free
