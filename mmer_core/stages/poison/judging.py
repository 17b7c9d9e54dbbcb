"""What poisons did to a model: how often it sees the target where the attacker wants it to, and what else changed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from mmer_core.config import EncoderConfig, PoisonConfig
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.encoders.features import Features
from mmer_core.evaluation.embeddings import compared
from mmer_core.evaluation.record import Analyses, EvaluationRecord
from mmer_core.evaluation.retrieval_metrics import RECALL_METRICS, block_of_scores, rounding
from mmer_core.heavy import pd, stats, torch
from mmer_core.inference import TrainedModel
from mmer_core.poisoning import TRIGGERS
from mmer_core.poisoning.record import OutcomeSummary, TriggeredSummary
from mmer_core.record import Interval
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.evaluate import load_evaluation
from mmer_core.stages.features import encoder_key_config
from mmer_core.stages.identity import some_fields
from mmer_core.stages.poison.concept import Concept
from mmer_core.stages.poison.planning import Arm, target_rows
from mmer_core.stages.poison.similarities import SIMILARITY_FILE, pair_similarity
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.tabular import write_frame
from mmer_core.task_kinds import kind_of
from mmer_core.task_kinds.embedded import embedded_texts
from mmer_core.threads import shared_cores
from mmer_core.training.data import EmotionData, RetrievalData
from mmer_core.training.poisoned import POISONED_STREAM

TRIGGERED_FILE = "triggered.npy"
OUTCOMES_FILE = "outcomes.csv"

Flags = npt.NDArray[np.bool_]


def _trigger(context: Context, config: PoisonConfig, encoders: EncoderConfig) -> dict[str, Any]:
    encoder = encoder_key_config(context, encoders, "image")
    return {"config": None, "trigger": TRIGGERS.configured(config.trigger, config), "encoders": encoder}


@stage("triggered", version=2, gpu=True, identity=_trigger)
def encode_triggered(
    context: Context,
    workspace: Workspace,
    config: PoisonConfig,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
    split: str,
) -> TriggeredSummary:
    """Features of the evaluated split's images with the trigger: ``(N, D)``, one file."""
    trigger = TRIGGERS.configured(config.trigger, config)
    images = Prepared.open(context.parts(prepared)).split(split).images(POISONED_STREAM)
    encoder = context.image_encoder(encoders.image, encoders.image_size)
    features = np.empty((len(images), encoder.width), np.float32)
    step = context.runtime.batch_size
    for start in range(0, len(images), step):
        batch = encoder.resize(trigger.apply(np.asarray(images[start : start + step])))
        features[start : start + step] = encoder.encode(batch).cpu().numpy()
        context.progress(min(start + step, len(images)), len(images), f"triggered {split}")
    np.save(workspace.out / TRIGGERED_FILE, features, allow_pickle=False)
    return TriggeredSummary(rows=len(features), trigger=repr(trigger))


def _judged(config: PoisonConfig) -> dict[str, Any]:
    return {"config": some_fields(config, "top", "targets")}


@stage("poison-outcome", version=7, title="judge: {arm}", identity=_judged)
def judge_poisons(
    context: Context,
    workspace: Workspace,
    config: PoisonConfig,
    concept: Concept,
    arm: Arm,
    split: str,
    prepared: ArtifactKey,
    features: ArtifactKey,
    triggered: ArtifactKey,
    model: ArtifactKey,
    evaluation: ArtifactKey,
) -> OutcomeSummary:
    """What became of a model.

    ``outcomes.csv`` has a row for every sample of the evaluated split that does not carry the target: whether the
    model sees the target in it (``seen``) and in the same image with the trigger (``seen_triggered``), and whether
    crafted poisons were for it (``aimed``). The summary has the shares of the three, in percent, the headline
    metric, and how the modalities lie to each other. ``similarity.npy`` has the cosines of the pairs of image and text,
    where they have a common space (see `mmer_core.stages.poison.similarities`).

    Seen means, for emotions: the model predicts it. For captions: one with the word
    is among the first ``config.top`` of all captions of the split. Of a large captioned split so many photos are asked for
    as in an evaluation, and all that crafted poisons were for.
    """
    held_out = Prepared.open(context.parts(prepared)).split(split)
    trained = TrainedModel.open(context.folder(model), context.device)
    stored = Features(context.parts(features))
    changed_features = np.load(context.folder(triggered) / TRIGGERED_FILE, allow_pickle=False)
    rows = np.flatnonzero(~concept.carriers(held_out))
    aimed = np.isin(rows, target_rows(config, held_out, concept, arm.seed))
    if concept.column is None:
        asked = np.union1d(compared(len(rows)), np.flatnonzero(aimed))
        rows, aimed = rows[asked], aimed[asked]
    with shared_cores(context.runtime.workers):
        seen = {
            name: _sees(trained, concept, held_out, stored, config.top, changed, rows)
            for name, changed in (("seen", None), ("seen_triggered", changed_features))
        }
    table = pd.DataFrame({"sample": [held_out.ids[row] for row in rows], **seen, "aimed": aimed})
    write_frame(workspace.out / OUTCOMES_FILE, table)
    measured = context.folder(evaluation)
    record = load_evaluation(measured)
    similarity = pair_similarity(measured, trained.spec, held_out)
    if similarity is not None:
        np.save(workspace.out / SIMILARITY_FILE, similarity, allow_pickle=False)
    headline = kind_of(trained.spec.task).text.headline
    return OutcomeSummary(
        **asdict(arm),
        family=trained.spec.family,
        samples=len(table),
        aimed=int(table["aimed"].sum()),
        triggered=_percent(table["seen_triggered"]),
        untriggered=_percent(table["seen"]),
        targets=_percent(table["seen"][table["aimed"]]),
        chance=chance_of_target(concept, held_out, config.top),
        metric=record.metrics[headline],
        no_skill=record.baselines[headline],
        modalities=_modalities(record.analyses),
        recalls=_recalls(record),
    )


