"""Two models on the same samples: the difference, how sure it is, and what follows from it.

Comparing two intervals by eye answers neither question: figures of the same photos move together, so that intervals
overlap where the difference is clear, and an overlap does not show that two models are alike.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from mmer_core.record import Interval, Number, Part, Record
from mmer_core.statistics.clusters import effective_sample, numbered
from mmer_core.statistics.multiplicity import holm
from mmer_core.statistics.pairs import mcnemar, paired_interval
from mmer_core.statistics.resampling import Resampled
from mmer_core.statistics.trainings import difference_interval, spread_of_difference

Decision = Literal["higher", "lower", "equivalent", "undecided"]

SHARES = "exact McNemar test and Tango's score interval"
METRICS = "t test and interval of the paired difference in random halves of the photos"
OVER_TRAININGS = ", trainings and photos both drawn (Hillis)"
_HOLM = ", Holm's correction"
SHARES_OVER_TRAININGS = f"t test and score interval of the paired difference{OVER_TRAININGS}"


class Rule(Part):
    """What decides.

    Attributes:
        margin: Percentage points by which two models may differ and still be called equivalent.
        confidence: Of intervals; 1 less it is the level at which a difference is claimed.
        resamples: Halves of the photos, for metrics that are no shares.
        seed: Of the halves.
    """

    margin: float = 5.0
    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0

    @property
    def level(self) -> float:
        return 1 - self.confidence

    @property
    def inner(self) -> float:
        """Confidence of the interval that must lie within the margin: two one-sided tests at the level."""
        return 1 - 2 * self.level


class Comparison(Part):
    """The answer to one question about two models.

    Attributes:
        topic: What it is about, for programs: ``"skill"``, ``"category Anger"``, ``"robust accuracy K=5"``.
        question: What is asked, as a sentence.
        quantity: What differs, in percent.
        first: Name of the model from which ``second``'s figure is taken away.
        better: Whether a higher or a lower figure is better.
        first_value: Percent.
        second_value: Percent.
        difference: ``first`` less ``second``, in percentage points, at the rule's confidence.
        equivalence: The same at ``2 * confidence - 1``: within the margin, two one-sided tests (TOST; Schuirmann 1987,
            https://doi.org/10.1007/BF01068419) both reject a larger difference.
        error: Standard error of the difference.
        error_between: The part of it, in quadrature, that is from the trainings and that more samples do not lower; 0 for
            one training, where it is not known.
        p: Of no difference.
        p_adjusted: The same after Holm's correction for ``tests`` questions asked together.
        n: Samples that both models were measured on.
        clusters: Photos, or groups, that the samples are from.
        trainings: Trainings of each model (seeds) behind the figures.
        margin: Percentage points.
        rule: What decided, in words.
        decision: Whether ``first`` is higher or lower, at the adjusted level and by the interval; equivalent: neither, and no more than the
            margin apart; undecided: nothing is shown.
        n_to_decide: Samples with which four of five such studies would decide, if the figures stayed as they are; None
            where it is decided, and where more samples are not what is missing: trainings differ too much, or many
            questions are asked together.
    """

    topic: str
    question: str
    quantity: str
    first: str
    second: str
    better: Literal["higher", "lower"]
    first_value: Number
    second_value: Number
    difference: Interval
    equivalence: Interval
    error: Number
    error_between: float = 0.0
    p: Number
    p_adjusted: Number
    tests: int = 1
    n: int
    clusters: int
    trainings: int = 1
    margin: float
    rule: str
    decision: Decision
    n_to_decide: int | None = None

    @property
    def winner(self) -> str | None:
        """Name of the better model; None where no difference is shown."""
        if self.decision not in ("higher", "lower"):
            return None
        return self.first if self.decision == self.better else self.second

    @property
    def within_margin(self) -> bool:
        """Whether a difference of more than the margin is ruled out."""
        low, high = self.equivalence.low, self.equivalence.high
        return low is not None and high is not None and -self.margin <= low and high <= self.margin


class Comparisons(Record):
    """What a report compared, by dataset."""

    version: Literal[1] = 1
    datasets: dict[str, tuple[Comparison, ...]]


class Question(NamedTuple):
    """What is asked of two models, ``first`` and ``second``; see `Comparison`."""

    topic: str
    question: str
    quantity: str
    first: str
    second: str
    better: Literal["higher", "lower"] = "higher"

    def fields(self) -> dict[str, Any]:
        return self._asdict()


def compare_shares(
    question: Question,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    rule: Rule,
    clusters: npt.ArrayLike | None = None,
    *,
    paired: bool = False,
) -> Comparison:
    """Compare the shares of images that two models got, on the same samples.

    Args:
        question: What is asked.
        first: And ``second``: ``(N,)`` bool of one training, or ``(S, N)`` of several, NaN where one does not have a
            sample.
        rule: What decides.
        clusters: ``(N,)``.
        paired: Of several trainings: both are of the same, see `mmer_core.statistics.trainings.spread_of_difference`.

    Raises:
        ValueError: No sample, or shapes that do not fit.
    """
    one, other = (np.atleast_2d(np.asarray(flags, dtype=np.float64)) for flags in (first, second))
    if len(one) == len(other) == 1:
        compared = _of_one_training(question, one[0] > 0, other[0] > 0, rule, clusters)
    else:
        compared = _over_trainings(question, one, other, rule, clusters, paired)
    return _decided(compared, rule.level)


def _of_one_training(
    question: Question,
    one: npt.NDArray[np.bool_],
    other: npt.NDArray[np.bool_],
    rule: Rule,
    clusters: npt.ArrayLike | None,
) -> Comparison:
    p = mcnemar(one, other, clusters)
    apart = one.astype(float) - other
    worth = effective_sample(apart, clusters)
    # Where no pair differs the variance is unknown: take it as if one did.
    spread = max(float(apart.var()), 1 / (worth.samples + 1))
    return Comparison(
        **question.fields(),
        first_value=100 * float(one.mean()),
        second_value=100 * float(other.mean()),
        difference=paired_interval(one, other, rule.confidence, clusters),
        equivalence=paired_interval(one, other, rule.inner, clusters),
        error=100 * math.sqrt(spread / worth.samples),
        p=p,
        p_adjusted=p,
        n=len(one),
        clusters=worth.clusters,
        margin=rule.margin,
        rule=SHARES,
        decision="undecided",
    )


def _over_trainings(
    question: Question,
    one: npt.NDArray[np.float64],
    other: npt.NDArray[np.float64],
    rule: Rule,
    clusters: npt.ArrayLike | None,
    paired: bool,
) -> Comparison:
    from scipy.stats import t as student

    spread = spread_of_difference(one, other, clusters, paired=paired)
    error = float(spread.error)
    p = 2 * float(student.sf(abs(float(spread.value)) / error, float(spread.freedom)))
    p = max(p, _least_p(one, other, clusters))
    return Comparison(
        **question.fields(),
        first_value=100 * float(np.nanmean(one, axis=1).mean()),
        second_value=100 * float(np.nanmean(other, axis=1).mean()),
        difference=difference_interval(spread, rule.confidence),
        equivalence=difference_interval(spread, rule.inner),
        error=100 * error,
        error_between=100 * math.sqrt(float(spread.lasting)),
        p=p,
        p_adjusted=p,
        n=one.shape[1],
        clusters=int(numbered(clusters, one.shape[1]).max()) + 1,
        trainings=max(len(one), len(other)),
        margin=rule.margin,
        rule=SHARES_OVER_TRAININGS,
        decision="undecided",
    )


def _least_p(
    one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], clusters: npt.ArrayLike | None
) -> float:
    """The smallest p-value that a sign test gives on the photos on which the models differ: few of them show nothing,
    however often the models are trained."""
    first, second = (
        np.nansum(each, axis=0) / np.maximum(1, (~np.isnan(each)).sum(axis=0)) for each in (one, other)
    )
    apart = np.bincount(numbered(clusters, one.shape[1]), first - second)
    return float(min(1.0, 2.0 ** (1 - np.count_nonzero(np.abs(apart) > 1e-9))))


def compare_metrics(
    questions: Sequence[Question],
    values: npt.ArrayLike,
    differences: Resampled,
    n: int,
    rule: Rule,
    trainings: int = 1,
) -> list[Comparison]:
    """Compare ``M`` metrics in percent, whose differences were measured in the same halves of the samples.

    Args:
        questions: ``M`` of them.
        values: ``(2, M)`` of the first and of the second model.
        differences: ``M`` of them, first less second.
        n: Samples.
        rule: What decides.
        trainings: Of each model.
    """
    first, second = np.asarray(values, dtype=np.float64)
    outer, inner = (differences.intervals(level, -100, 100) for level in (rule.confidence, rule.inner))
    p = differences.p_values()
    between = np.zeros_like(first) if differences.lasting is None else np.sqrt(differences.lasting)
    return [
        _decided(
            Comparison(
                **question.fields(),
                first_value=first[place],
                second_value=second[place],
                difference=outer[place],
                equivalence=inner[place],
                error=differences.error[place],
                error_between=float(between[place]),
                p=p[place],
                p_adjusted=p[place],
                n=n,
                clusters=differences.clusters,
                trainings=trainings,
                margin=rule.margin,
                rule=METRICS + (OVER_TRAININGS if trainings > 1 else ""),
                decision="undecided",
            ),
            rule.level,
        )
        for place, question in enumerate(questions)
    ]


def corrected(comparisons: Sequence[Comparison], rule: Rule) -> list[Comparison]:
    """The same questions as one family: decided anew after Holm's correction, in place of those of smaller families; intervals
    stay those of single questions."""
    adjusted = holm([math.nan if one.p is None else one.p for one in comparisons])
    tests = int(np.isfinite(adjusted).sum())
    if tests < 2:
        return list(comparisons)
    return [
        _decided(
            one.model_copy(
                update={
                    "p_adjusted": float(p) if math.isfinite(p) else None,
                    "tests": tests,
                    "rule": f"{one.rule.partition(_HOLM)[0]}{_HOLM} for {tests} questions",
                }
            ),
            rule.level,
        )
        for one, p in zip(comparisons, adjusted, strict=True)
    ]


def _decided(comparison: Comparison, level: float) -> Comparison:
    """With the decision that follows from the adjusted p-value and from the interval: a difference is claimed where they agree,
    which those of very few trainings may not."""
    value, low, high = comparison.difference.value, comparison.difference.low, comparison.difference.high
    p, crosses = comparison.p_adjusted, low is not None and high is not None and low <= 0 <= high
    decision: Decision = "undecided"
    if p is not None and value is not None and p <= level and not crosses:
        decision = "higher" if value > 0 else "lower"
    elif comparison.within_margin:
        decision = "equivalent"
    needed = samples_to_decide(
        value, comparison.error, comparison.n, comparison.margin, level, between=comparison.error_between
    )
    if decision != "undecided" or (needed and needed <= comparison.n):  # more samples are not what is missing
        needed = None
    return comparison.model_copy(update={"decision": decision, "n_to_decide": needed})


def samples_to_decide(
    difference: float | None,
    error: float | None,
    n: int,
    margin: float,
    level: float = 0.05,
    power: float = 0.8,
    between: float = 0.0,
) -> int | None:
    """Samples that show a difference, or that it is within the margin, whichever takes fewer.

    Args:
        difference: That was found with ``n`` samples, in percentage points, and is taken for the truth.
        error: Its standard error; but for the part ``between`` trainings it falls with the root of the samples.
        n: Samples.
        margin: Percentage points.
        level: Chance of claiming what is not so.
        power: Chance of finding what is so.
        between: Points, the part of the error that more samples do not lower.

    Returns:
        None where nothing can be said: the difference is not defined, or the margin itself, or trainings differ too much.
    """
    from scipy.stats import norm

    if difference is None or not error:
        return None
    found = float(norm.ppf(power))
    needs = []
    if difference:
        needs.append((float(norm.ppf(1 - level / 2)) + found) / abs(difference))
    if abs(difference) < margin:
        # Both one-sided tests must reject; with no difference either is as likely to fail.
        both = float(norm.ppf((1 + power) / 2)) if not difference else found
        needs.append((float(norm.ppf(1 - level)) + both) / (margin - abs(difference)))
    left = 1 / min(needs) ** 2 - between**2 if needs else 0.0
    return math.ceil(n * (error**2 - between**2) / left) or n if left > 0 else None
