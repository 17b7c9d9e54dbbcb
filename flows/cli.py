"""The `mmer` command: what happens around every command, whatever it does.

The commands themselves are in `flows.commands`. Importing them takes seconds in which somebody may lose patience, so
nothing heavy is imported before an interruption can be answered.
"""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from flows import interruption, streams
from flows.output import say
from mmer_core import log
from mmer_core.errors import MmerError

_ENDED = {
    130: "interrupted; run the same command again to go on where it stopped",
    143: "ended by SIGTERM; run the same command again to go on where it stopped",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `mmer` command: it ends with an exit code, and an error with one sentence."""
    streams.guard()
    try:
        with interruption.watched():
            code = _exit_code(arguments)
    except KeyboardInterrupt:
        code = 128 + (interruption.signalled() or signal.SIGINT)
        _tell(_ENDED[code], code)
        if arguments is None:
            interruption.leave(code)
    if code:
        raise SystemExit(code)


def _exit_code(arguments: Sequence[str] | None) -> int:
    """Run the command, and tell its error if it has one."""
    try:
        log.start(lambda: {"run": log.own_run()})
        _set_defaults()
        try:
            from flows import commands

            commands.run(sys.argv[1:] if arguments is None else arguments)
        finally:
            streams.flush()
    except Exception as error:
        # Libraries turn an interruption into errors of their own.
        if interruption.signalled() is not None:
            raise KeyboardInterrupt from None
        return _failed(error)
    return 0


def _set_defaults() -> None:
    """Quiet and offline; all of it must be set before Prefect and torch are imported, and none overrides the user."""
    for name, value in {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # Threads that spin while they wait slow small trainings down on a busy machine: 45 to 280 ms a step against
        # 24 to 32 with this, beside two busy processes on two cores, and nothing lost on a quiet one.
        "OMP_WAIT_POLICY": "PASSIVE",
    }.items():
        os.environ.setdefault(name, value)
    if os.environ.get("PREFECT_API_URL"):  # what stages tell goes into the run's log there
        os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "mmer")
        os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    if os.environ.get(log.VARIABLE) == "json":
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER", "json")


def _failed(error: Exception) -> int:
    """Tell an error in one sentence; return the exit code."""
    if isinstance(error, MmerError):
        return _tell(str(error))
    said = " ".join(str(error).split())
    if isinstance(error, OSError):
        return _tell(f"{said}; look at that file or folder, and run the same command again")
    return _tell(
        f"{type(error).__name__}: {said}; this is a fault of mmer itself: please report it with what "
        f"{log.VARIABLE}=text prints",
        where="".join(traceback.format_exception(error)),
    )


def _tell(message: str, code: int = 1, where: str | None = None) -> int:
    """The sentence that ends a command, on standard error, printed once, in the form that MMER_LOG asks for."""
    form = os.environ.get(log.VARIABLE)
    if form == "json":
        details = {} if where is None else {"traceback": where}
        log.event(message, level=logging.ERROR, exit_code=code, **details)
    else:
        if where is not None and form == "text":
            say(*where.splitlines(), error=True)
        say(f"mmer: {message}", error=True)
    return code


if __name__ == "__main__":
    main()
