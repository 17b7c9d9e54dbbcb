"""The jobs as Prefect flows: a worker imports one by its name here, ``flows.deployed.train``."""

from typing import Any

from flows.job_table import JOBS, load


def __getattr__(name: str) -> Any:
    for job in JOBS:
        if job.name.replace("-", "_") == name:
            return load(job.flow).prefect
    raise AttributeError(name)
