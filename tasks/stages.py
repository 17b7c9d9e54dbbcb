"""One task per stage. Inputs and results are keys: what is large travels through the store.

Prefect keeps no results and decides nothing about re-running: the stage keys do. So a task that is run again
finds its artifact, on any machine.
"""

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from mmer_core import stages
from mmer_core.attacks.record import CurvesSummary
from mmer_core.config import (
    AttackConfig,
    Config,
    DatasetCardConfig,
    EncoderConfig,
    EvaluationConfig,
    FinetuneConfig,
    IndexConfig,
    IngestConfig,
    ModelConfig,
    ReportConfig,
    RuntimeConfig,
    TrainingConfig,
)
from mmer_core.encoders.features import FeatureShard
from mmer_core.errors import StoreError
from mmer_core.stages import AttackShard, CaptionShard, Context, IndexShard, ModelArtifacts
from mmer_core.stages.dataset_card import SHEET_FILE, DatasetCardSummary
from mmer_core.stages.indexing import index_rows
from mmer_core.stages.model_card import CARD_FILE
from mmer_core.store import Artifact, ArtifactKey
from mmer_core.taxonomy import SPLITS
from tasks.artifacts import leave_lineage, leave_note, leave_picture, leave_summary, leave_table
from tasks.progress import progress_for
from tasks.running import GPU


def _worth_another_try(task: Any, run: Any, state: Any) -> bool:
    """Bad input stays bad; a store may answer the next time."""
    try:
        state.result()
    except StoreError:
        return True
    except Exception:
        return False
    return False


COMMON: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 2,
    "retry_delay_seconds": [5, 30],
    "retry_condition_fn": _worth_another_try,
}


@task(name="ingest", task_run_name="ingest {config.dataset}", **COMMON)
def ingest(runtime: RuntimeConfig, config: IngestConfig, captions: ArtifactKey | None = None) -> ArtifactKey:
    """Raw dataset to prepared arrays."""
    artifact = stages.ingest(Context(runtime, progress_for(f"ingest {config.dataset}")), config, captions)
    leave_summary(artifact, f"Prepared {artifact.summary['name']}")
    return artifact.key


@task(name="dataset card", task_run_name="dataset card", **COMMON)
def dataset_card(runtime: RuntimeConfig, config: DatasetCardConfig, prepared: ArtifactKey) -> ArtifactKey:
    """What a prepared dataset holds, what was left out, and what occurs in two splits."""
    artifact = stages.dataset_card(Context(runtime, progress_for("look for leakage")), config, prepared)
    leave_summary(artifact, f"Dataset card of {artifact.summary['name']}")
    figures = artifact.manifest.summary_as(DatasetCardSummary)
    leave_table(
        "dataset",
        "Samples and texts by split",
        [
            {"split": name, "samples": n, "texts": figures.texts[name]}
            for name in SPLITS
            if (n := figures.counts.get(name)) is not None
        ],
    )
    out = [*figures.quarantined.items(), *((f"leak, {kind}", n) for kind, n in figures.leaks.items())]
    leave_table("quarantine", "Left out, and in two splits", [{"reason": why, "count": n} for why, n in out])
    leave_picture("dataset-samples", f"Samples of {figures.name}", artifact.folder / SHEET_FILE)
    leave_lineage(artifact)
    return artifact.key


@task(name="plan captions", task_run_name="plan captions", **COMMON)
def plan_captions(runtime: RuntimeConfig, config: IngestConfig) -> ArtifactKey:
    """The photos that nothing describes."""
    return stages.plan_captions(Context(runtime), config)


@task(
    name="caption shard",
    task_run_name="caption {shard.start}",
    tags=[GPU],
    **COMMON,
)
def caption_shard(
    runtime: RuntimeConfig, config: IngestConfig, plan: ArtifactKey, shard: CaptionShard
) -> ArtifactKey:
    """A model's captions of a few photos."""
    return stages.caption_shard(Context(runtime), config, plan, shard)


@task(name="merge captions", task_run_name="merge captions", **COMMON)
def merge_captions(
    runtime: RuntimeConfig, plan: ArtifactKey, shards: list[tuple[CaptionShard, ArtifactKey]]
) -> ArtifactKey:
    """All captions as one artifact."""
    artifact = stages.merge_captions(Context(runtime), plan, shards)
    leave_summary(artifact, "Captions")
    return artifact.key


@task(
    name="encode shard",
    task_run_name="encode {shard.split} {shard.stream} {shard.start}",
    tags=[GPU],
    **COMMON,
)
def encode_shard(
    runtime: RuntimeConfig, config: EncoderConfig, prepared: ArtifactKey, shard: FeatureShard
) -> ArtifactKey:
    """Features of one shard."""
    return stages.encode_features_shard(Context(runtime), config, prepared, shard)


@task(name="merge features", task_run_name="merge features", **COMMON)
def merge_features(
    runtime: RuntimeConfig,
    config: EncoderConfig,
    prepared: ArtifactKey,
    shards: list[tuple[FeatureShard, ArtifactKey]],
) -> ArtifactKey:
    """All feature shards as one artifact."""
    artifact = stages.merge_features(Context(runtime), config, prepared, shards)
    leave_summary(artifact, "Features")
    return artifact.key


@task(name="train", task_run_name="train {model.family}, seed {training.seed}", tags=[GPU], **COMMON)
def train(
    runtime: RuntimeConfig,
    model: ModelConfig,
    training: TrainingConfig,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    poison: ArtifactKey | None = None,
    flags: ArtifactKey | None = None,
) -> ArtifactKey:
    """A trained model."""
    context = Context(runtime, progress_for(f"train {model.family}"))
    artifact = stages.train(context, model, training, encoders, prepared, features, poison, flags)
    leave_summary(artifact, f"{model.family.capitalize()} model of {artifact.summary['dataset']}")
    return artifact.key


