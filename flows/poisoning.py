"""The poisoning experiment as a flow: every training set is a subflow of its own."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import Field

from flows.jobs import prepare
from mmer_core import stages
from mmer_core.config import Family, PoisonJob
from mmer_core.datasets.prepared import Prepared
from mmer_core.stages import Context, check_every_image, check_has_images
from mmer_core.stages.poison.concept import Concept, choose_concept
from mmer_core.stages.poison.detecting import detect_poisons, detectable
from mmer_core.stages.poison.judging import encode_triggered, judge_poisons
from mmer_core.stages.poison.making import POISONING
from mmer_core.stages.poison.merging import merge_poisoning
from mmer_core.stages.poison.planning import Arm, CraftShard, plan_arms
from mmer_core.store import ArtifactKey
from tasks.decorators import flow
from tasks.progress import progress_for
from tasks.running import fan_out_flows
from tasks.stages import make, make_each, make_sharded


class ArmJob(PoisonJob):
    """One training set of an experiment, for every family."""

    features: str = Field(description="Key of the features of the prepared arrays.")
    triggered: str = Field(description="Key of the features of the evaluated images with the trigger.")
    concept: Concept = Field(description="What the poisons should make a model see.")
    arm: Arm = Field(description="Attack, number of poisons and seed.")


class Outcome(NamedTuple):
    """Keys of what became of one model: its outcome, its poisons if any, and what found them if anything did."""

    detector: str
    outcome: str
    poison: str | None
    detection: str | None


@flow(name="poison")
def poison(job: PoisonJob) -> str:
    """Poison the training split, train every family on it again and again, and tell what it did."""
    split = job.evaluation.split

    def check(context: Context, prepared: ArtifactKey) -> None:
        check_has_images(context, prepared, "train", "image to poison")
        check_every_image(context, prepared, ("train", split), "poisons change images")

    prepared, features = prepare(job, check)
    dataset = Prepared.open(Context(job.runtime).parts(prepared))
    concept = choose_concept(job.poison, dataset, split)
    triggered = make(encode_triggered, job.runtime, job.poison, job.encoders, prepared, split)
    fields = dict(job) | {"prepared": str(prepared), "features": str(features), "triggered": str(triggered)}
    arms = [ArmJob(**fields, concept=concept, arm=arm) for arm in plan_arms(job.poison, job.training.seed)]
    _craft(arms)
    done = fan_out_flows(poison_arm, arms, job.runtime, progress_for("poison", quiet=job.runtime.quiet))
    outcomes = [one for of_arm in done for one in of_arm]
    found = [(one.detector, ArtifactKey.parse(one.outcome), _key(one.poison)) for one in outcomes]
    detections = [ArtifactKey.parse(one.detection) for one in outcomes if one.detection]
    return str(make(merge_poisoning, job.runtime, job.poison, concept, prepared, split, found, detections))


@flow(name="poison arm", flow_run_name="{job.arm}")
def poison_arm(job: ArmJob) -> list[Outcome]:
    """One training set: craft, poison, train every family, judge; then detect, filter, and train once more."""
    poisons = make_sharded(POISONING, job.runtime, **_making(job)) if job.arm.count else None
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


def _craft(arms: Sequence[ArmJob]) -> None:
    """Craft all poisons, several at a time: arms share shards, and each then finds its own."""
    job, context = arms[0], Context(arms[0].runtime)
    shards: dict[CraftShard, None] = {}
    for arm in arms:
        given = {"context": context, **_making(arm)}
        plan = POISONING.planned(given)
        if plan and not POISONING.found(given, plan):
            shards |= dict.fromkeys(plan)
    make_each(
        POISONING.work,
        shards,
        lambda shard: {**_making(job), "shard": shard},
        job.runtime,
        POISONING.label,
    )


def _making(job: ArmJob) -> dict[str, Any]:
    """What the poisons of an arm are made from."""
    return {
        "config": job.poison,
        "encoders": job.encoders,
        "prepared": _prepared(job),
        "features": ArtifactKey.parse(job.features),
        "split": job.evaluation.split,
        "concept": job.concept,
        "arm": job.arm,
    }


def _trained(
    job: ArmJob, family: Family, poisons: ArtifactKey | None, flags: ArtifactKey | None = None
) -> tuple[ArtifactKey, ArtifactKey]:
    """Keys of a model and of what the poisons did to it."""
    prepared, features = _prepared(job), ArtifactKey.parse(job.features)
    config = job.model.model_copy(update={"family": family})
    training = job.training.model_copy(update={"seed": job.arm.seed})
    model = make(
        stages.train, job.runtime, config, training, job.encoders, prepared, features, poisons, flags
    )
    evaluation = make(stages.evaluate, job.runtime, job.evaluation, prepared, features, model)
    triggered, split = ArtifactKey.parse(job.triggered), job.evaluation.split
    inputs = (prepared, features, triggered, model, evaluation)
    return model, make(judge_poisons, job.runtime, job.poison, job.concept, job.arm, split, *inputs)


def _filtered(
    job: ArmJob, family: Family, poisons: ArtifactKey, model: ArtifactKey, detector: str
) -> Outcome:
    inputs = (_prepared(job), ArtifactKey.parse(job.features), poisons, model)
    flags = make(detect_poisons, job.runtime, job.poison, job.concept, job.arm, detector, *inputs)
    _, outcome = _trained(job, family, poisons, flags)
    return Outcome(detector, str(outcome), str(poisons), str(flags))


def _prepared(job: ArmJob) -> ArtifactKey:
    assert job.prepared is not None
    return ArtifactKey.parse(job.prepared)


def _key(text: str | None) -> ArtifactKey | None:
    return None if text is None else ArtifactKey.parse(text)


def _text(key: ArtifactKey | None) -> str | None:
    return None if key is None else str(key)
