"""From a model's artifacts to the records that a report shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mmer_core.attacks.candidates import write_changes
from mmer_core.attacks.controls import CONTROL_ATTACKS
from mmer_core.attacks.curves import curves_over_trainings, success_by_queries
from mmer_core.attacks.margins import margins_left
from mmer_core.attacks.record import CurvesSummary, MarginPoint, WorstCase
from mmer_core.attacks.worst_case import worst_cases
from mmer_core.config import AttackConfig, EvaluationConfig, ReportConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.evaluation.averaging import Averaged, average
from mmer_core.heavy import pd
from mmer_core.models.spec import SPEC_FILE, ModelSpec
from mmer_core.reporting.labels import FOOLED
from mmer_core.reporting.view import (
    AttackedImage,
    Change,
    FamilyView,
    ModelFacts,
    QueryCurve,
)
from mmer_core.stages.comparisons import attacked, photos_of, under_attack
from mmer_core.stages.context import Context
from mmer_core.stages.evaluate import open_evaluation
from mmer_core.stages.lineage import ModelArtifacts
from mmer_core.stages.photos import attacked_pixels, load_photos
from mmer_core.stages.robustness import load_outcomes
from mmer_core.stages.train import load_history
from mmer_core.store import ArtifactKey
from mmer_core.task_kinds import Measured, kind_of
from mmer_core.training.record import ModelSummary

_EMBEDDINGS = {"separate": "a space a stream", "joint": "one space", "zero-shot": "the dual encoder's"}


def open_measured(context: Context, models: ModelArtifacts) -> Measured:
    """The files of a model and of what was measured on it."""
    trained = context.artifact(models.model)
    evaluation = context.folder(models.evaluation)
    robustness = context.artifact(models.robustness) if models.robustness else None
    photos = robustness.manifest.inputs.get("photos") if robustness else None
    return Measured(
        ModelSpec.model_validate_json((trained.folder / SPEC_FILE).read_text()),
        trained.manifest,
        load_history(trained.folder),
        open_evaluation(context, models.evaluation),
        evaluation,
        Prepared.open(context.parts(models.prepared)),
        load_outcomes(robustness.folder) if robustness else None,
        robustness.manifest.summary_as(CurvesSummary).curves if robustness else (),
        robustness.manifest.settings_as(AttackConfig) if robustness else AttackConfig(),
        attacked_pixels(context, robustness.manifest) if robustness else "",
        ArtifactKey.parse(photos) if photos else None,
        context.store.manifest(models.evaluation).settings_as(EvaluationConfig).confidence,
    )


def family_view(trainings: Sequence[Measured], config: ReportConfig) -> FamilyView:
    """One model's figures, curves and worst cases over its trainings; history, queries, margins and embedding spaces of the first."""
    measured = trainings[0]
    averaged = _averaged(trainings)
    return FamilyView(
        family=measured.spec.family,
        evaluation=averaged.record.with_streams_called(measured.stream_names),
        trainings=len(trainings),
        spread=averaged.metrics,
        history=measured.history.to_dict("records"),
        best_epoch=measured.trained.summary_as(ModelSummary).best_epoch,
        curves=curves_over_trainings([one.curves for one in trainings]),
        attacked=measured.attacked,
        by_queries=_by_queries(measured.outcomes),
        margins=_margins(measured, config),
        worst=_worst_cases(trainings),
        spaces=list(kind_of(measured.spec.task).spaces(measured, config)),
        similarities=list(kind_of(measured.spec.task).similarities(measured, config)),
    )


def _averaged(trainings: Sequence[Measured]) -> Averaged:
    return average([one.evaluation for one in trainings], trainings[0].confidence)


def model_facts(trainings: Sequence[Measured]) -> ModelFacts:
    """What a model is, and what it reached; how it was trained is that of the first training."""
    measured = trainings[0]
    spec, made, kind = measured.spec, measured.trained.summary_as(ModelSummary), kind_of(measured.spec.task)
    return ModelFacts(
        family=spec.family,
        streams=tuple(measured.stream_names.get(name, name) for name in spec.streams),
        embedding=_EMBEDDINGS[spec.network],
        fusion=_fusion(spec) if kind.labelled and len(spec.streams) > 1 else "",
        parameters=made.parameters,
        best_epoch=made.best_epoch,
        linear=any(one.starts_kept for one in made.tries[made.chosen : made.chosen + 1]),
        settings=_settings(made),
        tries=len(made.tries),
        seconds=measured.trained.wall_seconds,
        headline=_averaged(trainings).record.metrics.get(kind.text.headline),
    )


