"""The answer in words, from the figures alone; it claims no difference that no paired comparison shows."""

from collections.abc import Iterable

from mmer_core.attacks.comparing import control_topic, robust_topic
from mmer_core.attacks.controls import CONTROL_ATTACKS
from mmer_core.attacks.record import CurvePoint
from mmer_core.evaluation.comparing import SKILL
from mmer_core.reporting.estimates import Estimate, number
from mmer_core.reporting.labels import (
    FOOLED,
    WHITE_BOX,
    pixels,
)
from mmer_core.reporting.verdict import robust_headlines
from mmer_core.reporting.view import DatasetView, FamilyView, ReportView


def question(view: ReportView) -> str:
    """What the report asks: of the models that it shows, and of attacks where some were run."""
    names = list(dict.fromkeys(family.family for dataset in view.datasets for family in dataset.families))
    alone = len(names) == 1
    *others, last = [
        f"{name} (baseline)" if name == "separate" and not alone else name for name in names
    ] or [""]
    models = f"{', '.join(others)} and the {last} model" if others else f"{last} model"
    skills = _listed(dict.fromkeys(dataset.text.skill[0] for dataset in view.datasets))
    attacked = any(family.curves for dataset in view.datasets for family in dataset.families)
    fooled = f", and how little does it take to fool {'it' if alone else 'them'}" if attacked else ""
    return f"How well {'does' if alone else 'do'} the {models} {skills}{fooled}?"


def unit(view: ReportView) -> str:
    """What the figures are of, in the plural."""
    return " or ".join(dict.fromkeys(dataset.unit for dataset in view.datasets))


def answer(view: ReportView) -> str:
    """The answer to the report's question, as one short paragraph of plain text; the figures are in the tables."""
    sentences: list[str] = []
    for dataset in view.datasets:
        sentences += [_skill(dataset), *_fooled(dataset)]
    if not any(family.curves for dataset in view.datasets for family in dataset.families):
        sentences.append(
            "None of these models was attacked, so nothing can be said here about how little it takes to fool them."
        )
    return " ".join(sentence for sentence in sentences if sentence)


def warnings(view: ReportView) -> list[str]:
    """What a reader must know before any figure, most important first."""
    found = []
    drawn = [dataset.name for dataset in view.datasets if dataset.synthetic]
    if drawn or view.synthetic:
        where = f" ({', '.join(drawn)})" if drawn else ""
        found.append(
            f"Synthetic data{where}: mmer drew these photos itself. The figures show that the pipeline works; "
            "they say nothing about real photographs and must not be compared with published ones."
        )
    found += _trainings_warning(view)
    for dataset in view.datasets:
        if dataset.leaks:
            found.append(_leakage_warning(dataset))
        found += [
            _validation_warning(dataset, family)
            for family in dataset.families
            if family.evaluation.split == "val" and (_fitted(family) or family.family != "zero-shot")
        ]
        found += [
            _chance_warning(dataset, family)
            for family in dataset.families
            if not beats_chance(dataset, family)
        ]
        found += _ratings_warning(dataset)
        found += _linear_warning(dataset)
    return found


def _trainings_warning(view: ReportView) -> list[str]:
    """Where some model that is trained was trained once."""
    trained = [
        family for dataset in view.datasets for family in dataset.families if family.family != "zero-shot"
    ]
    if not trained or min(family.trainings for family in trained) > 1:
        return []
    return [
        f"Models were trained once, so nothing is known of the variance between trainings: intervals and tests are of the "
        f"{unit(view)} alone, and another seed may turn a difference round. Give --seeds 3 or more to mmer pipeline."
    ]


def headline(dataset: DatasetView, family: FamilyView) -> Estimate | None:
    """The metric by which the task is judged: mAP, or mean recall."""
    return Estimate.of(family.evaluation.metrics.get(dataset.text.headline))


def chance(dataset: DatasetView, family: FamilyView) -> Estimate | None:
    """The chance level of the same metric."""
    return Estimate.of(family.evaluation.baselines.get(dataset.text.headline))