@task(name="finetune", task_run_name="finetune {config.method}", tags=[GPU], **COMMON)
def finetune(
    runtime: RuntimeConfig, config: FinetuneConfig, encoders: EncoderConfig, prepared: ArtifactKey
) -> ArtifactKey:
    """Adapted encoders."""
    context = Context(runtime, progress_for(f"finetune {config.method}"))
    artifact = stages.finetune(context, config, encoders, prepared)
    leave_summary(artifact, "Adapted encoders")
    return artifact.key


@task(name="evaluate", task_run_name="evaluate on {config.split}", **COMMON)
def evaluate(
    runtime: RuntimeConfig,
    config: EvaluationConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    model: ArtifactKey,
) -> ArtifactKey:
    """Metrics of a model."""
    artifact = stages.evaluate(Context(runtime), config, prepared, features, model)
    leave_summary(artifact, f"{str(artifact.summary['family']).capitalize()} model on {config.split}")
    return artifact.key


@task(name="model card", task_run_name="model card", **COMMON)
def model_card(
    runtime: RuntimeConfig, prepared: ArtifactKey, model: ArtifactKey, evaluation: ArtifactKey
) -> ArtifactKey:
    """A model card."""
    artifact = stages.model_card(Context(runtime), prepared, model, evaluation)
    family = str(artifact.summary["family"]).capitalize()
    leave_note(artifact, f"{family} model's card", (artifact.folder / CARD_FILE).read_text("utf-8"))
    leave_lineage(artifact)
    return artifact.key


@task(name="plan index", task_run_name="plan index", **COMMON)
def plan_index(
    runtime: RuntimeConfig,
    config: IndexConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    model: ArtifactKey,
) -> ArtifactKey:
    """Empty, trained FAISS indexes."""
    return stages.plan_index(Context(runtime), config, prepared, features, model).key


@task(name="plan compaction", **COMMON)
def plan_compaction(runtime: RuntimeConfig, index: ArtifactKey) -> ArtifactKey:
    """Empty, trained FAISS indexes for what is left of one."""
    return stages.plan_compaction(Context(runtime), index).key


@task(name="update index", **COMMON)
def update_index(
    runtime: RuntimeConfig, base: ArtifactKey, added: ArtifactKey | None, delete: list[str]
) -> ArtifactKey:
    """A new version of a FAISS index."""
    artifact = stages.update_index(Context(runtime), base, added, delete)
    leave_summary(artifact, f"FAISS index, version {artifact.summary.get('version', 1)}")
    return artifact.key


@task(
    name="index shard",
    task_run_name="index {shard.target} {shard.start}",
    **COMMON,
)
def index_shard(runtime: RuntimeConfig, plan: ArtifactKey, shard: IndexShard) -> ArtifactKey:
    """Some rows of a FAISS index."""
    return stages.index_shard(Context(runtime), plan, shard)


@task(name="index", task_run_name="merge index", **COMMON)
def merge_index(
    runtime: RuntimeConfig,
    plan: ArtifactKey,
    shards: list[tuple[IndexShard, ArtifactKey]],
    part: bool = False,
) -> ArtifactKey:
    """A FAISS index, or a part of one, joined, tuned and measured."""
    artifact = stages.merge_index(Context(runtime), plan, shards, part=part)
    leave_summary(artifact, "FAISS index")
    leave_table("index", "What searches find, and how fast", index_rows(artifact.summary))
    return artifact.key


@task(name="attack shard", task_run_name="{shard.attack} K={shard.pixels}", tags=[GPU], **COMMON)
def attack_shard(
    runtime: RuntimeConfig,
    config: AttackConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    model: ArtifactKey,
    shard: AttackShard,
) -> ArtifactKey:
    """Outcomes of one attack on a few images."""
    return stages.attack_shard(Context(runtime), config, prepared, features, model, shard)


@task(name="merge robustness", task_run_name="merge robustness", **COMMON)
def merge_robustness(
    runtime: RuntimeConfig, config: AttackConfig, model: ArtifactKey, shards: list[ArtifactKey]
) -> ArtifactKey:
    """All outcomes of the attacks on a model."""
    artifact = stages.merge_robustness(Context(runtime), config, model, shards)
    leave_table("robustness", "Success of pixel attacks", _curves(artifact))
    return artifact.key


def _curves(artifact: Artifact) -> list[dict[str, Any]]:
    """Rows of success against changed pixels, under names that need no manual."""
    names = {"n": "attacked", "already": "met without a change"}
    rows = []
    for point in artifact.manifest.summary_as(CurvesSummary).curves:
        success = point.success.value  # None where nothing was attacked
        shown = {names.get(name, name): value for name, value in point if name != "success"}
        rows.append(shown | {"success %": None if success is None else round(success, 1)})
    return rows


@task(name="transfer", task_run_name="transfer", tags=[GPU], **COMMON)
def transfer(runtime: RuntimeConfig, source: ModelArtifacts, target: ModelArtifacts) -> ArtifactKey:
    """The successes on one model, shown to another."""
    artifact = stages.transfer(Context(runtime), source, target)
    leave_table("transfer", "Successes that fool another model too", _curves(artifact))
    return artifact.key


@task(name="report", task_run_name="report", **COMMON)
def report(
    runtime: RuntimeConfig, config: ReportConfig, inputs: list[stages.ReportInput], settings: Config
) -> ArtifactKey:
    """The HTML report."""
    artifact = stages.build_report(Context(runtime, progress_for("report")), config, inputs, settings)
    leave_summary(artifact, "Report")
    leave_lineage(artifact)
    return artifact.key
