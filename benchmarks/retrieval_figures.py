"""Retrieval figures of one configuration, over several seeds."""

import statistics

from flows.jobs import train
from flows.terminal import progress_bars
from mmer_core.config import TrainJob
from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.evaluation.retrieval_metrics import METRICS
from mmer_core.stages import Context
from mmer_core.stages.evaluate import load_evaluation
from mmer_core.store import ArtifactKey


def measure(job: TrainJob, seeds: int) -> list[EvaluationRecord]:
    """The evaluation of a job for ``seeds`` seeds, starting with its own; results in the store are reused."""
    results = []
    for seed in range(job.training.seed, job.training.seed + seeds):
        training = job.training.model_copy(update={"seed": seed})
        with progress_bars():
            key = ArtifactKey.parse(train.fn(job.model_copy(update={"training": training})).evaluation)
        results.append(load_evaluation(Context(job.runtime).folder(key)))
    return results


def figures(results: list[EvaluationRecord]) -> dict[str, list[float]]:
    """The values of each metric for all seeds."""
    return {name: [float(result.metrics[name].value or 0) for result in results] for name in METRICS}


def spread(values: list[float]) -> str:
    """Mean and standard deviation over the seeds, formatted for a table."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