def _settings(made: ModelSummary) -> str:
    if not made.tries:
        return ""
    one = made.tries[made.chosen]
    return f"{one.learning_rate:.2g}, {one.weight_decay:.2g}, {one.dropout:.2g}"


def _fusion(spec: ModelSpec) -> str:
    what = "embeddings" if spec.network == "joint" and spec.fusion != "late" else "predictions"
    if spec.fusion == "product":
        return "mean and products of embeddings"
    return f"{'mean' if spec.fusion == 'late' else spec.fusion} of {what}"


def attacked_images(context: Context, measured: Measured, config: ReportConfig) -> Iterator[AttackedImage]:
    """Fooled images, by attacks before controls and fewest changed pixels first, one per sample, with the prediction before and after."""
    if measured.outcomes is None:
        return
    fooled = measured.outcomes[measured.outcomes["status"] == "fooled"]
    fooled = fooled.assign(control=fooled["attack"].isin(list(CONTROL_ATTACKS)))
    fooled = fooled.sort_values(["control", "pixels", "attack", "queries", "sample"]).drop_duplicates(
        "sample"
    )
    split, kind = measured.prepared.split(measured.attack.split), kind_of(measured.spec.task)
    names = kind.columns(measured.spec, split)
    encoders = measured.spec.encoders
    encoder = context.image_encoder(encoders.image, encoders.image_size)
    row_of = {sample: row for row, sample in enumerate(split.ids)}
    for outcome in fooled.head(config.gallery).to_dict("records"):
        row = row_of[outcome["sample"]]
        if measured.photos:
            (clean,) = load_photos(context, measured.photos, [row]).pixels
        else:
            clean = encoder.resize(np.asarray(split.images(measured.attack.stream)[split.image_rows([row])]))[
                0
            ]
        changed = [_change(pixel) for pixel in outcome["changed"]]
        before, after = kind.before_and_after(measured.attack, outcome, names)
        yield AttackedImage(
            family=measured.spec.family,
            attack=outcome["attack"],
            pixels=outcome["pixels"],
            image=clean,
            attacked=write_changes(clean, changed),
            changed=changed,
            before=before,
            after=after,
            queries=outcome["queries"],
            sample=outcome["sample"],
            file=measured.photos is not None,
        )


def fooled_when(measured: Sequence[Measured]) -> str:
    """When an image of these models counts as fooled; models attacked by several criteria get each of them."""
    sentences = [
        FOOLED[kind_of(one.spec.task).criterion(one.attack, one.spec.labels)].format(
            word=kind_of(one.spec.task).text_for(one.split).category, **one.attack.model_dump()
        )
        for one in measured
        if one.outcomes is not None
    ]
    return " or, for another model, ".join(dict.fromkeys(sentences))


def _change(pixel: Sequence[int]) -> Change:
    y, x, red, green, blue = (int(value) for value in pixel)
    return y, x, red, green, blue


def _worst_cases(trainings: Sequence[Measured]) -> list[WorstCase]:
    model = attacked(trainings)
    if not model:
        return []
    return worst_cases([*map(under_attack, model)], photos_of(model[0]), model[0].confidence)


def _margins(measured: Measured, config: ReportConfig) -> list[MarginPoint]:
    if measured.outcomes is None:
        return []
    split = measured.prepared.split(measured.attack.split)
    photo = dict(zip(split.ids, split.clusters.tolist(), strict=True))
    return margins_left(measured.outcomes, photo, config.seed)


def _by_queries(outcomes: pd.DataFrame | None) -> list[QueryCurve]:
    if outcomes is None:
        return []
    budget = int(outcomes["budget"].min())
    grid = sorted({round(value) for value in np.geomspace(1, budget, num=24)})
    points = pd.DataFrame(success_by_queries(outcomes, grid))
    return [
        QueryCurve(attack, int(pixels), group["queries"].tolist(), group["success"].tolist())
        for (attack, pixels), group in points.groupby(["attack", "pixels"], sort=True)
    ]