def beats_chance(dataset: DatasetView, family: FamilyView) -> bool:
    """True when the interval of the headline metric lies wholly above chance (or chance is unknown)."""
    reached, expected = headline(dataset, family), chance(dataset, family)
    return reached is None or expected is None or reached.low > expected.high


def _leakage_warning(dataset: DatasetView) -> str:
    listed = ", ".join(f"{count:,} {kind}" for kind, count in dataset.leaks.items())
    what = "images, texts or groups" if "text" in dataset.leaks else "images or groups"
    return (
        f"{dataset.name} holds {what} that occur in two splits ({listed}); what was memorised from "
        "one counts as skill in the other. The dataset card lists them."
    )


def _fitted(family: FamilyView) -> bool:
    """Whether thresholds and calibration were fitted on the split that it was measured on."""
    calibration = family.evaluation.calibration
    return calibration is not None and calibration.fitted_on == family.evaluation.split


def _validation_warning(dataset: DatasetView, family: FamilyView) -> str:
    used = [
        *(["chose its epoch"] if family.family != "zero-shot" else []),
        *(["fitted its thresholds and calibration"] if _fitted(family) else []),
    ]
    return (
        f"On {dataset.name} the {family.family} model was measured on val, which also {' and '.join(used)}: "
        "its figures look better than on new data."
    )


def _chance_warning(dataset: DatasetView, family: FamilyView) -> str:
    reached, expected = headline(dataset, family), chance(dataset, family)
    assert reached is not None
    assert expected is not None
    unit = dataset.text.unit
    return (
        f"On {dataset.name} the {family.family} model is not clearly above chance: {reached.sentence(unit)}, "
        f"where the chance level is {number(expected.value)} %. Its robustness figures mean little: "
        "a model without skill has nothing to lose."
    )


def _ratings_warning(dataset: DatasetView) -> list[str]:
    """Only worth a sentence where a model rates no better than always saying the same."""
    behind = []
    for family in dataset.families:
        error = Estimate.of(family.evaluation.metrics.get("vad_mae"))
        constant = Estimate.of(family.evaluation.baselines.get("vad_mae"))
        if error and constant and error.high >= constant.low:
            behind.append(f"the {family.family} model is off by {error.sentence(' points', 3)}")
            limit = number(constant.value, 3)
    if not behind:
        return []
    return [
        f"On {dataset.name}, in valence, arousal and dominance {_listed(behind)}, which is not clearly better than the "
        f"best constant guess ({limit})."
    ]


def _linear_warning(dataset: DatasetView) -> list[str]:
    """Where models are the same linear probe, which no comparison between them can tell."""
    linear = [model.family for model in dataset.models if model.linear]
    if not linear:
        return []
    plural = len(linear) > 1
    return [
        f"On {dataset.name} the {_listed(linear)} model{'s' if plural else ''} predict{'' if plural else 's'} labels as the "
        "linear probe does, from which training starts: no epoch was better on val by more than its noise. "
        "More data, above all in val, may show more."
    ]


def _skill(dataset: DatasetView) -> str:
    where, (does, verb) = f"On {dataset.title}", dataset.text.skill
    scored = [(family, estimate) for family in dataset.families if (estimate := headline(dataset, family))]
    if not scored:
        return ""
    if len(scored) == 1:
        ((family, estimate),) = scored
        expected = chance(dataset, family)
        tail = f", where chance gives {number(expected.value)} %" if expected else ""
        reached = f"{number(estimate.value)}{dataset.text.unit}"
        return f"{where}, asked to {does}, the {family.family} model reaches {reached}{tail}."
    compared = dataset.compared(SKILL)
    if compared is None:
        return f"{where} the models were not compared with each other on the same samples."
    if compared.winner is None:
        if compared.decision == "undecided":
            return f"{where} it is undecided which model {verb} better."
        return f"{where} both models {does} alike: no more than {compared.margin:g} points of {dataset.text.headline_label} apart."
    other = compared.second if compared.winner == compared.first else compared.first
    gap = number(abs(compared.difference.value or 0))
    return f"{where} the {compared.winner} model {verb} better than the {other} one, by {gap} points of {dataset.text.headline_label}."


