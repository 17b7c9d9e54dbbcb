"""The answer in words, from the figures alone; it claims no difference that no paired comparison shows."""

from collections.abc import Iterable

from mmer_core.attacks.comparing import control_topic
from mmer_core.attacks.controls import CONTROL_ATTACKS, control_among
from mmer_core.attacks.record import CurvePoint
from mmer_core.evaluation.comparing import SKILL
from mmer_core.reporting.comparison_table import apart
from mmer_core.reporting.estimates import Estimate, number
from mmer_core.reporting.labels import (
    FOOLED,
    WHITE_BOX,
    pixels,
)
from mmer_core.reporting.view import DatasetView, FamilyView, ReportView
from mmer_core.statistics.comparison import Comparison


def answer(view: ReportView) -> str:
    """The answer to the report's question, as one paragraph of plain text."""
    sentences: list[str] = []
    for dataset in view.datasets:
        sentences += [_skill(dataset), *_vad(dataset), *_fooled(dataset)]
    if not any(family.curves for dataset in view.datasets for family in dataset.families):
        sentences.append(
            "No attack was run, so nothing can be said here about how little it takes to fool them."
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
    for dataset in view.datasets:
        if dataset.leaks:
            found.append(_leakage_warning(dataset))
        found += [
            _fitted_warning(dataset, family)
            for family in dataset.families
            if family.evaluation.calibration
            and family.evaluation.calibration.fitted_on == family.evaluation.split
        ]
        found += [
            _chance_warning(dataset, family)
            for family in dataset.families
            if not beats_chance(dataset, family)
        ]
    return found


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
    return (
        f"{dataset.name} holds images or groups that occur in two splits ({listed}); what was memorised from "
        "one counts as skill in the other. The dataset card lists them."
    )


def _fitted_warning(dataset: DatasetView, family: FamilyView) -> str:
    return (
        f"On {dataset.name} the {family.family} model was measured on {family.evaluation.split}, where its thresholds and "
        "calibration were fitted: F1, precision, recall and calibration look better than on new data."
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


def _where(dataset: DatasetView) -> str:
    return f"On {dataset.title}"


def _skill(dataset: DatasetView) -> str:
    unit = dataset.text.unit
    scored = [
        (family.family, estimate) for family in dataset.families if (estimate := headline(dataset, family))
    ]
    if not scored:
        return ""
    expected = next((found for family in dataset.families if (found := chance(dataset, family))), None)
    tail = f"; the chance level is {number(expected.value)} %." if expected else "."
    does, verb = dataset.text.skill
    if len(scored) == 1:
        ((name, estimate),) = scored
        return f"{_where(dataset)}, asked to {does}, the {name} model reaches {estimate.sentence(unit)}{tail}"
    listed = " and ".join(f"{family} {estimate.sentence(unit)}" for family, estimate in scored)
    compared = dataset.compared(SKILL)
    if compared is None or compared.winner is None:
        said = _unclaimed(compared, f"how well the two models {does}")
        return f"{_where(dataset)}, {said}: {listed}{tail}"
    figures: dict[str, Estimate] = dict(scored)
    best, (other, second) = figures.pop(compared.winner), next(iter(figures.items()))
    return (
        f"{_where(dataset)} the {compared.winner} model {verb} better than the {other} one by {apart(compared)}: "
        f"{best.sentence(unit)} against {second.sentence(unit)}{tail}"
    )


def _unclaimed(compared: Comparison | None, what: str) -> str:
    """What can be said of a difference that was not shown."""
    if compared is None:
        return f"{what} was not compared on the same samples"
    if compared.decision == "equivalent":
        return f"{what} differs by no more than {compared.margin:g} points ({apart(compared)})"
    needed = compared.n_to_decide
    more = f"; about {needed:,} samples would decide" if needed else ""
    return f"{what} is undecided ({apart(compared)}{more})"


def _vad(dataset: DatasetView) -> list[str]:
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
        "In valence, arousal and dominance "
        f"{' and '.join(behind)}, which is not clearly better than the best constant guess ({limit})."
    ]


def strongest(family: FamilyView) -> list[CurvePoint]:
    """The curve, by rising K, of the black-box attack that does best at its largest K, or of the next best thing:
    the attack that uses gradients, the control."""
    attacks = {point.attack for point in family.curves}
    compared = (
        attacks.difference(CONTROL_ATTACKS, WHITE_BOX) or attacks.difference(CONTROL_ATTACKS) or attacks
    )
    curves = [curve_of(family, attack) for attack in sorted(compared)]
    return max(curves, key=lambda curve: _success(curve[-1]).value, default=[])


def curve_of(family: FamilyView, attack: str) -> list[CurvePoint]:
    """An attack's points by rising K."""
    points = [point for point in family.curves if point.attack == attack and Estimate.of(point.success)]
    return sorted(points, key=lambda point: point.pixels)


def _success(point: CurvePoint) -> Estimate:
    return Estimate.of(point.success) or Estimate(0.0, 0.0, 0.0)


def _fooled(dataset: DatasetView) -> list[str]:
    """What the largest and the smallest K do beside the control, and who is easier to fool."""
    attacked = [(family, curve) for family in dataset.families if (curve := strongest(family))]
    budgets = {curve[-1].pixels for _, curve in attacked}
    if len(attacked) == 2 and len(budgets) == 1:
        return [_fooled_at(dataset, attacked), _easier(dataset, budgets.pop())]
    return [_fooled_at(dataset, [one]) for one in attacked]


def _fooled_at(dataset: DatasetView, attacked: list[tuple[FamilyView, list[CurvePoint]]]) -> str:
    """One sentence about families that were attacked with the same largest K."""
    k = attacked[0][1][-1].pixels
    blind = all(curve[-1].attack in CONTROL_ATTACKS for _, curve in attacked)
    shares = _listed(
        f"{_success(curve[-1]).sentence(' %')} of the images for the {family.family} model"
        for family, curve in attacked
    )
    usual = dataset.fooled in ("", FOOLED[dataset.text.criterion].format(word=dataset.text.category))
    does = dataset.text.fools if usual else f"fools the model ({dataset.fooled})"
    text = f"Changing {pixels(k)}{' at random' if blind else ''} {does} in {shares}"
    text += _beside_control(dataset, attacked)
    smallest = [curve[0] for _, curve in attacked]
    if smallest[0].pixels < k and len({point.pixels for point in smallest}) == 1:
        text += f"; changing {pixels(smallest[0].pixels)}, in {_listed(map(_share, smallest))}"
    medians = [curve[-1].median_queries for _, curve in attacked]
    if all(median is not None for median in medians):
        text += (
            f". The median success with {pixels(k)} took {_listed(number(one, 0) for one in medians)} queries"
        )
    return text + "."


def _beside_control(dataset: DatasetView, attacked: list[tuple[FamilyView, list[CurvePoint]]]) -> str:
    """What the same number of random pixels does; silent where the control did not run."""
    shares, alike = [], []
    for family, curve in attacked:
        there = {
            point.attack: point for point in family.curves if point.pixels == curve[-1].pixels and point.n
        }
        control = there.get(control_among(there) or "")
        if control is None or curve[-1].attack in CONTROL_ATTACKS:
            return ""
        shares.append(_share(control))
        compared = dataset.compared(control_topic(family.family, curve[-1].attack, curve[-1].pixels))
        if compared is not None and compared.decision != "higher":
            alike.append(f"the {family.family} model")
    text = f", where as many random pixels manage {_listed(shares)}"
    return text + (f" (no less than the attack, as far as is shown, on {_listed(alike)})" if alike else "")


def _easier(dataset: DatasetView, k: int) -> str:
    """Who withstands more, by robust accuracy over all images."""
    compared = dataset.compared(f"robust accuracy K={k}")
    if compared is None:
        return ""
    if compared.winner is None:
        said = _unclaimed(compared, "how often the two models stay right under all these attacks")
        return f"With {pixels(k)}, {said}."
    values = f"{number(compared.first_value)} % ({compared.first}) and {number(compared.second_value)} % ({compared.second})"
    return (
        f"With {pixels(k)}, the {compared.winner} model stays right under all these attacks more often, by "
        f"{apart(compared)}: on {values} of all images."
    )


def _share(point: CurvePoint) -> str:
    return f"{number(_success(point).value)} %"


def _listed(parts: Iterable[str]) -> str:
    return " and ".join(parts)
