"""What happens, for people and for machines: records of the logger ``mmer``, as text or as one JSON object a line.

Commands print warnings, and all of it where ``MMER_LOG`` asks for that. Elsewhere nothing is printed unless an application
sets up the logger ``mmer`` itself.
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
_logger.addHandler(logging.NullHandler())  # or Python would print the errors where nobody set logging up
_identity: Callable[[], Mapping[str, str]] = dict


def event(message: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log a sentence, with the same as fields for machines: ``stage``, ``artifact``, ``sample``, ...

    The sentence is escaped for whoever shows it, in Prefect too; the fields hold data as they are.
    """
    if _logger.isEnabledFor(level):
        _logger.log(level, "%s", one_line(message), extra={"mmer": {**_identity(), **fields}})


def wanted() -> str | None:
    """``json`` or ``text`` where ``MMER_LOG`` asks for one of them.

    Raises:
        ConfigError: It asks for something else.
    """
    form = os.environ.get(VARIABLE) or None
    if form not in (None, *_FORMS):
        raise ConfigError(f"{VARIABLE} is {form!r}: set it to json or text, or leave it out")
    return form


def start(identity: Callable[[], Mapping[str, str]]) -> None:
    """Print what `wanted` says to standard error from now on, with the ids of the run in every record.

    Where it says nothing, warnings are printed as sentences. The id of a run without a server is made here, and processes
    that it starts have the same.
    """
    global _identity
    form = wanted()
    _identity = identity
    if any(isinstance(handler, _Handler) for handler in _logger.handlers):
        return
    _logger.removeHandler(_warnings)
    _logger.propagate = False  # Prefect prints all warnings, too
    if form is None:
        _logger.addHandler(_warnings)
        return
    own_run()
    handler = _Handler()
    handler.setFormatter(formatter())
    _logger.addHandler(handler)
    _logger.setLevel(logging.DEBUG)


def formatter() -> logging.Formatter:
    """What makes a line of a record, as ``MMER_LOG`` asks for it; text where it asks for nothing."""
    return _Json() if wanted() == "json" else _Text()


def own_run() -> str:
    """Id of this run of the command line, in ``MMER_RUN_ID``."""
    return os.environ.setdefault(_RUN, uuid.uuid4().hex)


class _Handler(logging.StreamHandler):
    """To be known again."""


class _Warnings(logging.StreamHandler):
    """Warnings and errors as sentences, on what is standard error by then."""

    def __init__(self) -> None:
        logging.Handler.__init__(self, logging.WARNING)  # that of a stream would keep one
        self.setFormatter(_Text("mmer: %(message)s"))

    @property
    def stream(self) -> Any:
        return sys.stderr


class _Text(logging.Formatter):
    """Records as text, each on a line of its own, its exception included."""

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
