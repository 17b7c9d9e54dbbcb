"""What attacks leave in summaries."""

from typing import Literal

from mmer_core.record import Interval, Number, Part, Record


class CurvePoint(Part):
    """Success of one attack with one ``K``.

    Attributes:
        n: Attacked images.
        already: Further images that met the criterion unattacked; they are not counted.
        success: Percent of ``n``: against the model's own clean answer, whether that was true or not.
        right: Images, of all ``n + already``, on which the clean answer was true; None where that was not asked.
        robust_accuracy: Percent of all ``n + already`` that were right and are not fooled.
        median_queries: Of the successes; None without one.
        by_seed: With several seeds, the success of each alone in percent, by rising seed; ``success`` is of all together.
        foolable: Images that one pixel can fool, by an exhaustive search, where ``K`` is 1 and there was one.
        found: Percent of those that this attack fools.
    """

    attack: str
    pixels: int
    n: int
    already: int
    success: Interval
    right: int | None = None
    robust_accuracy: Interval | None = None
    median_queries: Number = None
    by_seed: tuple[float, ...] = ()
    foolable: int = 0
    found: Interval = Interval(None, None, None)


class MarginPoint(Part):
    """Mean margins at one ``K`` of ``n`` images, in standard deviations of the clean margins."""

    pixels: int
    n: int
    clean: Interval
    left: Interval


class Step(Part):
    """A figure in percent once an attack is counted, and those before it."""

    attack: str
    value: float


class WorstCase(Part):
    """A figure of ``n`` images under all attacks at one ``K`` together, in percent.

    Attributes:
        figure: Its name, such as ``"map"``.
        label: In running text.
        clean: Of the same images, unattacked.
        robust: In the worst case over attacks.
        steps: Attack by attack, the one that takes most first.
    """

    pixels: int
    n: int
    figure: str
    label: str
    clean: Interval
    robust: Interval
    steps: tuple[Step, ...]


class GroupSuccess(Part):
    """Success on the ``n`` attacked images of one group, in percent."""

    group: str
    n: int
    success: Interval


class RegionChanges(Part):
    """Changed pixels of successes in one region; ``changed`` is their share and ``area`` the region's, in percent."""

    region: str
    pixels: int
    changed: float
    area: float


class AttackShardSummary(Record):
    """The summary of a shard: queries, candidates screened by a surrogate, images, and how candidates were judged."""

    version: Literal[1] = 1
    queries: int
    screened: int
    fooled: int
    attacked: int
    evaluation: str


class CurvesSummary(Record):
    """The summary of ``robustness`` and ``transfer`` artifacts."""

    version: Literal[2] = 2
    curves: tuple[CurvePoint, ...]


class CertifiedPoint(Part):
    """Certified accuracy at one ``K``, 0 included: images in percent whose decision is right whatever so many pixels become."""

    pixels: int
    accuracy: Interval


class CertifiedSummary(Record):
    """The summary of ``certified`` artifacts.

    Attributes:
        kept: Pixels of a drawing, of all ``pixels`` of an image.
        draws: Of each image, that count.
        confidence: Of each image's certificate.
        n: Images.
        abstained: Percent of them on which no decision is shown to be that of most drawings.
        median: Most changed pixels with which a half of all images is certified right; None where that is not so of the
            images as they are.
        points: By rising ``K``.
    """

    version: Literal[1] = 1
    kept: int
    pixels: int
    draws: int
    confidence: float
    n: int
    abstained: Interval
    median: int | None
    points: tuple[CertifiedPoint, ...]
