"""The jobs. Each is a flow with one parameter; what an earlier run made is found and not made again.

Flows return keys as strings, so that a run's result can be read in the UI and given to ``mmer artifacts``.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from mmer_core import stages
from mmer_core.config import (
    ARCHITECTURES,
    EncoderConfig,
    EvaluateJob,
    Family,
    FinetuneJob,
    IndexJob,
    IngestConfig,
    IngestJob,
    ModelJob,
    PipelineJob,
    ReportJob,
    RobustnessJob,
    RuntimeConfig,
    SeedsJob,
    TrainJob,
    UpdateIndexJob,
)
from mmer_core.datasets.prepared import DatasetSummary, Prepared
from mmer_core.errors import ConfigError
from mmer_core.log import event
from mmer_core.stages import (
    ATTACKING,
    CAPTIONING,
    ENCODING,
    INDEXING,
    INDEXING_PART,
    Context,
    IndexInputs,
    ModelArtifacts,
    ReportInput,
    Sharded,
    check_encoders,
    check_family,
    check_has_images,
    check_ids,
    check_splits,
    choose_models,
    find_index,
    find_model,
    first_trainings,
    has_images,
    has_streams_for,
    holds,
    left_out,
    plan_evaluation,
    prepared_of,
    read_ids,
    section_results,
    tell_notes,
    transfer_pairs,
    worth_compacting,
)
from mmer_core.stages import report_inputs as group_by_dataset
from mmer_core.stages.captions import CaptionPlanSummary
from mmer_core.stages.finetune import finetune_as_launched
from mmer_core.stages.index import check_shared_space
from mmer_core.store import Artifact, ArtifactKey
from mmer_core.task_kinds import kind_of
from mmer_core.training import ranks
from tasks.decorators import flow
from tasks.engines import check_engine
from tasks.running import call_flow
from tasks.stages import make, make_each, make_sharded


class Ingested(NamedTuple):
    """Keys of prepared arrays and of their dataset card."""

    prepared: str
    card: str


class Trained(NamedTuple):
    """Keys of a trained model and of everything on the way to it."""

    prepared: str
    features: str
    model: str
    evaluation: str

    def artifacts(self) -> ModelArtifacts:
        return ModelArtifacts(*(ArtifactKey.parse(key) for key in self))


@flow(name="ingest")
def ingest(job: IngestJob) -> Ingested:
    """Prepare one dataset: raw files to arrays, CSV, a quarantine report and a dataset card."""
    captions = _caption(job.runtime, job.dataset)
    prepared = make(stages.ingest, job.runtime, job.dataset, captions)
    tell_notes(Context(job.runtime), prepared)
    card = make(stages.dataset_card, job.runtime, job.card, prepared)
    return Ingested(str(prepared), str(card))


@flow(name="train")
def train(job: TrainJob) -> Trained:
    """Prepare, encode, train and evaluate, and write the model's card."""
    prepared, features = prepare(job, partial(check_family, family=job.model.family))
    model = _train(job, prepared, features)
    evaluation = make(stages.evaluate, job.runtime, job.evaluation, prepared, features, model)
    make(stages.model_card, job.runtime, prepared, model, evaluation)
    return Trained(str(prepared), str(features), str(model), str(evaluation))


@flow(name="seeds")
def seeds(job: SeedsJob) -> list[Trained]:
    """Prepare and encode once, then train and evaluate with every seed."""
    prepared, features = prepare(job, partial(check_family, family=job.model.family))
    models = _train_each(job, prepared, features)
    given = {"config": job.evaluation, "prepared": prepared, "features": features}
    evaluations = make_each(
        stages.evaluate,
        models,
        lambda model: {**given, "model": model},
        job.runtime,
        "evaluate",
    )
    return [
        Trained(str(prepared), str(features), str(model), str(evaluation))
        for model, evaluation in zip(models, evaluations, strict=True)
    ]


@flow(name="index")
def index(job: IndexJob) -> str:
    """Build the FAISS index of a split, in shards that run in parallel."""
    if job.trained is None:
        job = job.model_copy(update={"prepared": _prepared_for_index(job)})
    return str(_index(job.runtime, IndexInputs(job.index, *_model(job))))


