"""A night's study beside the one of the night before: which figures moved beyond their intervals?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from mmer_core.config import ReportConfig
from mmer_core.record import Record
from mmer_core.stages.comparisons import compare_two, same_samples
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.identity import some_fields
from mmer_core.stages.lineage import ModelArtifacts
from mmer_core.stages.report import COMPARISONS_FILE, reported_models
from mmer_core.stages.views import open_measured
from mmer_core.statistics.comparison import Comparison, Comparisons, Rule, corrected
from mmer_core.store import ArtifactKey, Manifest, Store, Workspace
from mmer_core.task_kinds import Measured
from mmer_core.training.record import ModelSummary

TONIGHT, BEFORE = "tonight", "the night before"


class NightSummary(Record):
    """What a night found.

    Attributes:
        series: Name of the series of nights.
        unchanged: Models that are those of the night before.
        questions: About the others, all corrected together.
        moved: A sentence for each figure that moved.
        said: What was not compared, and why.
    """

    version: Literal[1] = 1
    series: str
    unchanged: int = 0
    questions: int = 0
    moved: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What follows, in a sentence."""
        if self.moved:
            return f"{len(self.moved)} of {self.questions} figures moved beyond their intervals"
        if self.questions:
            return f"none of {self.questions} figures moved beyond its interval"
        if self.unchanged:
            return "every model is that of the night before"
        return "nothing was compared"


class Pair(NamedTuple):
    """The models of one family on one dataset, all of their trainings, in both nights."""

    name: str
    tonight: list[ModelArtifacts]
    before: list[ModelArtifacts]

    @property
    def unchanged(self) -> bool:
        return {one.model for one in self.tonight} == {one.model for one in self.before}


def last_night(store: Store, series: str) -> Manifest | None:
    """The newest night of a series whose study is still there; None before the first. A night that failed left none."""
    nights = [made for made in store.list("night") if made.config["series"] == series]
    for made in sorted(nights, key=lambda one: one.created, reverse=True):
        study = ArtifactKey.parse(made.inputs["study"])
        if store.has(study) and all(map(store.has, _keys(store.manifest(study)))):
            return made
    return None


def _keys(study: Manifest) -> Iterator[ArtifactKey]:
    for models in reported_models(study).values():
        for one in models:
            yield from one.keys().values()


def pairs(store: Store, report: ArtifactKey, before: ArtifactKey) -> list[Pair]:
    """Every dataset and family of tonight's report; those that were not there the night before have no models of it.

    Args:
        before: The night before.
    """
    tonight = _by_family(store, report)
    earlier = _by_family(store, ArtifactKey.parse(store.manifest(before).inputs["study"]))
    return [Pair(name, models, earlier.get(name, [])) for name, models in tonight.items()]


def _by_family(store: Store, report: ArtifactKey) -> dict[str, list[ModelArtifacts]]:
    found: dict[str, list[ModelArtifacts]] = {}
    for dataset, models in reported_models(store.manifest(report)).items():
        for one in models:
            family = store.manifest(one.model).summary_as(ModelSummary).family
            found.setdefault(f"{dataset} {family}", []).append(one)
    return found


def to_measure_again(context: Context, report: ArtifactKey, before: ArtifactKey) -> list[Pair]:
    """Those whose samples are others than the night before: there the earlier models have to be measured on tonight's."""
    found = []
    for pair in pairs(context.store, report, before):
        if pair.before and not pair.unchanged:
            one, other = (open_measured(context, models[0]) for models in (pair.tonight, pair.before))
            if not same_samples(one, other) and _of_one_task(one, other):
                found.append(pair)
    return found


def _of_one_task(one: Measured, other: Measured) -> bool:
    return one.spec.task == other.spec.task and one.spec.labels == other.spec.labels


def _identity(config: ReportConfig) -> Mapping[str, Any]:
    return {"config": some_fields(config, "margin", "seed")}


@stage("night", version=2, title="compare with the night before", identity=_identity)
def night(
    context: Context,
    workspace: Workspace,
    config: ReportConfig,
    series: str,
    study: ArtifactKey,
    before: ArtifactKey | None,
    again: Mapping[str, ArtifactKey],
) -> NightSummary:
    """``comparisons.json``, `Comparisons` by dataset and family: tonight's models less those of the night before, on the
    same samples, with Holm's correction for all questions of the night.

    Args:
        study: The report of tonight.
        before: The night before, None where this is the first of the series. As it is part of the key, every night is an
            artifact of its own, and they make a chain.
        again: Evaluations of the models of the night before on tonight's samples, see `to_measure_again`.
    """
    rule = Rule(margin=config.margin, seed=config.seed)
    found: dict[str, list[Comparison]] = {}
    said, unchanged = [], 0
    if before is None:
        said.append(f"this is the first night of {series}, so there is none to compare it with")
    for pair in pairs(context.store, study, before) if before else ():
        if pair.unchanged:
            unchanged += 1
        elif not pair.before:
            said.append(f"{pair.name} was not in the study of the night before")
        elif compared := _compared(context, pair, {*again.values()}, rule):
            found[pair.name] = compared
        else:
            said.append(
                f"{pair.name} is not compared: its task, labels or samples are others than the night before"
            )
    asked = [(name, one) for name, of_pair in found.items() for one in of_pair]
    answers = corrected([one for _, one in asked], rule)
    named = [(name, answer) for (name, _), answer in zip(asked, answers, strict=True)]
    by_name = {name: tuple(one for owner, one in named if owner == name) for name in found}
    Comparisons(datasets=by_name).write(workspace.out / COMPARISONS_FILE)
    moved = [_sentence(name, one) for name, one in named if one.winner]
    return NightSummary(
        series=series, unchanged=unchanged, questions=len(answers), moved=tuple(moved), said=tuple(said)
    )


def _compared(context: Context, pair: Pair, again: set[ArtifactKey], rule: Rule) -> list[Comparison]:
    """Questions about the models of both nights on tonight's samples; none where they have no figure in common."""
    tonight = [open_measured(context, one) for one in pair.tonight]
    before = [open_measured(context, one) for one in pair.before]
    if not same_samples(tonight[0], before[0]):
        measured = {context.store.manifest(key).inputs["model"]: key for key in again}
        there = [one for one in pair.before if str(one.model) in measured]
        before = [
            open_measured(
                context,
                ModelArtifacts(pair.tonight[0].prepared, one.features, one.model, measured[str(one.model)]),
            )
            for one in there
        ]
    if not before or not _of_one_task(tonight[0], before[0]) or not same_samples(tonight[0], before[0]):
        return []
    names = {"first": TONIGHT, "second": BEFORE}
    return [one.model_copy(update=names) for one in compare_two(tonight, before, rule)]


def _sentence(name: str, one: Comparison) -> str:
    how = "better" if one.winner == TONIGHT else "worse"
    apart = one.difference
    return (
        f"{name}, {one.quantity}: {how}, {one.first_value:.1f} tonight and {one.second_value:.1f} the night before, a difference "
        f"of {apart.value:+.1f} points ({apart.low:+.1f} to {apart.high:+.1f})"
    )
