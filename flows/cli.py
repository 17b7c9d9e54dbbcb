"""Entry point of `mmer`: interruptions, exit codes and error messages of every command.

The commands themselves are in `flows.commands`. Importing them takes seconds, and Ctrl-C has to work meanwhile: nothing
heavy is imported before interruptions are handled.
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
from mmer_core.errors import MmerError, UnexpectedError, sentence

_ENDED = {
    130: "interrupted; run the same command again to go on where it stopped",
    143: "ended by SIGTERM; run the same command again to go on where it stopped",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end with its exit code; an error is printed as one sentence."""
    streams.guard()
    try:
        with interruption.watched():
            code = _exit_code(arguments)
    except KeyboardInterrupt:
        code = 128 + (interruption.signalled() or signal.SIGINT)
        _print_error(_ENDED[code], code)
        if arguments is None:
            interruption.leave(code)
    if code:
        raise SystemExit(code)


def _exit_code(arguments: Sequence[str] | None) -> int:
    """Run the command, and print its error if it fails."""
    try:
        log.start(lambda: {"run": log.own_run()})
        _set_defaults()
        try:
            from flows import commands

            commands.run(sys.argv[1:] if arguments is None else arguments)
        finally:
            streams.flush()
    except Exception as error:
        # Libraries turn an interruption into exceptions of their own.
        if interruption.signalled() is not None:
            raise KeyboardInterrupt from None
        return _print_failure(error)
    return 0


def _set_defaults() -> None:
    """Quiet and offline by default. Prefect and torch read these when they are imported; the user's own values win."""
    for name, value in {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # Threads that spin while waiting slow down small trainings on a busy machine: 45 to 280 ms a step without this
        # and 24 to 32 with it, beside two busy processes on two cores; on an idle machine there is no difference.
        "OMP_WAIT_POLICY": "PASSIVE",
    }.items():
        os.environ.setdefault(name, value)
    if os.environ.get("PREFECT_API_URL"):  # the log of the stages appears in the run's log there
        os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "mmer")
        os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    if os.environ.get(log.VARIABLE) == "json":
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER", "json")


def _print_failure(error: Exception) -> int:
    """Print an error in one sentence; return the exit code."""
    expected = isinstance(error, MmerError | OSError) and not isinstance(error, UnexpectedError)
    return _print_error(
        sentence(error), where=None if expected else "".join(traceback.format_exception(error))
    )


def _print_error(message: str, code: int = 1, where: str | None = None) -> int:
    """Print the last sentence of a command on standard error, in the format of MMER_LOG; return the exit code."""
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