def _prepared_for_index(job: IndexJob) -> str:
    """Key of the prepared arrays; a model that will have nothing to search in is refused before it is trained."""
    tasks = job.dataset.format.tasks
    if not job.prepared and len(tasks) == 1:
        check_shared_space(tasks[0], job.model.family, job.dataset.dataset)  # before anything is prepared
    made = _prepared(job)
    summary = Context(job.runtime).store.manifest(made).summary_as(DatasetSummary)
    check_shared_space(summary.task, job.model.family, summary.name)
    check_has_images(Context(job.runtime), made, job.index.split, "photo to search for")
    return str(made)


@flow(name="update-index")
def update_index(job: UpdateIndexJob) -> str:
    """Publish a new version of a FAISS index: photos come in, or go, without building it again."""
    check_engine(job.runtime)
    context = Context(job.runtime)
    base = find_index(context, job.index)
    delete = [*job.delete, *(read_ids(job.delete_from) if job.delete_from else ())]
    check_ids(base, delete)
    added = _index_to_add(job, base) if job.adds else None
    key = base.key
    asked_before = bool(added) and not delete and holds(base, added)
    if (added or delete or job.compact != "yes") and not asked_before:
        key = make(stages.update_index, job.runtime, IndexInputs.of(base), base.key, added, delete)
    updated = context.artifact(key)
    if job.compact == "no" or not worth_compacting(updated, always=job.compact == "yes"):
        return str(key)
    return str(_index(job.runtime, replace(IndexInputs.of(updated), index=key)))


def _index_to_add(job: UpdateIndexJob, base: Artifact) -> ArtifactKey:
    """A part (kind ``index-part``) of the photos that come in, by the model of the index that they come into."""
    context = Context(job.runtime)
    model = base.manifest.inputs["model"]
    wanted = EvaluateJob(model=model, dataset=job.dataset, prepared=job.prepared, runtime=job.runtime)
    plan = plan_evaluation(context, wanted)
    check_encoders(context, plan.encoders)
    prepared = plan.prepared or _ingest(job.runtime, plan.dataset)
    check_splits(context, prepared, [] if job.split == "all" else [job.split])
    features = _encode(job.runtime, plan.encoders, prepared, None if job.split == "all" else {job.split})
    config = IndexInputs.of(base).config.model_copy(update={"split": job.split})
    return _index(job.runtime, IndexInputs(config, prepared, features, plan.model), INDEXING_PART)


def _index(
    runtime: RuntimeConfig,
    inputs: IndexInputs,
    work: Sharded[...] = INDEXING,
) -> ArtifactKey:
    """The index of a split, or of what is left of another index."""
    context, split = Context(runtime), inputs.config.split
    dataset = Prepared.open(context.parts(inputs.prepared))
    for name in dataset.card.splits if split == "all" else (split,):
        if said := left_out(dataset.split(name), "the index"):
            event(said)
    plan = make(stages.plan_index, runtime, inputs)
    return make_sharded(work, runtime, inputs, plan)


@flow(name="robustness")
def robustness(job: RobustnessJob) -> str:
    """Attack a model, in shards that run in parallel."""
    context = Context(job.runtime)
    if job.trained is None:
        if not ARCHITECTURES[job.model.family].sees:
            raise ConfigError(f"{job.model.family} models read texts only, so there is no pixel to attack")
        check_engine(job.runtime)
        made = _prepared(job)
        check_has_images(context, made, job.attack.split, "pixel to attack")
        job = job.model_copy(update={"prepared": str(made)})
    prepared, features, model = _model(job)
    check_has_images(context, prepared, job.attack.split, "pixel to attack")
    if said := left_out(Prepared.open(context.parts(prepared)).split(job.attack.split), "pixel attacks"):
        event(said)
    photos = None
    if job.attack.stream == "photo":
        photos = make(stages.collect_photos, job.runtime, job.attack, job.dataset, prepared)
    gallery = None
    if kind_of(Prepared.open(context.parts(prepared)).card.task).ranks:
        gallery = make(stages.embed_gallery, job.runtime, job.attack, prepared, features, model)
    return str(make_sharded(ATTACKING, job.runtime, job.attack, prepared, features, model, photos, gallery))


