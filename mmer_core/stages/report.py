"""Everything that was measured -> one HTML file."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from mmer_core.attacks.record import CurvesSummary
from mmer_core.config import SPEED, Config, ReportConfig
from mmer_core.datasets.prepared import DatasetSummary, Prepared
from mmer_core.escaping import json_text, without_folders
from mmer_core.record import Record
from mmer_core.reporting.absence import without_images
from mmer_core.reporting.report import render
from mmer_core.reporting.sections import SECTIONS
from mmer_core.reporting.view import DatasetView, ReportView, Result, Transfer
from mmer_core.stages.absent import left_out
from mmer_core.stages.comparisons import comparisons, open_probes, shown
from mmer_core.stages.context import Context
from mmer_core.stages.dataset_card import DatasetCardSummary
from mmer_core.stages.declaration import of_today, stage
from mmer_core.stages.fragility import fragility
from mmer_core.stages.identity import key_config
from mmer_core.stages.lineage import ModelArtifacts, by_training, first_trainings, newest_by_input
from mmer_core.stages.views import (
    attacked_images,
    family_view,
    fooled_when,
    model_facts,
    open_measured,
)
from mmer_core.statistics.comparison import Comparisons
from mmer_core.store import ArtifactKey, Manifest, Store, Workspace
from mmer_core.store.artifact import plain
from mmer_core.task_kinds import Measured, kind_of
from mmer_core.training.record import ModelSummary

REPORT_FILE = "report.html"
COMPARISONS_FILE = "comparisons.json"


class ReportSummary(Record):
    """Names of the datasets that a report shows."""

    version: Literal[1] = 1
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class ReportInput:
    """One dataset under the name it has in the report.

    Attributes:
        models: With what was made from them.
        card: Its dataset card, if there is one.
        transfers: Successes of attacks on one of the models, shown to another.
        results: What sections show besides.
    """

    name: str
    models: Sequence[ModelArtifacts]
    card: ArtifactKey | None = None
    transfers: Sequence[ArtifactKey] = ()
    results: Sequence[ArtifactKey] = ()


ReportInputs = Sequence[ReportInput]


def _keys(inputs: ReportInputs) -> dict[str, ArtifactKey]:
    keys = {
        f"{entry.name}.{i}.{role}": key
        for entry in inputs
        for i, models in enumerate(entry.models)
        for role, key in models.keys().items()
    }
    keys |= {f"{entry.name}.card": entry.card for entry in inputs if entry.card is not None}
    keys |= {f"{entry.name}.{key.kind}{i}": key for entry in inputs for i, key in enumerate(entry.results)}
    return keys | {
        f"{entry.name}.transfer{i}": key for entry in inputs for i, key in enumerate(entry.transfers)
    }


def reported_models(made: Manifest) -> dict[str, list[ModelArtifacts]]:
    """The models that a report shows, by the name of their dataset: what `_keys` named."""
    roles: dict[tuple[str, int], dict[str, ArtifactKey]] = {}
    for name, key in made.inputs.items():
        dataset, _, rest = name.rpartition(".")
        dataset, _, place = dataset.rpartition(".")
        if place.isdecimal() and rest in ModelArtifacts.__dataclass_fields__:
            roles.setdefault((dataset, int(place)), {})[rest] = ArtifactKey.parse(key)
    found: dict[str, list[ModelArtifacts]] = {}
    for (dataset, _), keys in sorted(roles.items()):
        found.setdefault(dataset, []).append(ModelArtifacts(**keys))
    return found


def reported_results(made: Manifest, dataset: str) -> list[ArtifactKey]:
    """What a report shows of a dataset besides its models, such as a probe: what `_keys` numbered."""
    found = []
    for name, text in made.inputs.items():
        owner, _, rest = name.rpartition(".")
        key = ArtifactKey.parse(text)
        if owner == dataset and rest.rstrip("0123456789") == key.kind:
            found.append(key)
    return found


def _printed(settings: Config) -> dict[str, Any]:
    """With names and places, which tell people more than contents do."""
    return key_config(settings, without=(SPEED,))


def _identity(inputs: ReportInputs, settings: Config) -> dict[str, Any]:
    return {"inputs": _keys(inputs), "settings": _printed(settings), "sections": sorted(SECTIONS)}


@stage("report", version=23, identity=_identity)
def report(
    context: Context, workspace: Workspace, config: ReportConfig, inputs: ReportInputs, settings: Config
) -> ReportSummary:
    """The report: ``report.html``, and ``comparisons.json`` with every question that it answers, `Comparisons`.

    Args:
        settings: The configuration to print in the report; without where and how fast.
    """
    keys = _keys(inputs)
    manifests = [context.store.manifest(key) for key in keys.values()]
    datasets = []
    for position, entry in enumerate(inputs):
        context.progress(position, len(inputs), entry.name)
        datasets.append(_dataset(context, entry, config))
    view = ReportView(
        title=config.title,
        # The age of what is reported, not of the page: the same inputs give the same bytes.
        created=f"{datetime.fromisoformat(max(one.created for one in manifests)):%Y-%m-%d %H:%M} UTC",
        synthetic=any(dataset.synthetic for dataset in datasets),
        key=str(workspace.key),
        store=context.store.place,
        lineage=list({str(key): (label, str(key)) for label, key in keys.items()}.values()),
        datasets=datasets,
        config_json=json_text(plain(without_folders(_printed(settings)))),
        versions=manifests[0].libraries,
    )
    for entry in inputs:
        for one in entry.models:
            workspace.use({"datasets": {entry.name: _used(context.store, one)}})
    render(view, workspace.out / REPORT_FILE)
    compared = Comparisons(datasets={one.name: tuple(one.comparisons) for one in datasets})
    compared.write(workspace.out / COMPARISONS_FILE)
    return ReportSummary(datasets=tuple(entry.name for entry in inputs))


def _used(store: Store, models: ModelArtifacts) -> dict[str, Any]:
    """The whole settings of a model by its family, and what was left open of its index and of attacks on it."""
    model = store.manifest(models.model)
    used = {part: model.config.get(part, {}) | model.used.get(part, {}) for part in ("model", "training")}
    for part, key in (("index", models.index), ("attack", models.robustness)):
        used[part] = store.manifest(key).used.get("config", {}) if key else {}
    return {model.summary_as(ModelSummary).family: used}


def _dataset(context: Context, entry: ReportInput, config: ReportConfig) -> DatasetView:
    prepared = Prepared.open(context.parts(entry.models[0].prepared))
    measured = [open_measured(context, models) for models in entry.models]
    models = by_training(measured, lambda one: one.trained)
    wanted = shown(models)
    chosen = [trainings[0] for trainings in wanted]
    kind = kind_of(prepared.card.task)
    return DatasetView(
        name=entry.name,
        text=kind.text_for(measured[0].split),
        card=prepared.card,
        families=[
            replace(family_view(trainings, config), fragility=fragility(context, trainings[0]))
            for trainings in wanted
        ],
        examples=[example for one in chosen for example in kind.examples(one, config)],
        captions=kind.captions(chosen, config),
        gallery=[image for one in chosen for image in attacked_images(context, one, config)],
        leaks=_leaks(context, entry.card),
        absent=(absent := without_images(prepared)),
        pictured={name: len(prepared.split(name).image_sample) for name in prepared.card.splits}
        if absent
        else {},
        unattacked=" ".join(
            dict.fromkeys(
                said
                for one in measured
                if one.outcomes is not None
                and (said := left_out(one.prepared.split(one.attack.split), "pixel attacks"))
            )
        ),
        streams=kind.streams(chosen),
        fooled=fooled_when(measured),
        comparisons=comparisons(measured, config, open_probes(context, entry.results)),
        transfers=[_transfer(context, key, entry.models, measured) for key in entry.transfers],
        results=[_result(context, key, entry.models, measured) for key in entry.results],
        models=[*map(model_facts, models)],
    )


def _leaks(context: Context, card: ArtifactKey | None) -> dict[str, int]:
    return context.store.manifest(card).summary_as(DatasetCardSummary).leaks if card else {}


def _transfer(
    context: Context, key: ArtifactKey, models: Sequence[ModelArtifacts], measured: Sequence[Measured]
) -> Transfer:
    made = context.artifact(key).manifest
    family = {str(one.model): m.spec.family for one, m in zip(models, measured, strict=True)}
    return Transfer(
        family[made.inputs["source"]], family[made.inputs["target"]], made.summary_as(CurvesSummary).curves
    )


def _result(
    context: Context, key: ArtifactKey, models: Sequence[ModelArtifacts], measured: Sequence[Measured]
) -> Result:
    made = context.store.manifest(key)
    family = {str(one.model): m.spec.family for one, m in zip(models, measured, strict=True)}
    return Result(key.kind, family.get(made.inputs.get("model", "")), made.summary)


def section_results(context: Context, models: Sequence[ModelArtifacts]) -> list[ArtifactKey]:
    """The newest artifact of every kind that a section shows, for a dataset (``models`` are all its models) and for
    each model: one that has the dataset as its input ``prepared``, or the model as its input ``model``; of those made from
    features, rather one of the features that a model reads."""
    own, sources = str(models[0].prepared), {str(one.model) for one in models}
    read = {str(one.features) for one in models}
    newest: dict[tuple[str, str], ArtifactKey] = {}
    for kind in sorted({kind for section in SECTIONS.values() for kind in section.results}):
        for made in sorted(
            context.store.list(kind), key=lambda made: (made.inputs.get("features") in read, made.created)
        ):
            source = made.inputs.get("model", own)
            if source in {own, *sources} and made.inputs.get("prepared", own) == own and of_today(made):
                newest[kind, source] = made.key
    return list(newest.values())


def _named(context: Context, prepared: ArtifactKey) -> str:
    return context.store.manifest(prepared).summary_as(DatasetSummary).name


def report_inputs(context: Context, models: Sequence[ModelArtifacts]) -> list[ReportInput]:
    """Models grouped by their dataset, each under the dataset's own name; where two have one name, with their key."""
    by_dataset: dict[ArtifactKey, list[ModelArtifacts]] = {}
    for one in models:
        by_dataset.setdefault(one.prepared, []).append(one)
    cards = newest_by_input(context.store, "dataset-card", "prepared")
    names = {prepared: _named(context, prepared) for prepared in by_dataset}
    twice = {name for name, count in Counter(names.values()).items() if count > 1}
    return [
        ReportInput(
            f"{names[prepared]} {prepared.digest[:8]}" if names[prepared] in twice else names[prepared],
            group,
            cards.get(str(prepared)),
            results=section_results(context, first_trainings(context.store, group)),
        )
        for prepared, group in by_dataset.items()
    ]
