"""The tasks of the poisoning experiment, beside those of every training."""

from collections.abc import Mapping, Sequence

from prefect import task

from mmer_core.config import EncoderConfig, PoisonConfig, RuntimeConfig
from mmer_core.escaping import for_markdown
from mmer_core.stages import Context
from mmer_core.stages.poison import detecting, judging, making, merging
from mmer_core.stages.poison.concept import Concept
from mmer_core.stages.poison.planning import Arm, CraftShard
from mmer_core.store import ArtifactKey
from tasks.artifacts import leave_note, leave_summary, leave_table
from tasks.progress import progress_for
from tasks.running import GPU
from tasks.stages import COMMON


@task(name="craft shard", task_run_name="craft {shard.attack} {shard.seed}", tags=[GPU], **COMMON)
def craft_shard(
    runtime: RuntimeConfig,
    config: PoisonConfig,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
    split: str,
    shard: CraftShard,
) -> ArtifactKey:
    """A few crafted poisons."""
    return making.craft_shard(Context(runtime), config, encoders, prepared, split, shard)


@task(name="make poisons", task_run_name="poisons: {arm}", tags=[GPU], **COMMON)
def make_poisons(
    runtime: RuntimeConfig,
    config: PoisonConfig,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    concept: Concept,
    arm: Arm,
    shards: list[tuple[CraftShard, ArtifactKey]],
) -> ArtifactKey:
    """The poisons of one training set."""
    context = Context(runtime)
    return making.make_poisons(context, config, encoders, prepared, features, concept, arm, shards).key


@task(name="encode triggered", task_run_name="encode triggered", tags=[GPU], **COMMON)
def encode_triggered(
    runtime: RuntimeConfig, config: PoisonConfig, encoders: EncoderConfig, prepared: ArtifactKey, split: str
) -> ArtifactKey:
    """Features of the evaluated images with the trigger."""
    context = Context(runtime, progress_for("encode triggered"))
    return judging.encode_triggered(context, config, encoders, prepared, split).key


@task(name="judge poisons", task_run_name="judge: {arm}", **COMMON)
def judge_poisons(
    runtime: RuntimeConfig,
    config: PoisonConfig,
    concept: Concept,
    arm: Arm,
    inputs: Mapping[str, ArtifactKey],
    split: str,
) -> ArtifactKey:
    """What poisons did to one model."""
    return judging.judge_poisons(Context(runtime), config, concept, arm, inputs, split).key


@task(name="detect poisons", task_run_name="{detector}: {arm}", **COMMON)
def detect(
    runtime: RuntimeConfig,
    config: PoisonConfig,
    concept: Concept,
    arm: Arm,
    detector: str,
    inputs: Mapping[str, ArtifactKey],
) -> ArtifactKey:
    """A detector's flags."""
    return detecting.detect(Context(runtime), config, concept, arm, detector, **inputs).key


@task(name="merge poisoning", task_run_name="merge poisoning", **COMMON)
def merge_poisoning(
    runtime: RuntimeConfig,
    config: PoisonConfig,
    concept: Concept,
    prepared: ArtifactKey,
    split: str,
    outcomes: Sequence[tuple[str, ArtifactKey, ArtifactKey | None]],
    detections: Sequence[ArtifactKey],
) -> ArtifactKey:
    """The experiment's tables and page."""
    artifact = merging.merge_poisoning(
        Context(runtime), config, concept, prepared, split, outcomes, detections
    )
    leave_summary(artifact, f"Poisoning {artifact.summary['dataset']}")
    leave_table("poisoning", "Success of poisons, means over seeds", artifact.summary["means"])
    if artifact.summary["warnings"]:
        leave_note(
            artifact, "Warnings", "\n".join(f"- {for_markdown(one)}" for one in artifact.summary["warnings"])
        )
    return artifact.key
