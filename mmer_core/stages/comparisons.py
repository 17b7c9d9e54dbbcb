"""Which of a dataset's models is better, and by how much: the questions that a report answers."""

from collections.abc import Sequence

from mmer_core.attacks.comparing import Attacked, compare_attacked, compare_with_control
from mmer_core.config import ReportConfig
from mmer_core.statistics.comparison import Comparison, Rule
from mmer_core.task_kinds import Measured, kind_of


def comparisons(measured: Sequence[Measured], config: ReportConfig) -> list[Comparison]:
    """Skill and robustness of the last model against the first, the baseline, and every attack beside its control."""
    rule = Rule(margin=config.margin, seed=config.seed)
    attacked = [one for one in measured if one.outcomes is not None]
    found = []
    if len(measured) == 2:
        baseline, other = measured
        found += kind_of(other.spec.task).compare(other, baseline, rule)
        if len(attacked) == 2 and other.attack.aim() == baseline.attack.aim():
            found += compare_attacked(under_attack(other), under_attack(baseline), rule, photos_of(other))
    for one in attacked:
        found += compare_with_control(under_attack(one), rule, photos_of(one))
    return found


def under_attack(measured: Measured) -> Attacked:
    """A model's outcomes, and on which images its clean answer is true."""
    assert measured.outcomes is not None
    split, spec = measured.prepared.split(measured.attack.split), measured.spec
    right = kind_of(spec.task).right(measured.outcomes, split, measured.attack, spec.labels)
    return Attacked(spec.family, measured.outcomes, right)


def photos_of(measured: Measured) -> dict[str, int]:
    """The photo, or group, of every sample of the attacked split."""
    split = measured.prepared.split(measured.attack.split)
    return dict(zip(split.ids, split.clusters.tolist(), strict=True))