@flow(name="finetune")
def finetune(job: FinetuneJob) -> str:
    """Adapt the encoders to a dataset; features, training and all else then take them by name."""
    launched = ranks.launched()
    if launched:
        job = job.model_copy(update={"runtime": ranks.own_runtime(job.runtime, launched)})
    context = Context(job.runtime)
    check_encoders(context, job.encoders)
    prepared = _prepared(job)
    check_splits(context, prepared, ["train", "val"])
    if job.finetune.towers != "text":
        check_has_images(context, prepared, "train", "image encoder to tune (--finetune.towers text)")

    def made() -> ArtifactKey:
        return make(stages.finetune, job.runtime, job.finetune, job.encoders, prepared)

    if launched:
        return str(finetune_as_launched(context, job.finetune, job.encoders, prepared, made))
    return str(made())


@flow(name="evaluate")
def evaluate(job: EvaluateJob) -> str:
    """Evaluate a model that is there, or a dual encoder without training, on any split of any dataset."""
    return _evaluate_zero_shot(job, job.zero_shot) if job.zero_shot else _evaluate_trained(job)


def _evaluate_trained(job: EvaluateJob) -> str:
    context, split = Context(job.runtime), job.evaluation.split
    plan = plan_evaluation(context, job)
    check_encoders(context, plan.encoders)
    prepared = plan.prepared or _ingest(job.runtime, plan.dataset)
    check_splits(context, prepared, [split])
    features = plan.features(prepared) or _encode(job.runtime, plan.encoders, prepared, {split})
    return str(make(stages.evaluate, job.runtime, job.evaluation, prepared, features, plan.model))


def _evaluate_zero_shot(job: EvaluateJob, encoder: str) -> str:
    encoders, split = EncoderConfig(image=encoder, text=encoder), job.evaluation.split
    check_encoders(Context(job.runtime), encoders)
    prepared = _prepared(job)
    check_splits(Context(job.runtime), prepared, [split])
    check_family(Context(job.runtime), prepared, "zero-shot")
    features = _encode(job.runtime, encoders, prepared, {"val", split})  # val calibrates emotions
    model = make(stages.zero_shot, job.runtime, job.prompts, encoders, prepared, features)
    return str(make(stages.evaluate, job.runtime, job.evaluation, prepared, features, model))


@flow(name="report")
def report(job: ReportJob) -> str:
    """Write the report from models that were trained and measured before."""
    context = Context(job.runtime)
    chosen = choose_models(context.store, job.models, all_seeds=True, prepared=_reported(context, job))
    for sentence in chosen.left_out:
        event(sentence, level=logging.WARNING)
    inputs = [
        replace(entry, transfers=_transfers(job.runtime, first_trainings(context.store, entry.models)))
        for entry in group_by_dataset(context, chosen.models)
    ]
    return str(make(stages.report, job.runtime, job.report, inputs, job))


def _reported(context: Context, job: ReportJob) -> list[ArtifactKey] | None:
    """The prepared arrays whose models are reported; None for all."""
    if job.prepared:
        return [context.store.find(job.prepared)]
    return prepared_of(context.store, job.dataset) if job.dataset.model_fields_set else None


