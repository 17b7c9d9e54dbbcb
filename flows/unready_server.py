"""A Prefect server that does not answer yet, or answers 5xx: how long and how often it is asked again."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import httpx
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.output import say
from mmer_core.errors import EngineError

_PAUSE_SECONDS = 2.0
_Result = TypeVar("_Result")


def until_it_answers(work: Callable[[], _Result], api: str, seconds: float) -> _Result:
    """Do all of ``work`` again while the server at ``api`` is not ready; doing it twice must do no harm.

    Prefect's client repeats single requests by itself, for more than a minute each and in silence. It does not do so
    here, so that the time is that which was asked for and somebody learns what is waited for.

    Args:
        seconds: No new try begins later than that; 0 for one try.

    Raises:
        EngineError: The server was not ready in time.
    """
    deadline = time.monotonic() + seconds
    reported = ""
    while True:
        try:
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
                return work()
        except Exception as error:
            reason = _unready(error)
            if reason is None:
                raise
            if time.monotonic() + _PAUSE_SECONDS > deadline:
                raise EngineError(
                    f"the Prefect server at {api} {reason}, for {seconds:g} s: look at its log and at its database, "
                    "which has to be reachable and encoded in UTF-8, or wait longer with --wait"
                ) from error
        if reason != reported:
            say(f"waiting up to {seconds:g} s for the Prefect server at {api}, which {reason}", error=True)
            reported = reason
        time.sleep(_PAUSE_SECONDS)


def _unready(error: BaseException) -> str | None:
    """What the server does instead of answering; None for an error that waiting does not cure."""
    for one in _causes(error):
        if isinstance(one, httpx.HTTPStatusError):
            return f"answers {one.response.status_code}" if one.response.status_code >= 500 else None
        if isinstance(one, httpx.TransportError):
            return "does not answer"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was made of: Prefect wraps those of HTTP."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
