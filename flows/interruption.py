"""Ctrl-C and SIGTERM end a command with exit code 130 or 143, without waiting for unfinished work."""

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
    """The signal that interrupted this command, if any."""
    return _signalled


@contextmanager
def watched() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at the first SIGINT or SIGTERM; the second of them ends the process at once.

    Signals that are ignored (as in a script's background command) or have another handler are left alone.
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
    # Native code can keep Python from running a handler, so the second signal gets the default action.
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, signal.SIG_DFL)
    raise KeyboardInterrupt


def leave(code: int) -> NoReturn:
    """End the process without waiting for threads; the next run repeats what they have not published.

    `sys.exit` would not do: after an interruption inside an `exec` of source text (dataclasses and named tuples are made
    by one), Python 3.11 considers it unhandled and ends `python -m flows.cli` by SIGINT, whatever the exit code.
    """
    logging.disable()  # killed workers are expected now
    atexit._run_exitfuncs()  # ends child processes
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
