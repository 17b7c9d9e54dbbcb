"""Retrieval figures of one configuration, over several seeds."""

import statistics
from typing import Any

from flows.jobs import train
from flows.terminal import progress_bars
from mmer_core.config import TrainJob
from mmer_core.evaluation.retrieval_metrics import METRICS
from mmer_core.stages import Context
from mmer_core.stages.evaluation import load_metrics
from mmer_core.store import ArtifactKey


def measure(job: TrainJob, seeds: int) -> list[dict[str, Any]]:
    """The ``metrics.json`` of a job run with ``seeds`` seeds, from its own on; what is in the store is reused."""
    results = []
    for seed in range(job.training.seed, job.training.seed + seeds):
        training = job.training.model_copy(update={"seed": seed})
        with progress_bars():
            key = ArtifactKey.parse(train.fn(job.model_copy(update={"training": training})).evaluation)
        results.append(load_metrics(Context(job.runtime).folder(key)))
    return results


def figures(results: list[dict[str, Any]]) -> dict[str, list[float]]:
    """By metric, its value for every seed."""
    return {name: [result["metrics"][name]["value"] for result in results] for name in METRICS}


def spread(values: list[float]) -> str:
    """Mean and standard deviation over the seeds, as a table shows them."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
