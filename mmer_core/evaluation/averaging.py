"""The figures of one model over several trainings."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmer_core.evaluation.record import CategoryFigures, EvaluationRecord
from mmer_core.record import Interval
from mmer_core.statistics.trainings import OverTrainings, over_trainings

_NO_SHARES = {"vad_mae", "cider"}
"""Errors of ratings, and CIDEr-D, which can exceed 100."""


class Averaged(NamedTuple):
    """A record of means over trainings, and every metric with both of its standard deviations, by name."""

    record: EvaluationRecord
    metrics: dict[str, OverTrainings]


def average(records: Sequence[EvaluationRecord], confidence: float = 0.95) -> Averaged:
    """Means over trainings, with intervals of trainings and images, of metrics and of all that is known of single
    categories, ratings and streams. Analyses, calibration and confusion stay those of the first training.

    Args:
        records: Of trainings of one model, on the same split.
        confidence: Of their intervals, and of the means'.
    """
    first = records[0]
    if len(records) == 1:
        return Averaged(first, {})
    metrics = {
        name: over_trainings(
            [one.metrics[name] for one in records],
            confidence,
            percent=name not in _NO_SHARES and not _is_rank(name),
            least=1.0 if _is_rank(name) else 0.0,
        )
        for name in first.metrics
    }
    categories = zip(*(one.per_category for one in records), strict=True)
    ratings = zip(*(one.vad for one in records), strict=True)
    streams = {name: [one.per_stream[name] for one in records] for name in first.per_stream}

    def mean(figures: Sequence[Interval], *, percent: bool = True) -> Interval:
        return over_trainings(figures, confidence, percent=percent).interval

    record = first.model_copy(
        update={
            "metrics": {name: found.interval for name, found in metrics.items()},
            "per_category": tuple(_category(each, mean([one.ap for one in each])) for each in categories),
            "vad": tuple(
                each[0].model_copy(update={"mae": mean([one.mae for one in each], percent=False)})
                for each in ratings
            ),
            "per_stream": {
                name: each[0].model_copy(
                    update={
                        "map": mean([one.map for one in each]),
                        "vad_mae": mean([one.vad_mae for one in each if one.vad_mae], percent=False)
                        if each[0].vad_mae
                        else None,
                        "ap": tuple(_mean(values) for values in zip(*(one.ap for one in each), strict=True)),
                    }
                )
                for name, each in streams.items()
            },
        }
    )
    return Averaged(record, metrics)


def _is_rank(metric: str) -> bool:
    """Ranks count from 1; of the other metrics all but `_NO_SHARES` lie in 0..100."""
    return metric.endswith("_median_rank")


def _category(trainings: Sequence[CategoryFigures], ap: Interval) -> CategoryFigures:
    names = ("precision", "recall", "f1", "accuracy", "threshold")
    means = {name: _mean([getattr(one, name) for one in trainings]) for name in names}
    return trainings[0].model_copy(update={"ap": ap, **means})


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
