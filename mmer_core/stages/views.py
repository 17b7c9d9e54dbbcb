"""From a model's artifacts to the records that a report shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from mmer_core.attacks.candidates import write_changes
from mmer_core.attacks.curves import success_by_queries
from mmer_core.attacks.record import CurvePoint, CurvesSummary
from mmer_core.config import AttackConfig, ReportConfig
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.evaluation.embeddings import explained_variance, tsne
from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.models.spec import SPEC_FILE, ModelSpec
from mmer_core.reporting.labels import FOOLED
from mmer_core.reporting.view import (
    AttackedImage,
    Change,
    EmbeddingSpace,
    FamilyView,
    QueryCurve,
    RetrievalExample,
    StreamComparison,
)
from mmer_core.stages.context import Context
from mmer_core.stages.criteria import alone, before_and_after
from mmer_core.stages.evaluation import load_evaluation
from mmer_core.stages.lineage import ModelArtifacts
from mmer_core.stages.robustness import attack_config, load_outcomes
from mmer_core.stages.training import load_history
from mmer_core.store import Manifest

_RESULTS = 5
_CAPTION_LENGTH = 80


@dataclass(frozen=True)
class Measured:
    """The files of one model and of what was measured on it, opened."""

    spec: ModelSpec
    trained: Manifest
    history: pd.DataFrame
    evaluation: EvaluationRecord
    evaluation_folder: Path
    prepared: Prepared
    outcomes: pd.DataFrame | None
    curves: Sequence[CurvePoint]
    attack: AttackConfig

    @classmethod
    def open(cls, context: Context, models: ModelArtifacts) -> "Measured":
        trained = context.artifact(models.model)
        evaluation = context.folder(models.evaluation)
        robustness = context.artifact(models.robustness) if models.robustness else None
        return cls(
            ModelSpec.model_validate_json((trained.folder / SPEC_FILE).read_text()),
            trained.manifest,
            load_history(trained.folder),
            load_evaluation(evaluation),
            evaluation,
            Prepared.open(context.folder(models.prepared)),
            load_outcomes(robustness.folder) if robustness else None,
            robustness.manifest.summary_as(CurvesSummary).curves if robustness else (),
            attack_config(robustness.manifest) if robustness else AttackConfig(),
        )

    @cached_property
    def split(self) -> PreparedSplit:
        """The split that was evaluated."""
        return self.prepared.split(self.evaluation.split)

    def embedding(self, name: str) -> np.ndarray:
        """``(N, D)`` of one embedding space."""
        return np.load(self.evaluation_folder / f"embedding_{name}.npy", allow_pickle=False)

    @property
    def spaces(self) -> list[str]:
        files = self.evaluation_folder.glob("embedding_*.npy")
        return sorted(file.stem.removeprefix("embedding_") for file in files)


def family_view(measured: Measured, config: ReportConfig) -> FamilyView:
    """One model's figures, curves and embedding spaces."""
    return FamilyView(
        family=measured.spec.family,
        evaluation=measured.evaluation,
        history=measured.history.to_dict("records"),
        best_epoch=int(measured.trained.summary["best_epoch"]),
        curves=measured.curves,
        by_queries=_by_queries(measured.outcomes),
        spaces=list(_spaces(measured, config)),
        training_seconds=measured.trained.wall_seconds,
    )


def stream_comparison(measured: Sequence[Measured]) -> StreamComparison:
    """AP of every category read from one modality at a time, for every model."""
    return StreamComparison(
        categories=measured[0].spec.labels,
        ap={
            one.spec.family: {name: stream.ap for name, stream in one.evaluation.per_stream.items()}
            for one in measured
        },
    )


def retrieval_examples(measured: Measured, config: ReportConfig) -> list[RetrievalExample]:
    """Random queries in both directions with their best results."""
    split, family = measured.split, measured.spec.family
    images, texts = measured.embedding("image"), measured.embedding("text")
    photos = split.images("context")
    generator = np.random.default_rng(config.seed)
    examples = []
    for text in generator.choice(len(texts), size=min(config.examples, len(texts)), replace=False):
        scores = images @ texts[text]
        best = np.argsort(-scores, kind="stable")[:_RESULTS]
        own = split.text_sample[text]
        results = [(np.asarray(photos[row]), float(scores[row]), bool(row == own)) for row in best]
        examples.append(RetrievalExample(family, query_text=split.texts[text], results=results))
    for image in generator.choice(len(images), size=min(config.examples, len(images)), replace=False):
        scores = texts @ images[image]
        best = np.argsort(-scores, kind="stable")[:_RESULTS]
        found = [
            (split.texts[row], float(scores[row]), bool(split.text_sample[row] == image)) for row in best
        ]
        examples.append(RetrievalExample(family, query_image=np.asarray(photos[image]), results=found))
    return examples