@flow(name="pipeline")
def pipeline(config: PipelineJob) -> str:
    """Everything from raw datasets to the report; returns the report's key."""
    check_engine(config.runtime)
    check_encoders(Context(config.runtime), config.encoders)
    inputs = []
    for name, dataset in config.datasets.items():
        ingested = call_flow(ingest, IngestJob(dataset=dataset, runtime=config.runtime), f"ingest {name}")
        families = _families(config, name, ingested.prepared)
        trainings = [_measure(config, name, ingested.prepared, family) for family in families]
        if not trainings:
            continue
        first = [of_family[0] for of_family in trainings]
        transfers = _transfers(config.runtime, first)
        results = [*section_results(Context(config.runtime), first)]
        if probed := _probe(config, first):
            results = [*(one for one in results if one.kind != probed.kind), probed]
        models = [one for of_family in trainings for one in of_family]
        inputs.append(ReportInput(name, models, ArtifactKey.parse(ingested.card), transfers, results))
    if not inputs:
        raise ConfigError(
            f"no dataset has {' or '.join(config.families)} models; docs/architecture.md lists the families of each task"
        )
    return str(make(stages.report, config.runtime, config.report, inputs, config))


def _probe(config: PipelineJob, models: Sequence[ModelArtifacts]) -> ArtifactKey | None:
    """A linear probe on the features of the trained models, where there are labels."""
    one = models[0]
    summary = Context(config.runtime).store.manifest(one.prepared).summary_as(DatasetSummary)
    if not kind_of(summary.task).labelled or {*config.families} == {"zero-shot"}:
        return None
    return make(
        stages.probe,
        config.runtime,
        config.probe,
        config.evaluation,
        config.encoders,
        one.prepared,
        one.features,
    )


def _families(config: PipelineJob, name: str, prepared: str) -> list[Family]:
    """Those of the wanted families that the dataset's kind of task has; a study of several kinds may ask for any."""
    made = Context(config.runtime).store.manifest(ArtifactKey.parse(prepared))
    task = made.summary_as(DatasetSummary).task
    there = kind_of(task).families
    if missing := [family for family in config.families if family not in there]:
        event(f"{name} is a {task} dataset, which has no {' or '.join(missing)} models; they are left out")
    context = Context(config.runtime)
    found = [family for family in config.families if family in there]
    readable = [family for family in found if has_streams_for(context, family, made.key)]
    if unread := [family for family in found if family not in readable]:
        event(f"{name} has nothing that {' or '.join(unread)} models read; they are left out")
    return readable


def _measure(config: PipelineJob, name: str, prepared: str, family: Family) -> list[ModelArtifacts]:
    """Train one family on one dataset with every seed, attack each where there are pixels to change, and index the first."""
    job = TrainJob(
        dataset=config.datasets[name],
        prepared=prepared,
        encoders=config.encoders,
        model=config.model.model_copy(update={"family": family}),
        training=config.training,
        evaluation=config.evaluation,
        runtime=config.runtime,
    )
    attack = RobustnessJob(**dict(job), attack=config.attack)
    check_splits(Context(config.runtime), ArtifactKey.parse(prepared), sorted(attack.splits()))
    which = f"{family} {name}"
    trained = [call_flow(train, job, f"train {which}")]
    if config.seeds > 1 and family != "zero-shot":
        again = SeedsJob(**dict(job), seeds=config.seeds)
        trained = call_flow(seeds, again, f"train {which}, {config.seeds} seeds")
    measured = [one.artifacts() for one in trained]
    if not ARCHITECTURES[family].sees:
        event(f"the {family} model of {name} reads texts only, so there is no pixel to attack")
    elif not has_images(Context(config.runtime), measured[0].prepared, config.attack.split):
        event(f"no sample of {config.attack.split} in {name} has an image, so there is no pixel to attack")
    else:
        measured = [_attacked(config, job.dataset, one, which) for one in measured]
    prepared_summary = Context(config.runtime).store.manifest(measured[0].prepared).summary_as(DatasetSummary)
    if kind_of(prepared_summary.task).searchable:
        wanted = IndexJob(trained=str(measured[0].model), runtime=config.runtime, index=config.index)
        indexed = call_flow(index, wanted, f"index {which}")
        measured[0] = replace(measured[0], index=ArtifactKey.parse(indexed))
    return measured


def _attacked(
    config: PipelineJob, dataset: IngestConfig, measured: ModelArtifacts, which: str
) -> ModelArtifacts:
    photos = {"dataset": dataset} if config.attack.stream == "photo" else {}
    job = RobustnessJob(trained=str(measured.model), runtime=config.runtime, **photos, attack=config.attack)
    return replace(measured, robustness=ArtifactKey.parse(call_flow(robustness, job, f"attack {which}")))


