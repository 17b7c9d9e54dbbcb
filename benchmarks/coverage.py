"""Do intervals hold what they promise? Simulated studies, of which the truth is known.

    python -m benchmarks.coverage --json coverage.json

One row a question, with the rate at which

- the interval of the mAP holds the value of the population, at two sizes, beside the percentile bootstrap;
- the interval of a share holds the truth, by the exact chance of every outcome;
- a difference between two models is claimed, in mAP, in any of 26 emotions, and in shares of 200 images;
- the interval of a share over 3 or 5 trainings on the same 200 images holds the truth, beside those of one training and
  of a nested bootstrap, and a difference between trainings of two equal kinds is claimed;
- the interval of robust mAP, macro-F1 and recall in the worst case over two attacks holds what the same attacks leave of
  many images, and a difference between two equal models under attack is claimed.

People come in photos of one to three and resemble each other there, in labels and in scores. The 26 categories are as
rare as EMOTIC's: its own counts may not be passed on, so the prevalences lie in a geometric row from rare to frequent,
with the mean of EMOTIC's test split, 16.98 %, which is the mAP of a constant score there. Scores are normal, higher by
a step of a category's own where the category is present, so that the population's AP is an integral.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cyclopts import App
from scipy.stats import binom, norm

from benchmarks.result import finish, run_app
from mmer_core.attacks.figures import Figure
from mmer_core.evaluation.arrays import FloatArray, mean_where
from mmer_core.evaluation.emotion_metrics import SortedScores
from mmer_core.evaluation.retrieval_metrics import RECALLS
from mmer_core.evaluation.robust_figures import robust_macro_f1, robust_map, robust_recalls
from mmer_core.record import Interval
from mmer_core.statistics.clusters import clusters_with
from mmer_core.statistics.comparison import Question, Rule, compare_shares
from mmer_core.statistics.multiplicity import holm
from mmer_core.statistics.resampling import resampled
from mmer_core.statistics.shares import share_interval, wilson
from mmer_core.statistics.trainings import share_over_trainings

app = App(name="benchmarks.coverage", help=__doc__)

CATEGORIES = 26
MEAN_PREVALENCE = 0.1698
RAREST, COMMONEST = 0.008, 0.6
PEOPLE = (0.7, 0.2, 0.1)
"""Shares of photos with one, two and three people."""
LABELS_SHARED, SCORES_SHARED = 0.5, 0.3
"""Correlation between people of one photo."""
LEVEL = 0.95
DEVIATIONS = ((0.3, 1.0, 0.5), (0.0, 1.0, 0.3), (0.2, 0.5, 1.0))
"""Of scores: between trainings, between images, and of an image in one training."""


@dataclass(frozen=True)
class Population:
    """Prevalence, and how far scores are higher where a category is present, ``(C,)`` each."""

    prevalence: FloatArray
    step: FloatArray

    @classmethod
    def like_emotic(cls, skill: float = 1.0) -> "Population":
        row = np.geomspace(RAREST, COMMONEST, CATEGORIES)
        steps = np.random.default_rng(5).permutation(np.linspace(0.4, 1.0, CATEGORIES))
        return cls(row * MEAN_PREVALENCE / row.mean(), skill * steps)

    def mean_average_precision(self) -> float:
        """In percent, of endlessly many people."""
        cut = np.linspace(8, -8, 20_001)[:, None]
        found, mistaken = norm.sf(cut - self.step), norm.sf(cut)
        precision = self.prevalence * found / (self.prevalence * found + (1 - self.prevalence) * mistaken)
        return 100 * float(np.trapezoid(precision, found, axis=0).mean())

    def draw(
        self, people: int, generator: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], Callable[[], FloatArray]]:
        """Photo and labels of every person, and the scores of a model: of another one at every call."""
        sizes = generator.choice(np.arange(1, len(PEOPLE) + 1), size=people, p=PEOPLE)
        photo = np.repeat(np.arange(people), sizes)[:people]
        labels = self._alike(photo, LABELS_SHARED, generator) < norm.ppf(self.prevalence)
        return (
            photo,
            labels,
            lambda: labels * self.step + self._alike(photo, SCORES_SHARED, generator),
        )

    @staticmethod
    def _alike(photo: npt.NDArray[np.int64], shared: float, generator: np.random.Generator) -> FloatArray:
        own = generator.normal(size=(len(photo), CATEGORIES))
        return (
            np.sqrt(shared) * generator.normal(size=(photo[-1] + 1, CATEGORIES))[photo]
            + np.sqrt(1 - shared) * own
        )


@app.default
def main(
    *,
    sizes: tuple[int, ...] = (229, 7200),
    studies: int = 1000,
    resamples: int = 300,
    quick: bool = False,
    json: Path | None = None,
) -> None:
    """Print coverage and rates of claims.

    Parameters
    ----------
    sizes:
        Numbers of people.
    studies:
        Simulated studies of each kind; a fifth as many of more than 1,000 people.
    resamples:
        Halves, and bootstrap resamples, of each study.
    quick:
        A smoke test: a few small studies.
    json:
        File for the figures.
    """
    if quick:
        sizes, studies, resamples = (229,), 40, 100
    rows = [row for n in sizes for row in map_coverage(n, studies // 5 if n > 1000 else studies, resamples)]
    rows += [*share_coverage(), *share_claims(studies), *map_claims(min(sizes), studies, resamples)]
    rows += trainings_coverage(studies // 2, resamples)
    rows += robust_coverage(studies // 2, 300 if quick else 4000)
    finish("coverage", rows, {}, json)


def row(
    what: str, method: str, n: int, truth: float, studies: int | str, rate: float, width: float | str = ""
) -> dict[str, Any]:
    return {
        "rate of": what,
        "by": method,
        "n": n,
        "truth %": truth,
        "studies": studies,
        "rate": float(rate),
        "width": width,
    }


def map_coverage(people: int, studies: int, resamples: int) -> list[dict[str, Any]]:
    """Coverage of the population's mAP, of our intervals and of the percentile bootstrap's."""
    population, generator = Population.like_emotic(), np.random.default_rng(people)
    truth = population.mean_average_precision()
    ends: dict[str, list[tuple[Any, Any]]] = {"random halves": [], "percentile bootstrap": []}
    for seed in range(studies):
        photo, labels, model = population.draw(people, generator)
        statistic = mean_ap(each_ap(model(), labels))
        ours = resampled(statistic, people, resamples, seed, photo).intervals(LEVEL, 0, 100)[0]
        ends["random halves"].append((ours.low, ours.high))
        photos = photo[-1] + 1
        counts = generator.multinomial(photos, np.full(photos, 1 / photos), size=resamples).T
        drawn = statistic(counts.astype(np.float64)[photo])[0]
        ends["percentile bootstrap"].append(tuple(np.quantile(drawn, [0.025, 0.975])))
    rows = []
    for method, found in ends.items():
        low, high = np.array(found, dtype=float).T
        inside = ((low <= truth) & (truth <= high)).mean()
        rows.append(row("coverage, mAP", method, people, truth, studies, inside, float((high - low).mean())))
    return rows


def share_coverage() -> list[dict[str, Any]]:
    """Exact coverage of Wilson's interval, and of the percentile bootstrap's."""
    rows = []
    for n, share in ((10, 0.05), (50, 0.02), (50, 0.5), (200, 0.3)):
        outcomes = np.arange(n + 1)
        wilsons = [wilson(k / n, n, LEVEL) for k in outcomes]
        drawn = [np.nan_to_num(binom.ppf(tail, n, outcomes / n)) / n for tail in (0.025, 0.975)]
        ends = {
            "Wilson": np.array([(one.low, one.high) for one in wilsons], dtype=float).T / 100,
            "percentile bootstrap": np.array(drawn),
        }
        for method, (low, high) in ends.items():
            inside = binom.pmf(outcomes, n, share)[(low <= share) & (share <= high)].sum()
            rows.append(row("coverage, share", method, n, 100 * share, "exact", inside))
    return rows


Each = Callable[[FloatArray], FloatArray]


def each_ap(scores: FloatArray, labels: npt.NDArray[np.bool_]) -> Each:
    """``weights (N, R) -> (C, R)`` AP in percent."""
    rankings = [SortedScores(scores[:, c], labels[:, c]) for c in range(labels.shape[1])]
    return lambda weights: 100 * np.stack([one.average_precision(weights) for one in rankings])


def mean_ap(each: Each) -> Each:
    """``weights (N, R) -> (1, R)`` mAP in percent."""

    def statistic(weights: FloatArray) -> FloatArray:
        ap = each(weights)
        return mean_where(ap, ~np.isnan(ap))[None]

    return statistic


def map_claims(people: int, studies: int, resamples: int) -> list[dict[str, Any]]:
    """How often two equally good models are said to differ, in mAP and in any of the 26 emotions."""
    population, generator = Population.like_emotic(), np.random.default_rng(1)
    claims = []
    for seed in range(studies):
        photo, labels, model = population.draw(people, generator)
        one, other = each_ap(model(), labels), each_ap(model(), labels)
        whole = resampled(_apart(mean_ap(one), mean_ap(other)), people, resamples, seed, photo).p_values()
        each = resampled(_apart(one, other), people, resamples, seed, photo)
        emotions = each.resting_on(clusters_with(labels, photo)).p_values()
        claims.append([whole[0], np.nanmin(holm(emotions)), np.nanmin(emotions)])
    rates = (np.array(claims) <= 1 - LEVEL).mean(axis=0)
    methods = (
        ("claims, mAP", "random halves"),
        ("claims, any of 26 emotions", "random halves, Holm"),
        ("claims, any of 26 emotions", "random halves, uncorrected"),
    )
    return [
        row(what, method, people, 0.0, studies, rate)
        for (what, method), rate in zip(methods, rates, strict=True)
    ]


def _apart(one: Each, other: Each) -> Each:
    return lambda weights: one(weights) - other(weights)


def share_claims(studies: int, images: int = 200) -> list[dict[str, Any]]:
    """How often a difference is claimed where there is none, and where there are 15 points."""
    generator, rows = np.random.default_rng(2), []
    for truth in (0.0, 0.15):
        for agreement in (0.0, 0.5):
            claimed = claims(generator, studies, images, truth, agreement)
            what = f"claims, share, {agreement:.0%} alike for both"
            rows.append(row(what, "exact McNemar", images, 100 * truth, studies, claimed))
    return rows


def claims(
    generator: np.random.Generator, studies: int, images: int, truth: float, agreement: float
) -> float:
    """The share of studies in which a difference between two models is claimed that succeed on half of the images.

    ``truth``, in 0..1, is the difference between them, and ``agreement`` the share of images that are easy or hard for
    both alike.
    """
    asked, found = Question("share", "Which is higher?", "share", "one", "other"), 0
    for _ in range(studies):
        alike, common = generator.random(images) < agreement, generator.random(images)
        one, other = (np.where(alike, common, generator.random(images)) for _ in range(2))
        found += (
            compare_shares(asked, one < 0.5 + truth / 2, other < 0.5 - truth / 2, Rule()).winner is not None
        )
    return found / studies


def trainings_coverage(studies: int, resamples: int, images: int = 200) -> list[dict[str, Any]]:
    """Coverage of a share where trainings and images both vary, and claims between two equal kinds of model.

    What a training says of an image is a normal score, to which the training, the image and both together add.
    """
    rows = []
    for trainings in (3, 5):
        for share in (0.02, 0.5, 0.98):
            for deviations in DEVIATIONS:
                generator, seen = np.random.default_rng(3), np.zeros(4)
                for _ in range(studies):
                    easy = generator.normal(size=images)
                    one, other = (_trainings(share, deviations, trainings, easy, generator) for _ in range(2))
                    found = (
                        share_over_trainings(one),
                        share_interval(one[0]),
                        _nested(one, resamples, generator),
                    )
                    seen[:3] += [inside.low <= 100 * share <= inside.high for inside in found]  # type: ignore[operator]
                    asked = Question("share", "Which is higher?", "share", "one", "other")
                    seen[3] += compare_shares(asked, one, other, Rule()).winner is not None
                what = f"{trainings} trainings, deviations of trainings, images, both {deviations}"
                methods = ("crossed random effects", "one training's images", "nested bootstrap")
                rows += [
                    row(f"coverage, share, {what}", method, images, 100 * share, studies, rate)
                    for method, rate in zip(methods, seen / studies, strict=False)
                ]
                rows.append(
                    row(f"claims, share, {what}", methods[0], images, 0.0, studies, seen[3] / studies)
                )
    return rows


def _trainings(
    share: float, deviations: tuple[float, ...], count: int, easy: FloatArray, generator: np.random.Generator
) -> FloatArray:
    """``(count, N)`` hits of trainings of one kind."""
    training, image, both = deviations
    score = training * generator.normal(size=(count, 1)) + image * easy
    score = score + both * generator.normal(size=(count, len(easy)))
    return (score > norm.isf(share) * np.linalg.norm(deviations)).astype(float)


def _nested(hits: FloatArray, resamples: int, generator: np.random.Generator) -> Interval:
    """Percentiles of means over trainings and images that are both drawn again."""
    trainings, images = hits.shape
    of_training = (
        generator.multinomial(trainings, np.full(trainings, 1 / trainings), size=resamples) / trainings
    )
    of_image = generator.multinomial(images, np.full(images, 1 / images), size=resamples) / images
    means = np.einsum("rs,sn,rn->r", of_training, hits, of_image, optimize=True)
    return Interval(100 * hits.mean(), *(100 * np.quantile(means, [0.025, 0.975])))


FOOLED = 0.3
"""Share of images that an attack moves."""

Attacked = tuple[npt.NDArray[np.int64], Figure, list[FloatArray]]
"""The photo of every image, a figure of them, and of two models the readings ``(3, N, F)``: clean, and of two attacks."""


def robust_coverage(studies: int, many: int, images: int = 200) -> list[dict[str, Any]]:
    """Coverage of figures in the worst case over two attacks, and claims between two equal models under them.

    Args:
        many: Images whose figure is taken for that of the population.
    """
    rows = []
    for what, draw in (("mAP", _ranked), ("macro-F1", _classified), ("recall at 5", _retrieved)):
        _, figure, (readings, _) = draw(many, np.random.default_rng(6))
        truth = figure.value(figure.worst(readings))
        generator, inside, claimed, widths = np.random.default_rng(7), 0, 0, []
        for seed in range(studies):
            photos, figure, both = draw(images, generator)
            worst = [figure.worst(each) for each in both]
            found = figure.interval(worst[0], photos, LEVEL)
            assert found.low is not None
            assert found.high is not None
            inside += found.low <= truth <= found.high
            widths.append(found.high - found.low)
            asked = Question(what, "Which is higher?", what, "one", "other")
            alike = figure.compare(asked, worst[:1], worst[1:], Rule(seed=seed), photos)
            claimed += alike.winner is not None
        name = f"robust {what}"
        width = float(np.mean(widths))
        rows += [
            row(f"coverage, {name}", "as in reports", images, truth, studies, inside / studies, width),
            row(f"claims, {name}", "as in reports", images, 0.0, studies, claimed / studies),
        ]
    return rows


def _ranked(images: int, generator: np.random.Generator) -> Attacked:
    """Scores of 26 emotions; an attack lowers those of the emotions that are there."""
    photo, labels, model = Population.like_emotic().draw(images, generator)
    both = [_versions(model(), np.where(labels, -2.0, 0.0), generator) for _ in range(2)]
    return photo, robust_map(labels, ""), both


def _classified(images: int, generator: np.random.Generator) -> Attacked:
    """Scores of three classes, one of them rare; an attack lowers that of the true one."""
    labels: FloatArray = np.eye(3)[generator.choice(3, size=images, p=(0.6, 0.3, 0.1))]
    both = [
        _versions(labels * 1.5 + generator.normal(size=labels.shape), -2.0 * labels, generator)
        for _ in range(2)
    ]
    return np.arange(images), robust_macro_f1(labels, ""), both


def _retrieved(images: int, generator: np.random.Generator) -> Attacked:
    """Ranks among captions, and of a photo for its five captions, alike within the photo; an attack raises them."""
    figure = robust_recalls(image_to_text=False, text_to_image=True)[RECALLS.index(5)]
    both = []
    for _ in range(2):
        ranks = generator.normal(1.5, 1.0, size=(images, 1)) + generator.normal(0, 0.7, size=(images, 6))
        both.append(np.exp(_versions(ranks, np.full_like(ranks, 1.5), generator)))
    return np.arange(images), figure, both


def _versions(clean: FloatArray, moved: FloatArray, generator: np.random.Generator) -> FloatArray:
    """``(3, N, 1 + F)`` readings of ``clean (N, F)`` and of two attacks, each of which moves some of the images."""
    fooled = generator.random((2, len(clean), 1)) < FOOLED
    values = np.concatenate([clean[None], clean + fooled * moved])
    return np.concatenate([np.ones_like(values[..., :1]), values], axis=-1)


if __name__ == "__main__":
    run_app(app)
