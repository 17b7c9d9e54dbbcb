"""Events for people and machines: records of the logger ``mmer``, as text or as one JSON object per line.

Commands print warnings, or all events if ``MMER_LOG`` is set. Library code prints nothing unless the application
configures the logger ``mmer`` itself.
"""

import logging
import os
import sys
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from mmer_core.errors import ConfigError
from mmer_core.escaping import ascii_json, one_line

VARIABLE = "MMER_LOG"
_FORMS = ("json", "text")
_RUN = "MMER_RUN_ID"

_logger = logging.getLogger("mmer")
_logger.addHandler(logging.NullHandler())  # otherwise Python prints errors when logging is not configured
_identity: Callable[[], Mapping[str, str]] = dict


def event(message: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log a sentence together with its data as fields: ``stage``, ``artifact``, ``sample``, ...

    The sentence is escaped for display, also by Prefect; the fields hold the data unchanged.
    """
    if _logger.isEnabledFor(level):
        _logger.log(level, "%s", one_line(message), extra={"mmer": {**_identity(), **fields}})


def requested_format() -> str | None:
    """The format in ``MMER_LOG``, ``json`` or ``text``; None if unset.

    Raises:
        ConfigError: It has another value.
    """
    form = os.environ.get(VARIABLE) or None
    if form not in (None, *_FORMS):
        raise ConfigError(f"{VARIABLE} is {form!r}: set it to json or text, or leave it out")
    return form


def start(identity: Callable[[], Mapping[str, str]]) -> None:
    """Print events to standard error in the `requested_format`, with the ids of the run in every record.

    Without a format, only warnings are printed, as sentences. A run without a server gets its id here, and passes it on
    to the processes that it starts.
    """
    global _identity
    form = requested_format()
    _identity = identity
    if any(isinstance(handler, _Handler) for handler in _logger.handlers):
        return
    _logger.removeHandler(_warnings)
    _logger.propagate = False  # otherwise Prefect prints the warnings again
    if form is None:
        _logger.addHandler(_warnings)
        return
    own_run()
    handler = _Handler()
    handler.setFormatter(formatter())
    _logger.addHandler(handler)
    _logger.setLevel(logging.DEBUG)


def formatter() -> logging.Formatter:
    """The formatter of the format in ``MMER_LOG``; text if unset."""
    return _Json() if requested_format() == "json" else _Text()


def own_run() -> str:
    """Id of this run of the command line, kept in ``MMER_RUN_ID``."""
    return os.environ.setdefault(_RUN, uuid.uuid4().hex)


class _Handler(logging.StreamHandler):
    """A class of its own, so that `start` recognises its handler."""


class _Warnings(logging.StreamHandler):
    """Prints warnings and errors as sentences on the current standard error."""

    def __init__(self) -> None:
        logging.Handler.__init__(self, logging.WARNING)  # StreamHandler would bind sys.stderr now
        self.setFormatter(_Text("mmer: %(message)s"))

    @property
    def stream(self) -> Any:
        return sys.stderr


class _Text(logging.Formatter):
    """Records as single lines of text, including exceptions."""

    def __init__(self, form: str = "%(asctime)s %(levelname)s %(message)s") -> None:
        super().__init__(form)

    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


_warnings = _Warnings()


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "message": one_line(record.getMessage()),
            **getattr(record, "mmer", {}),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return ascii_json(fields)
