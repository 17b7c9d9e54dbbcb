"""What Uvicorn logs, which quotes what visitors sent, as our own records: a line each, in which nothing acts."""

from mmer_core.log import formatter

LOG_CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"mmer": {"()": formatter}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "mmer"}},
    "loggers": {"uvicorn": {"handlers": ["stderr"], "propagate": False}},
}
