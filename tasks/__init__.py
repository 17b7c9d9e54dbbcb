"""Prefect tasks: retries, tags, progress and artifacts around one call of `mmer_core.stages` each."""

from contextlib import suppress

from mmer_core.errors import ConfigError
from tasks import logs

# Workers of Prefect, Dask and Ray have no command line of ours, only its environment.
with suppress(ConfigError):  # which the command line tells
    logs.start()
