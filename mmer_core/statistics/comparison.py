"""Two models on the same samples: the difference, how sure it is, and what follows from it.

Comparing two intervals by eye answers neither question: figures of the same photos move together, so that intervals
overlap where the difference is clear, and an overlap does not show that two models are alike.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from mmer_core.record import Interval, Number, Part, Record
from mmer_core.statistics.clusters import effective_sample
from mmer_core.statistics.multiplicity import holm
from mmer_core.statistics.pairs import mcnemar, paired_interval
from mmer_core.statistics.resampling import Resampled

Decision = Literal["higher", "lower", "equivalent", "undecided"]

SHARES = "exact McNemar test and Tango's score interval"
METRICS = "t test and interval of the paired difference in random halves of the photos"


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
        p: Of no difference.
        p_adjusted: The same after Holm's correction for ``tests`` questions asked together.
        n: Samples that both models were measured on.
        clusters: Photos, or groups, that the samples are from.
        trainings: Trainings of each model (seeds) behind the figures.
        margin: Percentage points.
        rule: What decided, in words.
        decision: Whether ``first`` is higher or lower, at the adjusted level; equivalent: neither, and no more than the
            margin apart; undecided: nothing is shown.
        n_to_decide: Samples with which four of five such studies would decide, if the figures stayed as they are; None
            where it is decided.
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
    text: str
    quantity: str
    first: str
    second: str
    better: Literal["higher", "lower"] = "higher"


def compare_shares(
    question: Question,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    rule: Rule,
    clusters: npt.ArrayLike | None = None,
) -> Comparison:
    """Compare the shares of ``(N,)`` bool that two models got on the same samples.

    Raises:
        ValueError: No sample, or shapes that do not fit.
    """
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    p = mcnemar(one, other, clusters)
    apart = one.astype(float) - other
    worth = effective_sample(apart, clusters)
    # Where no pair differs the variance is unknown: take it as if one did.
    spread = max(float(apart.var()), 1 / (worth.samples + 1))
    comparison = Comparison(
        topic=question.topic,
        question=question.text,
        quantity=question.quantity,
        first=question.first,
        second=question.second,
        better=question.better,
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
    return _decided(comparison, rule.level)


def compare_metrics(
    questions: Sequence[Question], values: npt.ArrayLike, differences: Resampled, n: int, rule: Rule
) -> list[Comparison]:
    """Compare ``M`` metrics in percent, whose differences were measured in the same halves of the samples.

    Args:
        questions: ``M`` of them.
        values: ``(2, M)`` of the first and of the second model.
        differences: ``M`` of them, first less second.
        n: Samples.
        rule: What decides.
    """
    first, second = np.asarray(values, dtype=np.float64)
    outer, inner = (differences.intervals(level, -100, 100) for level in (rule.confidence, rule.inner))
    p = differences.p_values()
    return [
        _decided(
            Comparison(
                topic=question.topic,
                question=question.text,
                quantity=question.quantity,
                first=question.first,
                second=question.second,
                better=question.better,
                first_value=first[place],
                second_value=second[place],
                difference=outer[place],
                equivalence=inner[place],
                error=differences.error[place],
                p=p[place],
                p_adjusted=p[place],
                n=n,
                clusters=differences.clusters,
                margin=rule.margin,
                rule=METRICS,
                decision="undecided",
            ),
            rule.level,
        )
        for place, question in enumerate(questions)
    ]


def corrected(comparisons: Sequence[Comparison], rule: Rule) -> list[Comparison]:
    """The same questions as one family: decided anew after Holm's correction; intervals stay those of single questions."""
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
                    "rule": f"{one.rule}, Holm's correction for {tests} questions",
                }
            ),
            rule.level,
        )
        for one, p in zip(comparisons, adjusted, strict=True)
    ]


def _decided(comparison: Comparison, level: float) -> Comparison:
    """With the decision that follows from the adjusted p-value and from the interval."""
    value, p = comparison.difference.value, comparison.p_adjusted
    decision: Decision = "undecided"
    if p is not None and value is not None and p <= level:
        decision = "higher" if value > 0 else "lower"
    elif comparison.within_margin:
        decision = "equivalent"
    needed = samples_to_decide(value, comparison.error, comparison.n, comparison.margin, level)
    return comparison.model_copy(
        update={"decision": decision, "n_to_decide": needed if decision == "undecided" else None}
    )


def samples_to_decide(
    difference: float | None,
    error: float | None,
    n: int,
    margin: float,
    level: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """Samples that show a difference, or that it is within the margin, whichever takes fewer.

    Args:
        difference: That was found with ``n`` samples, in percentage points, and is taken for the truth.
        error: Its standard error, which falls with the root of the samples.
        n: Samples.
        margin: Percentage points.
        level: Chance of claiming what is not so.
        power: Chance of finding what is so.

    Returns:
        None where nothing can be said: the difference is not defined, or the margin itself.
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
    return math.ceil(n * (error * min(needs)) ** 2) if needs else None