def _transfers(runtime: RuntimeConfig, models: Sequence[ModelArtifacts]) -> list[ArtifactKey]:
    """The successes on every attacked model, shown to the others that were attacked alike."""
    pairs = transfer_pairs(Context(runtime), models)
    return [make(stages.transfer, runtime, source, target) for source, target in pairs]


def _caption(runtime: RuntimeConfig, dataset: IngestConfig) -> ArtifactKey | None:
    """Captions for people whom nothing else describes, where there are any and a captioner is given."""
    if dataset.captioner is None:
        return None
    plan = make(stages.plan_captions, runtime, dataset)
    if not Context(runtime).store.manifest(plan).summary_as(CaptionPlanSummary).photos:
        return None
    return make_sharded(CAPTIONING, runtime, dataset, plan)


def prepare(
    job: TrainJob, check: Callable[[Context, ArtifactKey], None] = lambda context, prepared: None
) -> tuple[ArtifactKey, ArtifactKey]:
    """Keys of the prepared arrays and of their features.

    Args:
        check: Raises an error if the prepared arrays lack what the job needs, before they are encoded.
    """
    check_engine(job.runtime)
    context = Context(job.runtime)
    check_encoders(context, job.encoders)
    prepared = _prepared(job)
    check_splits(context, prepared, sorted(job.splits()))
    check(context, prepared)
    return prepared, _encode(job.runtime, job.encoders, prepared)


def _train_each(job: SeedsJob, prepared: ArtifactKey, features: ArtifactKey) -> list[ArtifactKey]:
    """A model of every seed; the family zero-shot draws nothing, so all of its models are one."""
    if job.model.family == "zero-shot":
        return [_train(job, prepared, features)] * job.seeds
    given = {"model": job.model, "encoders": job.encoders, "prepared": prepared, "features": features}
    first = job.training.seed
    return make_each(
        stages.train,
        [job.training.model_copy(update={"seed": seed}) for seed in range(first, first + job.seeds)],
        lambda training: {**given, "training": training},
        job.runtime,
        "seeds",
    )


def _train(job: TrainJob, prepared: ArtifactKey, features: ArtifactKey) -> ArtifactKey:
    if job.model.family == "zero-shot":
        return make(stages.zero_shot, job.runtime, job.model.prompts, job.encoders, prepared, features)
    return make(stages.train, job.runtime, job.model, job.training, job.encoders, prepared, features)


def _model(job: ModelJob) -> tuple[ArtifactKey, ArtifactKey, ArtifactKey]:
    """Keys of prepared arrays, of features, and of the model that was trained on them, now if not before."""
    if job.trained is None:
        made = train.fn(job).artifacts()
        return made.prepared, made.features, made.model
    check_engine(job.runtime)
    context = Context(job.runtime)
    found = find_model(context.store, job.trained)
    prepared, features = (ArtifactKey.parse(found.inputs[role]) for role in ("prepared", "features"))
    check_splits(context, prepared, sorted(job.splits()))
    return prepared, features, found.key


def _prepared(job: TrainJob | FinetuneJob | EvaluateJob) -> ArtifactKey:
    return ArtifactKey.parse(job.prepared) if job.prepared else _ingest(job.runtime, job.dataset)


def _ingest(runtime: RuntimeConfig, dataset: IngestConfig) -> ArtifactKey:
    return ArtifactKey.parse(ingest.fn(IngestJob(dataset=dataset, runtime=runtime)).prepared)


def _encode(
    runtime: RuntimeConfig, encoders: EncoderConfig, prepared: ArtifactKey, splits: set[str] | None = None
) -> ArtifactKey:
    """Features of some splits, of all when None."""
    there = Prepared.open(Context(runtime).parts(prepared)).card.splits
    wanted = [name for name in there if splits is None or name in splits]
    return make_sharded(ENCODING, runtime, encoders, prepared, wanted)
