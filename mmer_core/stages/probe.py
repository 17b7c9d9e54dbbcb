"""Features -> a linear probe: logistic regression on what the models read, as a baseline beside them."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from mmer_core.config import EncoderConfig, EvaluationConfig, ProbeConfig
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.encoders.features import Features
from mmer_core.errors import ConfigError, DatasetError
from mmer_core.escaping.places import without_folders
from mmer_core.evaluation.calibration import f1_thresholds
from mmer_core.evaluation.class_metrics import evaluate_classes
from mmer_core.evaluation.evaluate import evaluate_emotion
from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.objectives.bce import BinaryCrossEntropy
from mmer_core.objectives.cross_entropy import CrossEntropy
from mmer_core.record import Record
from mmer_core.reporting.sections.probe import ProbeSummary, Tried
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.task_kinds import kind_of
from mmer_core.training.data import EmotionData
from mmer_core.training.linear_probe import fit_probe

PROBE_FILE, PROBABILITIES_FILE = "probe.json", "probabilities.npy"

FloatArray = npt.NDArray[np.float64]


class ProbeRecord(Record):
    """A probe in full.

    Attributes:
        widths: Width of each stream, in the order in which they are concatenated.
        one_label: Whether one regression chooses among the categories, as every sample of train and val has one label;
            otherwise there is a regression for each category.
        strength: The C that was chosen, of those ``tried``.
    """

    version: Literal[1] = 1
    dataset: str
    encoders: dict[str, str]
    widths: dict[str, int]
    one_label: bool
    strength: float
    tried: tuple[Tried, ...]
    evaluation: EvaluationRecord


@stage("probe", version=4, gpu=True, title="probe on {evaluation.split}")
def probe(
    context: Context,
    workspace: Workspace,
    config: ProbeConfig,
    evaluation: EvaluationConfig,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
) -> ProbeSummary:
    """Fit on train, choose C and thresholds on val, measure on the evaluated split. Files: a `ProbeRecord`, and the
    probabilities ``(N, C)``.

    Raises:
        ConfigError: The dataset has captions and no labels.
        DatasetError: The dataset has no such split, or val shows none of the labels.
    """
    dataset = Prepared.open(context.parts(prepared))
    check_labelled(dataset.card.task, dataset.card.name)
    train, val, measured = (dataset.split(name) for name in ("train", "val", evaluation.split))
    if not val.labels.any():
        raise DatasetError(
            f"no sample of val in {dataset.card.name} has a label, so no C can be chosen: add some"
        )
    stored = Features(context.parts(features))
    seen = {one.split: EmotionData.load(stored, one).to(context.device) for one in (train, val, measured)}
    one_label = has_one_label(train.labels) and has_one_label(val.labels)
    fitted = fit_probe(
        seen["train"],
        seen["val"],
        stored.widths,
        CrossEntropy() if one_label else BinaryCrossEntropy(),
        config.strengths,
        context.progress,
    )
    thresholds = f1_thresholds(fitted.probabilities(seen["val"]), val.labels)
    probabilities = fitted.probabilities(seen[measured.split])
    tried = tuple(Tried(**one._asdict()) for one in fitted.tried)
    np.save(workspace.out / PROBABILITIES_FILE, probabilities, allow_pickle=False)
    record = _measured(probabilities, measured, thresholds, evaluation)
    names = {"image": encoders.image} if "context" in stored.widths else {}
    names |= {"text": encoders.text} if "text" in stored.widths else {}
    names = without_folders(names)  # records and reports are shared
    ProbeRecord(
        dataset=dataset.card.name,
        encoders=names,
        widths=stored.widths,
        one_label=one_label,
        strength=fitted.strength,
        tried=tried,
        evaluation=record,
    ).write(workspace.out / PROBE_FILE)
    return ProbeSummary(
        dataset=dataset.card.name,
        split=evaluation.split,
        n=record.n,
        encoders=names,
        strength=fitted.strength,
        tried=tried,
        metrics=record.metrics,
        baselines=record.baselines,
    )


def check_labelled(task: str, dataset: str) -> None:
    """Raises `ConfigError` for a dataset whose kind of task has no labels."""
    if not kind_of(task).labelled:
        raise ConfigError(
            f"a linear probe predicts labels, and {dataset} has captions instead: give a dataset with labels, such as "
            "emotic"
        )


def has_one_label(labels: npt.NDArray[np.float32]) -> bool:
    """Whether each of the rows ``(N, C)`` has exactly one label, of several that there are."""
    return labels.shape[1] > 1 and bool((labels.sum(axis=1) == 1).all())


def _measured(
    probabilities: FloatArray, split: PreparedSplit, thresholds: FloatArray, config: EvaluationConfig
) -> EvaluationRecord:
    """The metrics of a model that predicts one label a sample, where each has one; else those of emotions."""
    names = split.card.labels
    if has_one_label(split.labels):
        return evaluate_classes(probabilities, split.labels, names, config, split.clusters)
    nothing = np.zeros((len(split), 0))
    return evaluate_emotion(
        probabilities, nothing, split.labels, nothing, thresholds, names, config, (), split.clusters
    )
