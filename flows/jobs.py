"""The jobs. Each is a flow with one parameter; what an earlier run made is found and not made again.

Flows return keys as strings, so that a run's result can be read in the UI and given to ``mmer artifacts``.
"""

from dataclasses import replace
from typing import NamedTuple

from prefect import flow

from mmer_core.config import (
    EncoderConfig,
    Family,
    IndexJob,
    IngestJob,
    PipelineConfig,
    ReportJob,
    RobustnessJob,
    RuntimeConfig,
    SeedsJob,
    TrainJob,
)
from mmer_core.stages import (
    Context,
    ModelArtifacts,
    ReportInput,
    check_encoders,
    check_splits,
    newest_models,
    plan_attack,
    plan_features,
)
from mmer_core.stages import report_inputs as group_by_dataset
from mmer_core.store import ArtifactKey
from tasks import stages
from tasks.progress import progress_for
from tasks.running import call, call_flow, fan_out


class Trained(NamedTuple):
    """Keys of a trained model and of everything on the way to it."""

    prepared: str
    features: str
    model: str
    evaluation: str

    def artifacts(self) -> ModelArtifacts:
        return ModelArtifacts(*(ArtifactKey.parse(key) for key in self))


@flow(name="ingest")
def ingest(job: IngestJob) -> str:
    """Prepare one dataset: raw files to arrays, CSV and a quarantine report."""
    return str(call(stages.ingest, job.runtime, job.dataset))


@flow(name="train")
def train(job: TrainJob) -> Trained:
    """Prepare, encode, train and evaluate."""
    prepared, features = _prepare(job)
    model = call(stages.train, job.runtime, job.model, job.training, job.encoders, prepared, features)
    evaluation = call(stages.evaluate, job.runtime, job.evaluation, prepared, features, model)
    return Trained(str(prepared), str(features), str(model), str(evaluation))


@flow(name="seeds")
def seeds(job: SeedsJob) -> list[Trained]:
    """Prepare and encode once, then train and evaluate with every seed."""
    prepared, features = _prepare(job)
    trainings = [
        job.training.model_copy(update={"seed": seed})
        for seed in range(job.training.seed, job.training.seed + job.seeds)
    ]
    models = fan_out(
        stages.train,
        trainings,
        lambda training: (job.runtime, job.model, training, job.encoders, prepared, features),
        job.runtime.workers,
        progress_for("seeds"),
    )
    evaluations = fan_out(
        stages.evaluate,
        models,
        lambda model: (job.runtime, job.evaluation, prepared, features, model),
        job.runtime.workers,
        progress_for("evaluate"),
    )
    return [
        Trained(str(prepared), str(features), str(model), str(evaluation))
        for model, evaluation in zip(models, evaluations, strict=True)
    ]


@flow(name="index")
def index(job: IndexJob) -> str:
    """Build the FAISS index of a split."""
    trained = train.fn(job).artifacts()
    return str(call(stages.index, job.runtime, job.index, trained.prepared, trained.features, trained.model))


@flow(name="robustness")
def robustness(job: RobustnessJob) -> str:
    """Attack a model, in shards that run in parallel."""
    trained = train.fn(job).artifacts()
    shards = plan_attack(Context(job.runtime), job.attack, trained.prepared)
    done = fan_out(
        stages.attack_shard,
        shards,
        lambda shard: (job.runtime, job.attack, trained.prepared, trained.features, trained.model, shard),
        job.runtime.workers,
        progress_for(f"attack {job.model.family}"),
    )
    return str(call(stages.merge_robustness, job.runtime, job.attack, trained.model, done))


@flow(name="report")
def report(job: ReportJob) -> str:
    """Write the report from models that were trained and measured before."""
    context = Context(job.runtime)
    inputs = group_by_dataset(context, newest_models(context.store, job.models))
    return str(call(stages.report, job.runtime, job.report, inputs, job))


@flow(name="pipeline")
def pipeline(config: PipelineConfig) -> str:
    """Everything from raw datasets to the report; returns the report's key."""
    check_encoders(config.encoders)
    inputs = []
    for name in config.datasets:
        models = [_measure(config, name, family) for family in config.families]
        inputs.append(ReportInput(name, models))
    return str(call(stages.report, config.runtime, config.report, inputs, config))


def _measure(config: PipelineConfig, name: str, family: Family) -> ModelArtifacts:
    """Train, index and attack one family on one dataset."""
    dataset = config.datasets[name]
    job = TrainJob(
        dataset=dataset,
        prepared=call_flow(ingest, IngestJob(dataset=dataset, runtime=config.runtime)),
        encoders=config.encoders,
        model=config.model.model_copy(update={"family": family}),
        training=config.training,
        evaluation=config.evaluation,
        runtime=config.runtime,
    )
    attack = RobustnessJob(**dict(job), attack=config.attack)
    check_splits(Context(config.runtime), ArtifactKey.parse(str(job.prepared)), sorted(attack.splits()))
    measured = call_flow(train, job).artifacts()
    attacked = call_flow(robustness, attack)
    measured = replace(measured, robustness=ArtifactKey.parse(attacked))
    if Context(config.runtime).artifact(measured.prepared).summary["task"] == "retrieval":
        indexed = call_flow(index, IndexJob(**dict(job), index=config.index))
        measured = replace(measured, index=ArtifactKey.parse(indexed))
    return measured


def _prepare(job: TrainJob) -> tuple[ArtifactKey, ArtifactKey]:
    """Keys of the prepared arrays and of their features."""
    check_encoders(job.encoders)
    prepared = (
        ArtifactKey.parse(job.prepared) if job.prepared else call(stages.ingest, job.runtime, job.dataset)
    )
    check_splits(Context(job.runtime), prepared, sorted(job.splits()))
    return prepared, _encode(job.runtime, job.encoders, prepared)


def _encode(runtime: RuntimeConfig, encoders: EncoderConfig, prepared: ArtifactKey) -> ArtifactKey:
    shards = plan_features(Context(runtime), encoders, prepared)
    keys = fan_out(
        stages.encode_shard,
        shards,
        lambda shard: (runtime, encoders, prepared, shard),
        runtime.workers,
        progress_for("encode"),
    )
    return call(stages.merge_features, runtime, encoders, prepared, list(zip(shards, keys, strict=True)))
