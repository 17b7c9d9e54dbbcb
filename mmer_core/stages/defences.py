"""Defences: what adversarial training learns from, and every defended model beside the one without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mmer_core.attacks.candidates import write_changes
from mmer_core.attacks.certificates import ABSTAINED
from mmer_core.attacks.comparing import certified_topic
from mmer_core.attacks.controls import CONTROL_ATTACKS
from mmer_core.attacks.denominators import robustly_right
from mmer_core.attacks.record import AttackShardSummary, CertifiedSummary
from mmer_core.config import AttackConfig, ReportConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.errors import DatasetError
from mmer_core.evaluation.comparing import CATEGORY
from mmer_core.heavy import pd
from mmer_core.inference import TrainedModel
from mmer_core.poisoning.plans import PoisonPlan
from mmer_core.poisoning.poison_set import PoisonSet
from mmer_core.record import Record
from mmer_core.reporting.labels import pixels as in_words
from mmer_core.reporting.sections.defences import Certified, DefencesSummary, Defended
from mmer_core.stages.certified import load_certified
from mmer_core.stages.comparisons import compare_two, photos_of, under_attack
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.identity import some_fields
from mmer_core.stages.lineage import ModelArtifacts
from mmer_core.stages.robustness import load_outcomes
from mmer_core.stages.views import open_measured
from mmer_core.statistics.comparison import Comparison, Question, Rule, compare_shares, corrected
from mmer_core.store import ArtifactKey, Manifest, Store, Workspace
from mmer_core.task_kinds import Measured
from mmer_core.usage import leg

_AT_ONCE = 64
UNDEFENDED = "undefended"


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
    """A defended model by the name of its defence, with what was measured of it.

    Attributes:
        certified: What is certified of it, where it was not attacked.
    """

    name: str
    measured: ModelArtifacts
    certified: ArtifactKey | None = None


def _compared(config: ReportConfig, plain: ModelArtifacts, defended: Sequence[Defence]) -> Mapping[str, Any]:
    keys = {f"plain.{name}": key for name, key in plain.keys().items()}
    for one in defended:
        keys |= {f"{one.name}.{name}": key for name, key in one.measured.keys().items()}
        if one.certified is not None:
            keys[f"{one.name}.certified"] = one.certified
    names = [one.name for one in defended]
    return {"config": some_fields(config, "margin", "seed"), "plain": keys, "defended": names}


@stage("defences", version=3, title="compare defences", identity=_compared)
def compare_defences(
    context: Context,
    workspace: Workspace,
    config: ReportConfig,
    prepared: ArtifactKey,
    plain: ModelArtifacts,
    defended: Sequence[Defence],
) -> DefencesSummary:
    """Every defended model less the one without: its skill on clean images and its figures under the same attacks on the
    same images, or what is certified of it beside what the same attacks left the one without; and what it costs in time."""
    rule = Rule(margin=config.margin, seed=config.seed)
    without = open_measured(context, plain)
    seconds = _seconds_a_query(context.store, plain)
    rows, certified = [], []
    for one in defended:
        if one.certified is None:
            answers = _attacked_alike(one.name, open_measured(context, one.measured), without, rule)
            own = _seconds_a_query(context.store, one.measured)
        else:
            artifact = context.artifact(one.certified)
            answers = _certified_instead(one.name, load_certified(artifact.folder), without, rule)
            own = _seconds_an_image(artifact.manifest)
            found = artifact.manifest.summary_as(CertifiedSummary)
            certified.append(Certified(defence=one.name, found=found, seconds=own))
        rows.append(
            Defended(
                defence=one.name,
                model=str(one.measured.model),
                answers=tuple(answers),
                time=own / seconds if own and seconds else None,
            )
        )
    return DefencesSummary(
        dataset=without.prepared.card.name,
        family=without.spec.family,
        split=without.evaluation.split,
        model=str(plain.model),
        rows=tuple(rows),
        certified=tuple(certified),
    )


def _attacked_alike(name: str, measured: Measured, without: Measured, rule: Rule) -> list[Comparison]:
    named = {"first": name, "second": UNDEFENDED}
    found = compare_two([measured], [without], rule)
    return [one.model_copy(update=named) for one in found if not one.topic.startswith(CATEGORY)]


def _certified_instead(name: str, certified: pd.DataFrame, without: Measured, rule: Rule) -> list[Comparison]:
    """What is right of all images, and at every ``K`` what is certified to stay right less what attacks left right without the
    defence: a certificate holds under any attack, so this errs against the defence alone."""
    model, photos = under_attack(without), photos_of(without)
    safe = certified["radius"].where(certified["right"], ABSTAINED).set_axis(certified["sample"])
    found: list[Comparison] = []
    for pixels in sorted({k for k, _ in model.runs()}):
        ran = {attack for k, attack in model.runs() if k == pixels}
        attacks = sorted(ran.difference(CONTROL_ATTACKS) or ran)
        table = model.at(pixels, attacks)
        left = robustly_right(table["right"], table["fooled"])
        asked = f"Which is right more often, {name} whatever becomes of {in_words(pixels)}, or {UNDEFENDED} under {', '.join(attacks)}?"
        pairs = [("accuracy", "Which model is right more often?", 0, table["right"])] if not found else []
        for quantity, question, k, other in (
            *pairs,
            (f"certified accuracy, K = {pixels}", asked, pixels, left),
        ):
            found.append(
                compare_shares(
                    Question(certified_topic(k), question, quantity, name, UNDEFENDED),
                    safe.loc[table.index].to_numpy() >= k,
                    other,
                    rule,
                    np.array([photos[sample] for sample in table.index]),
                )
            )
    return corrected(found, rule)


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


def _seconds_an_image(certified: Manifest) -> float | None:
    """Of certificates, in the model."""
    if certified.usage is None:
        return None
    return certified.usage.seconds.get("model", 0.0) / certified.summary_as(CertifiedSummary).n
