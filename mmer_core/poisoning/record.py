"""What experiments with poisons leave in summaries; shares and metrics are in percent."""

from typing import Literal

from pydantic import Field

from mmer_core.record import Interval, Number, Part, Record


class ArmRecord(Record):
    """Base of what is known of one training set: the attack, how many poisons, and the seed."""

    version: Literal[1] = 1
    attack: str
    count: int
    seed: int


class PoisonSummary(ArmRecord):
    """The poisons of one training set.

    Attributes:
        visibility: Means over the poisons; see `mmer_core.poisoning.visibility`.
    """

    plan: str
    target: str
    visibility: dict[str, Number]


class CraftedSummary(Record):
    """Poisons of one shard.

    Attributes:
        runtime: What computed them.
        distance_left: Mean share of the feature distance to the target that is left.
    """

    version: Literal[1] = 1
    poisons: int
    runtime: str
    distance_left: Number


class TriggeredSummary(Record):
    """Images that were encoded with a trigger."""

    version: Literal[1] = 1
    rows: int
    trigger: str


class OutcomeSummary(ArmRecord):
    """What became of one model.

    Attributes:
        samples: Without the target, in the evaluated split.
        aimed: Of them, those for which poisons were crafted.
        triggered: Share of them that are seen as the target with the trigger.
        untriggered: The same without the trigger.
        targets: The same of those for which poisons were crafted.
        chance: The same of random rankings, where there are any.
        metric: The headline metric with its interval.
        no_skill: What no skill scores in it.
        modalities: Distances between modalities, and their contributions.
        recalls: Of images and texts, where they have a common space; by name, in percent.
    """

    family: str
    samples: int
    aimed: int
    triggered: Number
    untriggered: Number
    targets: Number
    chance: Number
    metric: Interval
    no_skill: Number
    modalities: dict[str, Number]
    recalls: dict[str, Interval] = Field(default_factory=dict)


class DetectionSummary(ArmRecord):
    """What a detector found, see `mmer_core.poisoning.detectors.judging.Detection`."""

    family: str
    detector: str
    samples: int
    poisons: int
    flagged: int
    precision: Number
    recall: Number
    false_positive_rate: Number
    auc: Number


class MeanOutcome(Part):
    """Means over seeds with 95 % intervals; see `mmer_core.stages.poison.merging.over_seeds`."""

    family: str
    attack: str
    count: int
    filtered: str
    seeds: int
    chance: Number
    no_skill: Number
    success: Number
    success_low: Number
    success_high: Number
    reference: Number
    reference_low: Number
    reference_high: Number
    gain: Number
    gain_low: Number
    gain_high: Number
    untriggered: Number
    untriggered_low: Number
    untriggered_high: Number
    metric: Number
    metric_low: Number
    metric_high: Number
    metric_loss: Number
    metric_loss_low: Number
    metric_loss_high: Number
    psnr: Number
    ssim: Number
    changed: Number


class MeanDetection(Part):
    """Means over seeds of what a detector found, in percent."""

    attack: str
    family: str
    detector: str
    precision: Number
    recall: Number
    recall_low: Number
    recall_high: Number
    false_positive_rate: Number
    auc: Number


class PoisoningSummary(Record):
    """The result of a whole experiment."""

    version: Literal[3] = 3
    dataset: str
    target: str
    split: str
    warnings: tuple[str, ...]
    means: tuple[MeanOutcome, ...]
    detections: tuple[MeanDetection, ...]