def strongest(family: FamilyView) -> list[CurvePoint]:
    """The curve, by rising K, of the black-box attack that does best at its largest K, or of the next best thing:
    the attack that uses gradients, the control."""
    attacks = {point.attack for point in family.curves}
    compared = (
        attacks.difference(CONTROL_ATTACKS, WHITE_BOX) or attacks.difference(CONTROL_ATTACKS) or attacks
    )
    curves = [curve for attack in sorted(compared) if (curve := curve_of(family, attack))]
    return max(curves, key=lambda curve: _success(curve[-1]).value, default=[])


def curve_of(family: FamilyView, attack: str) -> list[CurvePoint]:
    """An attack's points by rising K."""
    points = [point for point in family.curves if point.attack == attack and Estimate.of(point.success)]
    return sorted(points, key=lambda point: point.pixels)


def _success(point: CurvePoint) -> Estimate:
    return Estimate.of(point.success) or Estimate(0.0, 0.0, 0.0)


def _fooled(dataset: DatasetView) -> list[str]:
    """What the largest K does beside the control, and who withstands more."""
    attacked = [(family, curve) for family in dataset.families if (curve := strongest(family))]
    budgets = {curve[-1].pixels for _, curve in attacked}
    if len(attacked) == 2 and len(budgets) == 1:
        return [_fooled_at(dataset, attacked) + _sturdier(dataset, budgets.pop()) + "."]
    return [_fooled_at(dataset, [one]) + "." for one in attacked]


def _fooled_at(dataset: DatasetView, attacked: list[tuple[FamilyView, list[CurvePoint]]]) -> str:
    """A sentence without its end about families that were attacked with the same largest K."""
    k = attacked[0][1][-1].pixels
    blind = all(curve[-1].attack in CONTROL_ATTACKS for _, curve in attacked)
    shares = _listed(f"{_share(curve[-1])} ({family.family})" for family, curve in attacked)
    usual = dataset.fooled in ("", FOOLED[dataset.text.criterion].format(word=dataset.text.category))
    does = dataset.text.fools if usual else f"fools the model ({dataset.fooled})"
    text = f"Changing {pixels(k)}{' at random' if blind else ''} {does} in {shares} of the images"
    return text + _beside_control(dataset, attacked)


def _beside_control(dataset: DatasetView, attacked: list[tuple[FamilyView, list[CurvePoint]]]) -> str:
    """Whether that is more than the same number of random pixels does; silent where the control did not run."""
    topics = [control_topic(family.family, curve[-1].attack, curve[-1].pixels) for family, curve in attacked]
    found = [dataset.compared(topic) for topic in topics]
    if None in found:
        return ""
    alike = [
        f"the {family.family} model"
        for (family, _), compared in zip(attacked, found, strict=True)
        if compared is not None and compared.decision != "higher"
    ]
    if not alike:
        return ", more often than as many random pixels do"
    where = f" on {_listed(alike)}" if len(alike) < len(attacked) else ""
    return f", which is not shown to be more often than as many random pixels do{where}"


def _sturdier(dataset: DatasetView, k: int) -> str:
    """Who is better under attack by the first of the figures that the verdict shows: the end of a sentence."""
    compared = next(
        (one for one in robust_headlines(dataset.comparisons) if one.topic.endswith(f" K={k}")), None
    )
    if compared is None:
        return ""
    right = compared.topic == robust_topic("accuracy", k)
    do, does = (
        ("stay right", "stays right more often")
        if right
        else (dataset.text.skill[0], f"{dataset.text.skill[1]} better")
    )
    if compared.winner is not None:
        return f"; under attack the {compared.winner} model {does}"
    if compared.decision == "undecided":
        return f"; which model {does} under attack is undecided"
    return f"; under attack both {do} alike, no more than {compared.margin:g} points apart"


def _share(point: CurvePoint) -> str:
    return f"{number(_success(point).value, 0)} %"


def _listed(parts: Iterable[str]) -> str:
    return " and ".join(parts)
