"""Defences: what adversarial training learns from, and every defended model beside the one without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mmer_core.attacks.candidates import write_changes
from mmer_core.attacks.record import AttackShardSummary
from mmer_core.config import AttackConfig, ReportConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.errors import DatasetError
from mmer_core.evaluation.comparing import CATEGORY
from mmer_core.inference import TrainedModel
from mmer_core.poisoning.plans import PoisonPlan
from mmer_core.poisoning.poison_set import PoisonSet
from mmer_core.record import Record
from mmer_core.reporting.sections.defences import DefencesSummary, Defended
from mmer_core.stages.comparisons import compare_two
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.identity import some_fields
from mmer_core.stages.lineage import ModelArtifacts
from mmer_core.stages.robustness import load_outcomes
from mmer_core.stages.views import open_measured
from mmer_core.statistics.comparison import Rule
from mmer_core.store import ArtifactKey, Store, Workspace
from mmer_core.usage import leg

_AT_ONCE = 64
UNDEFENDED = "none"


class AttackedFeaturesSummary(Record):
    """How many attacked images of a training split there are features of."""

    version: Literal[1] = 1
    images: int


def _attacked(config: AttackConfig) -> Mapping[str, Any]:
    return {"config": some_fields(config, "stream", "split")}


@stage("attacked-features", version=1, title="features of attacked images", gpu=True, identity=_attacked)
def attacked_features(
    context: Context,
    workspace: Workspace,
    config: AttackConfig,
    prepared: ArtifactKey,
    model: ArtifactKey,
    outcomes: ArtifactKey,
) -> AttackedFeaturesSummary:
    """Features of the images that attacks on a split made, of each sample the one with the lowest margin, to be added to it.

    Samples on which the model was wrong already are left out.

    Args:
        outcomes: Of the attacks (kind ``robustness``).

    Raises:
        DatasetError: No sample was attacked.
    """
    split = Prepared.open(context.parts(prepared)).split(config.split)
    trained = TrainedModel.open(context.folder(model), context.device)
    encoder = context.image_encoder(trained.spec.encoders.image, trained.spec.encoders.image_size)
    table = load_outcomes(context.folder(outcomes))
    worst = table[table["status"] != "already"].sort_values(["sample", "final_margin", "attack", "seed"])
    worst = worst.drop_duplicates("sample")
    if worst.empty:
        raise DatasetError(
            f"the model is wrong on all images of {config.split} that were drawn, so there is none to attack and learn from: "
            "raise adversarial.images, or train the model for longer"
        )
    row_of = {sample: row for row, sample in enumerate(split.ids)}
    rows = np.array([row_of[sample] for sample in worst["sample"]])
    found = []
    with leg("model"):
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            images = encoder.resize(np.asarray(split.images(config.stream)[split.image_rows(some)]))
            changes = worst["changed"].iloc[start : start + _AT_ONCE]
            made = [write_changes(image, changed) for image, changed in zip(images, changes, strict=True)]
            found.append(encoder.encode(np.stack(made)).cpu().numpy())
            context.progress(start + len(some), len(rows))
    plan = PoisonPlan("attacked", "add", rows, triggered=False)
    ids = [split.ids[row] for row in rows]
    PoisonSet(plan, ids, np.concatenate(found), stream=config.stream).write(workspace.out)
    return AttackedFeaturesSummary(images=len(rows))


@dataclass(frozen=True)
class Defence:
    """A defended model by the name of its defence, with what was measured of it."""

    name: str
    measured: ModelArtifacts


def _compared(config: ReportConfig, plain: ModelArtifacts, defended: Sequence[Defence]) -> Mapping[str, Any]:
    keys = {f"plain.{name}": key for name, key in plain.keys().items()}
    for one in defended:
        keys |= {f"{one.name}.{name}": key for name, key in one.measured.keys().items()}
    names = [one.name for one in defended]
    return {"config": some_fields(config, "margin", "seed"), "plain": keys, "defended": names}


@stage("defences", version=1, title="compare defences", identity=_compared)
def compare_defences(
    context: Context,
    workspace: Workspace,
    config: ReportConfig,
    prepared: ArtifactKey,
    plain: ModelArtifacts,
    defended: Sequence[Defence],
) -> DefencesSummary:
    """Every defended model less the one without: its skill on clean images and its figures under the same attacks on the
    same images, and what it costs in time."""
    rule = Rule(margin=config.margin, seed=config.seed)
    without = open_measured(context, plain)
    seconds = _seconds_a_query(context.store, plain)
    rows = []
    for one in defended:
        answers = compare_two([open_measured(context, one.measured)], [without], rule)
        named = {"first": one.name, "second": UNDEFENDED}
        own = _seconds_a_query(context.store, one.measured)
        rows.append(
            Defended(
                defence=one.name,
                model=str(one.measured.model),
                answers=tuple(
                    each.model_copy(update=named) for each in answers if not each.topic.startswith(CATEGORY)
                ),
                time=own / seconds if own and seconds else None,
            )
        )
    return DefencesSummary(
        dataset=without.prepared.card.name,
        family=without.spec.family,
        split=without.evaluation.split,
        model=str(plain.model),
        rows=tuple(rows),
    )


def _seconds_a_query(store: Store, measured: ModelArtifacts) -> float | None:
    """Of its attacks, in the model."""
    assert measured.robustness is not None
    seconds = queries = 0.0
    for key in store.manifest(measured.robustness).shards:
        shard = store.manifest(ArtifactKey.parse(key))
        if shard.usage is None:
            return None
        seconds += shard.usage.seconds.get("model", 0.0)
        queries += shard.summary_as(AttackShardSummary).queries
    return seconds / queries if queries else None
