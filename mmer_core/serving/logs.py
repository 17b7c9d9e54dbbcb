"""Uvicorn's log messages, which quote client data, as our own records: one line each, without control characters."""

from mmer_core.log import formatter

LOG_CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"mmer": {"()": formatter}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "mmer"}},
    "loggers": {"uvicorn": {"handlers": ["stderr"], "propagate": False}},
}
