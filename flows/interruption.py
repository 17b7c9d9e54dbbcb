"""Ctrl-C and SIGTERM: one sentence, exit code 130 or 143, and no waiting for work that nobody wants any more."""

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_signalled: int | None = None


def signalled() -> int | None:
    """The signal that asked this command to end, if one did."""
    return _signalled


@contextmanager
def watched() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at the first SIGINT or SIGTERM; the second of them ends the process at once.

    Signals that are ignored (a command in the background of a script) or handled by somebody else stay as they are.
    """
    global _signalled
    _signalled = None
    before = {}
    if threading.current_thread() is threading.main_thread():
        usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        for number, handler in usual.items():
            if signal.getsignal(number) is handler:
                before[number] = signal.signal(number, _first)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first(number: int, frame: FrameType | None) -> None:
    global _signalled
    _signalled = number
    # Native code may keep Python from running a handler: the second signal is not left to one.
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, signal.SIG_DFL)
    raise KeyboardInterrupt


def leave(code: int) -> NoReturn:
    """End the process. Threads are not waited for: what they have not published is done again by the next run.

    Not by `sys.exit`: where an interruption passed an `exec` of source text (dataclasses and named tuples are made so),
    Python 3.11 takes it for unhandled, and ends `python -m flows.cli` by SIGINT whatever the exit code is.
    """
    logging.disable()  # that a worker is killed is no news now
    atexit._run_exitfuncs()  # ends child processes
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