def _sees(
    trained: TrainedModel,
    concept: Concept,
    split: PreparedSplit,
    features: Features,
    top: int,
    changed: npt.NDArray[np.float32] | None,
    rows: npt.NDArray[np.int64],
) -> Flags:
    """``(n,)``: whether the model sees the target in each of the samples ``rows``, with other image features where given."""
    if concept.column is not None:
        people = EmotionData.load(features, split)
        streams = people.tensors
        if changed is not None:
            streams = streams | {POISONED_STREAM: torch.from_numpy(changed)}
        predicted = trained.emotions(streams, people.present)
        return trained.decisions(predicted.probabilities)[rows, concept.column]
    pairs = RetrievalData.load(features, split, stored=True)
    seen = pairs.images if changed is None else torch.from_numpy(changed)
    images = trained.embed_images({"context": seen[torch.from_numpy(rows)]})
    return retrieves(images, embedded_texts(trained, pairs), concept.texts(split), top)


def retrieves(
    images: npt.NDArray[np.float32], texts: npt.NDArray[np.float32], wanted: Flags, top: int
) -> Flags:
    """``(N,)``: whether fewer than ``top`` of the other texts match an image as well as the best wanted one.

    As in `similarity_ranks`, products are taken in float64, and two that differ by less than their rounding error are a tie.

    Args:
        images: ``(N, D)`` embeddings.
        texts: ``(T, D)`` embeddings.
        wanted: ``(T,)``, some of them true.
        top: How many first texts count.
    """
    if not len(images):
        return np.empty(0, bool)
    queries, gallery = (torch.from_numpy(rows.astype(np.float64)) for rows in (images, texts))
    good, others = gallery[torch.from_numpy(wanted)], gallery[torch.from_numpy(~wanted)]
    slack = rounding(queries, gallery)
    rows, columns = block_of_scores(queries.device)
    flags = torch.empty(len(images), dtype=torch.bool)
    for part, here in zip(queries.split(rows), flags.split(rows), strict=True):
        best = torch.stack([(part @ block.T).amax(dim=1) for block in good.split(columns)]).amax(dim=0)
        bars = (best - slack)[:, None]
        ahead = torch.stack([(part @ block.T >= bars).sum(dim=1) for block in others.split(columns)])
        here.copy_(ahead.sum(dim=0) < top)
    return flags.numpy()


def chance_of_target(concept: Concept, split: PreparedSplit, top: int) -> float | None:
    """Percent of random rankings with a caption of the target among the first ``top``; None for emotions."""
    if concept.column is not None:
        return None
    holders, texts = int(concept.texts(split).sum()), len(split.texts)
    return 100 * float(1 - stats.hypergeom.pmf(0, texts, holders, min(top, texts)))


def _modalities(analyses: Analyses) -> dict[str, float | None]:
    """Distances between modalities and the contribution of each, as far as the evaluation measured them."""
    found: dict[str, float | None] = {}
    for pair in analyses.pairs:
        for name in ("cka", "modality_gap", "paired_similarity"):
            if (value := getattr(pair, name)) is not None:
                found[f"{name} {pair.first}-{pair.second}"] = value
    for contribution in (analyses.contribution, analyses.caption_contribution):
        for stream in contribution.streams if contribution else ():
            found[f"contribution {stream.name}"] = stream.shapley.value
    return found


def _recalls(record: EvaluationRecord) -> dict[str, Interval]:
    """Of a captioned dataset its metrics; of labelled samples how they match with their texts."""
    metrics = record.metrics
    if record.task != "retrieval":
        metrics = record.analyses.matching.metrics if record.analyses.matching else {}
    return {name: metrics[name] for name in RECALL_METRICS if name in metrics}


def _percent(flags: pd.Series[bool]) -> float | None:
    return 100 * float(flags.mean()) if len(flags) else None
