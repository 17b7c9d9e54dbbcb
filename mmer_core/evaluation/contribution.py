"""What each modality adds to a model that can do without any of them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, combinations
from math import factorial

import numpy as np
import numpy.typing as npt

from mmer_core.config import EvaluationConfig
from mmer_core.evaluation.arrays import FloatArray, mean_where, scores_and_labels
from mmer_core.evaluation.emotion_metrics import SortedScores
from mmer_core.evaluation.record import Contribution, Leader, StreamContribution
from mmer_core.statistics.clusters import clusters_with
from mmer_core.statistics.multiplicity import holm
from mmer_core.statistics.resampling import resampled

Coalition = frozenset[str]


def coalitions(streams: Iterable[str]) -> list[Coalition]:
    """Every set of these streams but the empty one, small ones first."""
    names = list(streams)
    every = chain.from_iterable(combinations(names, size) for size in range(1, len(names) + 1))
    return [frozenset(members) for members in every]


def shapley(worth: Mapping[Coalition, FloatArray | float], players: Sequence[str]) -> dict[str, FloatArray]:
    """Exact Shapley value of every player: its mean marginal gain over all orders in which players may join.

    Shapley 1953, *A Value for n-Person Games*, https://doi.org/10.1515/9781400881970-018; for what inputs add
    to a model, Lundberg and Lee 2017, https://arxiv.org/abs/1705.07874. The values add up to the worth of all
    less the worth of none. Exact, because few streams make few sets: ``2^S``.

    Args:
        worth: Of every set of players, the empty one included; numbers, or arrays of one shape.
        players: All ``S`` of them.

    Raises:
        KeyError: A set has no worth.
    """
    values: dict[str, FloatArray] = {}
    for player in players:
        others = [name for name in players if name != player]
        total: FloatArray = np.zeros(())
        for without in [frozenset(), *coalitions(others)]:
            before, after = len(without), len(players) - len(without) - 1
            weight = factorial(before) * factorial(after) / factorial(len(players))
            total = total + weight * (np.asarray(worth[without | {player}]) - np.asarray(worth[without]))
        values[player] = total
    return values


def stream_contributions(
    scores: Mapping[Coalition, npt.ArrayLike],
    labels: npt.ArrayLike,
    names: Sequence[str],
    config: EvaluationConfig,
    clusters: npt.ArrayLike | None = None,
) -> Contribution:
    """What each stream adds to the mAP of an emotion model, in percentage points.

    The worth of a set of streams is the mAP of the model when it is given these only; of none, the mean
    prevalence, which is the mAP of a constant score. All intervals are over the same halves of the photos,
    so that differences are differences between what the same people got.

    Args:
        scores: Of every non-empty set of streams, ``(N, C)``.
        labels: ``(N, C)`` 0/1.
        names: ``C`` names of the categories.
        config: Resamples, confidence and seed of the intervals.
        clusters: ``(N,)`` the photo, or group, of each person; each their own when left out.

    Raises:
        ValueError: NaN, shapes that do not fit, or a set of streams without scores.
    """
    streams = sorted(frozenset().union(*scores), key=_usual_order)
    missing = [one for one in coalitions(streams) if one not in scores]
    if missing:
        raise ValueError(f"no scores for the streams {', '.join(sorted(missing[0]))}")
    rankings = {one: _rankings(scores[one], labels) for one in coalitions(streams)}
    truth = np.asarray(labels).astype(np.float64)
    everyone = np.ones((len(truth), 1))
    alone = np.stack([_ap(rankings[frozenset((name,))], everyone)[:, 0] for name in streams])  # (S, C)
    order = np.argsort(-np.nan_to_num(alone, nan=-1.0), axis=0, kind="stable")
    best, second = order[0], order[min(1, len(streams) - 1)]
    categories = np.arange(truth.shape[1])

    def statistic(weights: FloatArray) -> FloatArray:
        """``weights (N, R) -> (2 + 3 S + C, R)``."""
        ap = {one: _ap(ranking, weights) for one, ranking in rankings.items()}  # (C, R) each
        present = ~np.isnan(ap[frozenset(streams)])
        worth = {one: mean_where(values, present) for one, values in ap.items()}
        prevalence = 100 * truth.T @ weights / weights.sum(axis=0)
        worth[frozenset()] = mean_where(prevalence, present)
        whole = worth[frozenset(streams)]
        rows = [whole, worth[frozenset()]]
        values = shapley(worth, streams)
        for name in streams:
            rows += [
                worth[frozenset((name,))],
                whole - worth[frozenset(streams) - {name}],
                values[name],
            ]
        single = np.stack([ap[frozenset((name,))] for name in streams])  # (S, C, R)
        return np.concatenate([np.stack(rows), single[best, categories] - single[second, categories]])

    found = resampled(statistic, len(truth), config.resamples, config.seed, clusters)
    summaries = np.full(len(found.values) - truth.shape[1], found.clusters)
    found = found.resting_on(np.append(summaries, clusters_with(truth, clusters)))
    intervals = iter(found.intervals(config.confidence))
    whole, none = next(intervals), next(intervals)
    added = [
        StreamContribution(
            name=name, alone=next(intervals), left_out=next(intervals), shapley=next(intervals)
        )
        for name in streams
    ]
    leads = list(intervals)
    # The best stream of each emotion was chosen by looking: that it leads by chance has p, corrected for all emotions.
    p = holm(found.p_values()[-len(leads) :])
    leaders = [
        Leader(name=name, best=streams[best[c]], second=streams[second[c]], lead=leads[c], p=p[c])
        if len(streams) > 1
        else Leader(name=name, best=streams[0])
        for c, name in enumerate(names)
        if not np.isnan(alone[:, c]).any()
    ]
    return Contribution(all=whole, none=none, streams=tuple(added), leaders=tuple(leaders))


def _rankings(scores: npt.ArrayLike, labels: npt.ArrayLike) -> list[SortedScores]:
    score, truth = scores_and_labels(scores, labels, 2)
    return [SortedScores(score[:, c], truth[:, c]) for c in range(score.shape[1])]


def _ap(rankings: Sequence[SortedScores], weights: FloatArray) -> FloatArray:
    """``(C, R)`` average precisions in percent."""
    return 100 * np.stack([ranking.average_precision(weights) for ranking in rankings])


def _usual_order(stream: str) -> tuple[int, str]:
    usual = ("context", "body", "text")
    return (usual.index(stream) if stream in usual else len(usual)), stream
