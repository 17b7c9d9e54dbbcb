"""The poisoning experiment as a flow: every training set is a subflow of its own."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from prefect import flow
from pydantic import Field

from flows.jobs import prepare
from mmer_core.config import Family, PoisonJob
from mmer_core.datasets.prepared import Prepared
from mmer_core.stages import Context
from mmer_core.stages.poison.concept import Concept, choose_concept
from mmer_core.stages.poison.detecting import detectable
from mmer_core.stages.poison.planning import Arm, CraftShard, plan_arms, plan_crafting
from mmer_core.store import ArtifactKey
from tasks import poison as tasks
from tasks import stages
from tasks.progress import progress_for
from tasks.running import call, fan_out, fan_out_flows


class ArmJob(PoisonJob):
    """One training set of an experiment, for every family."""

    features: str = Field(description="Key of the features of the prepared arrays.")
    triggered: str = Field(description="Key of the features of the evaluated images with the trigger.")
    concept: Concept = Field(description="What the poisons should make a model see.")
    arm: Arm = Field(description="Attack, number of poisons and seed.")
    crafted: tuple[tuple[CraftShard, str], ...] = Field((), description="Crafted poisons, with their keys.")


class Outcome(NamedTuple):
    """Keys of what became of one model: its outcome, its poisons if any, and what found them if anything did."""

    detector: str
    outcome: str
    poison: str | None
    detection: str | None


@flow(name="poison")
def poison(job: PoisonJob) -> str:
    """Poison the training split, train every family on it again and again, and tell what it did."""
    prepared, features = prepare(job)
    split = job.evaluation.split
    dataset = Prepared.open(Context(job.runtime).folder(prepared))
    concept = choose_concept(job.poison, dataset, split)
    triggered = call(tasks.encode_triggered, job.runtime, job.poison, job.encoders, prepared, split)
    fields = dict(job) | {"prepared": str(prepared), "features": str(features), "triggered": str(triggered)}
    planned = plan_arms(job.poison, job.training.seed)
    shards = {arm: plan_crafting(arm, job.poison, dataset, split, concept) for arm in planned}
    crafted = _craft(job, prepared, list(dict.fromkeys(chain.from_iterable(shards.values()))))
    arms = [
        ArmJob(
            **fields,
            concept=concept,
            arm=arm,
            crafted=tuple((shard, crafted[shard]) for shard in shards[arm]),
        )
        for arm in planned
    ]
    done = fan_out_flows(poison_arm, arms, job.runtime, progress_for("poison"))
    outcomes = [one for of_arm in done for one in of_arm]
    return str(
        call(
            tasks.merge_poisoning,
            job.runtime,
            job.poison,
            concept,
            prepared,
            split,
            [(one.detector, ArtifactKey.parse(one.outcome), _key(one.poison)) for one in outcomes],
            [ArtifactKey.parse(one.detection) for one in outcomes if one.detection],
        )
    )


@flow(name="poison arm", flow_run_name="{job.arm}")
def poison_arm(job: ArmJob) -> list[Outcome]:
    """One training set: craft, poison, train every family, judge; then detect, filter, and train once more."""
    poisons = _poisons(job) if job.arm.count else None
    outcomes = []
    for family in job.families:
        model, outcome = _trained(job, family, poisons)
        outcomes.append(Outcome("", str(outcome), _text(poisons), None))
        if poisons is None or job.arm.count < max(job.poison.counts):
            continue
        for detector in job.poison.detectors:
            if detectable(detector, job.concept, family):
                outcomes.append(_filtered(job, family, poisons, model, detector))
    return outcomes


def _craft(job: PoisonJob, prepared: ArtifactKey, shards: Sequence[CraftShard]) -> dict[CraftShard, str]:
    """The key of every shard's poisons."""
    keys = fan_out(
        tasks.craft_shard,
        shards,
        lambda runtime, shard: (runtime, job.poison, job.encoders, prepared, job.evaluation.split, shard),
        job.runtime,
        progress_for("craft"),
    )
    return {shard: str(key) for shard, key in zip(shards, keys, strict=True)}


def _poisons(job: ArmJob) -> ArtifactKey:
    pairs = [(shard, ArtifactKey.parse(key)) for shard, key in job.crafted]
    keys = _prepared(job), ArtifactKey.parse(job.features)
    return call(tasks.make_poisons, job.runtime, job.poison, job.encoders, *keys, job.concept, job.arm, pairs)


def _trained(
    job: ArmJob, family: Family, poisons: ArtifactKey | None, flags: ArtifactKey | None = None
) -> tuple[ArtifactKey, ArtifactKey]:
    """Keys of a model and of what the poisons did to it."""
    prepared, features = _prepared(job), ArtifactKey.parse(job.features)
    config = job.model.model_copy(update={"family": family})
    training = job.training.model_copy(update={"seed": job.arm.seed})
    model = call(
        stages.train, job.runtime, config, training, job.encoders, prepared, features, poisons, flags
    )
    evaluation = call(stages.evaluate, job.runtime, job.evaluation, prepared, features, model)
    inputs = {
        "prepared": prepared,
        "features": features,
        "triggered": ArtifactKey.parse(job.triggered),
        "model": model,
        "evaluation": evaluation,
    }
    split = job.evaluation.split
    return model, call(tasks.judge_poisons, job.runtime, job.poison, job.concept, job.arm, inputs, split)


def _filtered(
    job: ArmJob, family: Family, poisons: ArtifactKey, model: ArtifactKey, detector: str
) -> Outcome:
    inputs = {
        "prepared": _prepared(job),
        "features": ArtifactKey.parse(job.features),
        "poison": poisons,
        "model": model,
    }
    flags = call(tasks.detect, job.runtime, job.poison, job.concept, job.arm, detector, inputs)
    _, outcome = _trained(job, family, poisons, flags)
    return Outcome(detector, str(outcome), str(poisons), str(flags))


def _prepared(job: ArmJob) -> ArtifactKey:
    assert job.prepared is not None
    return ArtifactKey.parse(job.prepared)


def _key(text: str | None) -> ArtifactKey | None:
    return None if text is None else ArtifactKey.parse(text)


def _text(key: ArtifactKey | None) -> str | None:
    return None if key is None else str(key)