def attacked_images(context: Context, measured: Measured, config: ReportConfig) -> Iterator[AttackedImage]:
    """Fooled images, fewest changed pixels first, one per sample, with the prediction before and after."""
    if measured.outcomes is None:
        return
    fooled = measured.outcomes[measured.outcomes["status"] == "fooled"]
    fooled = fooled.sort_values(["pixels", "attack", "queries", "sample"]).drop_duplicates("sample")
    split = measured.prepared.split(measured.attack.split)
    names = _column_names(measured, split)
    encoders = measured.spec.encoders
    encoder = context.image_encoder(encoders.image, encoders.image_size)
    row_of = {sample: row for row, sample in enumerate(split.ids)}
    for outcome in fooled.head(config.gallery).to_dict("records"):
        photo = np.asarray(split.images(measured.attack.stream)[row_of[outcome["sample"]]])
        clean = encoder.resize(photo[None])[0]
        changed = [_change(pixel) for pixel in outcome["changed"]]
        before, after = before_and_after(measured.attack, outcome, names, measured.spec.task)
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
        )


def fooled_when(measured: Sequence[Measured]) -> str:
    """When an image of these models counts as fooled; models attacked by several criteria get each of them."""
    sentences = [
        FOOLED[_criterion(one.attack, one.spec)].format(**one.attack.model_dump())
        for one in measured
        if one.outcomes is not None
    ]
    return " or, for another model, ".join(dict.fromkeys(sentences))


def _criterion(attack: AttackConfig, spec: ModelSpec) -> str:
    if spec.task != "emotion":
        return attack.match_criterion
    return "labels" if alone(attack, spec.labels) else attack.criterion


def _change(pixel: Sequence[int]) -> Change:
    y, x, red, green, blue = (int(value) for value in pixel)
    return y, x, red, green, blue


def _column_names(measured: Measured, split: PreparedSplit) -> Sequence[str]:
    """What a victim's score columns mean: categories, or the captions of the gallery."""
    if measured.spec.task == "emotion":
        return measured.spec.labels
    return [
        text if len(text) <= _CAPTION_LENGTH else text[: _CAPTION_LENGTH - 1] + "…" for text in split.texts
    ]


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


def _spaces(measured: Measured, config: ReportConfig) -> Iterator[EmbeddingSpace]:
    if measured.spec.task == "retrieval":
        yield from _retrieval_spaces(measured, config)
        return
    spaces = [measured.embedding(name) for name in measured.spec.streams if name in measured.spaces]
    # A sample without a stream is zeros there, which have no direction and stand for nothing.
    complete = np.flatnonzero(np.all([space.any(axis=1) for space in spaces], axis=0))
    chosen = complete[_chosen(len(complete), config)]
    probabilities = np.load(measured.evaluation_folder / "probabilities.npy", allow_pickle=False)[chosen]
    dominant = [measured.spec.labels[column] for column in probabilities.argmax(axis=1)]
    streams = {
        name: measured.embedding(name)[chosen] for name in measured.spec.streams if name in measured.spaces
    }
    if measured.spec.family == "separate":
        for name, vectors in streams.items():
            yield _space(name, vectors, dominant, config)
        return
    together = np.concatenate(list(streams.values()))
    groups = [name for name, vectors in streams.items() for _ in vectors]
    yield _space("shared: " + " + ".join(streams), together, groups, config)
    yield _space("shared: mean of the streams", np.mean(list(streams.values()), axis=0), dominant, config)


def _retrieval_spaces(measured: Measured, config: ReportConfig) -> Iterator[EmbeddingSpace]:
    split = measured.split
    chosen = _chosen(len(split), config)
    first_text = {int(image): text for text, image in reversed(list(enumerate(split.text_sample)))}
    chosen = np.array([row for row in chosen if int(row) in first_text], dtype=np.int64)
    texts = measured.embedding("text")[[first_text[int(row)] for row in chosen]]
    images = measured.embedding("image")[chosen]
    label = (
        "text space, image mapped into it" if measured.spec.family == "separate" else "shared: image + text"
    )
    groups = ["image"] * len(images) + ["text"] * len(texts)
    yield _space(label, np.concatenate([images, texts]), groups, config)
    if "own_image" in measured.spaces:
        yield _space(
            "image, its own space", measured.embedding("own_image")[chosen], ["image"] * len(chosen), config
        )


def _space(name: str, vectors: np.ndarray, groups: Sequence[str], config: ReportConfig) -> EmbeddingSpace:
    return EmbeddingSpace(
        name=name,
        points=tsne(vectors, config.seed),
        groups=groups,
        explained_variance=explained_variance(vectors),
    )


def _chosen(count: int, config: ReportConfig) -> np.ndarray:
    generator = np.random.default_rng(config.seed)
    return np.sort(generator.choice(count, size=min(config.points, count), replace=False))
