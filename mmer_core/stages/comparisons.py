"""Which of a dataset's models is better, and by how much: the questions that a report answers."""

from collections.abc import Iterator, Sequence

from mmer_core.attacks.comparing import Attacked, compare_attacked, compare_with_control
from mmer_core.config import FAMILIES, Family, ReportConfig
from mmer_core.evaluation.comparing import ABLATION
from mmer_core.statistics.comparison import Comparison, Rule, corrected
from mmer_core.task_kinds import Measured, kind_of

_WHOLE: tuple[Family, ...] = (*FAMILIES, "zero-shot")


def shown(measured: Sequence[Measured]) -> list[Measured]:
    """The models that a report compares in all its sections: without ablations, where there are two others."""
    whole = [one for one in measured if one.spec.family in _WHOLE]
    return whole if len(whole) > 1 else list(measured)


def comparisons(measured: Sequence[Measured], config: ReportConfig) -> list[Comparison]:
    """Skill and robustness of the last model against the first, the baseline; skill of the joint model, or the first,
    against every ablation, with Holm's correction for all of them; and every attack beside its control."""
    rule = Rule(margin=config.margin, seed=config.seed)
    chosen = shown(measured)
    attacked = [one for one in chosen if one.outcomes is not None]
    found = []
    if len(chosen) == 2:
        baseline, other = chosen
        found += kind_of(other.spec.task).compare(other, baseline, rule)
        if len(attacked) == 2 and other.attack.aim() == baseline.attack.aim():
            found += compare_attacked(under_attack(other), under_attack(baseline), rule, photos_of(other))
    found += corrected([*_ablations(measured, rule)], rule)
    for one in attacked:
        found += compare_with_control(under_attack(one), rule, photos_of(one))
    return found


def _ablations(measured: Sequence[Measured], rule: Rule) -> Iterator[Comparison]:
    if len(measured) < 3:
        return
    default = next((one for one in measured if one.spec.family == "joint"), measured[0])
    for other in measured:
        if other is not default and other.spec.family not in _WHOLE:
            for skill in kind_of(default.spec.task).compare(default, other, rule)[:1]:
                yield skill.model_copy(update={"topic": f"{ABLATION}{other.spec.family}"})


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
