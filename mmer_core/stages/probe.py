"""Features -> a linear probe: logistic regression on what the models read, as a baseline beside them."""

from collections.abc import Sequence
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
from mmer_core.evaluation.emotion_metrics import mean_average_precision
from mmer_core.evaluation.evaluate import evaluate_emotion
from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.progress import Progress, silent
from mmer_core.record import Record
from mmer_core.reporting.sections.probe import ProbeSummary, Tried
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.task_kinds import kind_of
from mmer_core.training.data import EmotionData

PROBE_FILE, PROBABILITIES_FILE = "probe.json", "probabilities.npy"
_ITERATIONS = 1000

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


@stage("probe", version=2, title="probe on {evaluation.split}")
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
    dataset = Prepared.open(context.folder(prepared))
    check_labelled(dataset.card.task, dataset.card.name)
    train, val, measured = (dataset.split(name) for name in ("train", "val", evaluation.split))
    if not val.labels.any():
        raise DatasetError(
            f"no sample of val in {dataset.card.name} has a label, so no C can be chosen: add some"
        )
    stored = Features(context.folder(features))
    x_train, x_val, x_measured = standardised(*(concatenated(stored, one) for one in (train, val, measured)))
    one_label = has_one_label(train.labels) and has_one_label(val.labels)
    fits = [
        fit_probe(x_train, train.labels, strength, one_label=one_label, progress=progress)
        for strength, progress in zip(config.strengths, _steps(context.progress, config), strict=True)
    ]
    scores = [fit.probabilities(x_val) for fit in fits]
    tried = tuple(
        Tried(
            strength=strength,
            map=100 * mean_average_precision(score, val.labels),
            unconverged=fit.unconverged,
        )
        for strength, score, fit in zip(config.strengths, scores, fits, strict=True)
    )
    best = max(range(len(tried)), key=lambda place: tried[place].map or 0.0)  # of equals the smallest C
    probabilities = fits[best].probabilities(x_measured)
    np.save(workspace.out / PROBABILITIES_FILE, probabilities, allow_pickle=False)
    record = _measured(probabilities, measured, f1_thresholds(scores[best], val.labels), evaluation)
    names = {"image": encoders.image} if "context" in stored.widths else {}
    names |= {"text": encoders.text} if "text" in stored.widths else {}
    names = without_folders(names)  # records and reports are shared
    ProbeRecord(
        dataset=dataset.card.name,
        encoders=names,
        widths=stored.widths,
        one_label=one_label,
        strength=config.strengths[best],
        tried=tried,
        evaluation=record,
    ).write(workspace.out / PROBE_FILE)
    return ProbeSummary(
        dataset=dataset.card.name,
        split=evaluation.split,
        n=record.n,
        encoders=names,
        strength=config.strengths[best],
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


def concatenated(features: Features, split: PreparedSplit) -> npt.NDArray[np.float32]:
    """``(N, D)`` features of all streams side by side; zeros where a sample, or the whole split, lacks a stream."""
    streams = EmotionData.load(features, split).streams
    return np.hstack(
        [
            streams[name].numpy() if name in streams else np.zeros((len(split), width), np.float32)
            for name, width in features.widths.items()
        ]
    )


def standardised(train: npt.ArrayLike, *others: npt.ArrayLike) -> list[FloatArray]:
    """The arrays ``(N, D)`` with the mean and the standard deviation of ``train`` taken out."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(np.asarray(train, np.float64))
    return [scaler.transform(np.asarray(rows, np.float64)) for rows in (train, *others)]


def has_one_label(labels: npt.NDArray[np.float32]) -> bool:
    """Whether each of the rows ``(N, C)`` has exactly one label, of several that there are."""
    return labels.shape[1] > 1 and bool((labels.sum(axis=1) == 1).all())


class Fit:
    """A fitted probe.

    Args:
        weights: ``(C, D)``.
        intercepts: ``(C,)``; infinite where a category is always, or never, there.
        one_label: Whether the probabilities of a sample sum to 1.
        unconverged: How many of its fits stopped before they had converged.
    """

    def __init__(
        self, weights: FloatArray, intercepts: FloatArray, *, one_label: bool, unconverged: int
    ) -> None:
        self._weights, self._intercepts, self._one_label = weights, intercepts, one_label
        self.unconverged = unconverged

    def probabilities(self, features: npt.ArrayLike) -> FloatArray:
        """``(N, C)`` of standardised features ``(N, D)``."""
        from scipy.special import expit, softmax

        logits = np.asarray(features) @ self._weights.T + self._intercepts
        return softmax(logits, axis=1) if self._one_label else expit(logits)


def fit_probe(
    features: FloatArray,
    labels: npt.NDArray[np.float32],
    strength: float,
    *,
    one_label: bool,
    progress: Progress = silent,
) -> Fit:
    """Logistic regressions with an L2 penalty: one for each category, or one among all categories.

    Args:
        features: ``(N, D)``, standardised.
        labels: ``(N, C)`` 0/1.
        strength: scikit-learn's ``C``.
        one_label: Each sample has exactly one label, and one regression chooses it.
    """
    count = labels.shape[1]
    weights, intercepts = np.zeros((count, features.shape[1])), np.full(count, -np.inf)
    targets = [labels.argmax(axis=1)] if one_label else list(labels.astype(np.int64).T)
    unconverged = 0
    for number, target in enumerate(targets):
        classes = np.unique(target)
        rows = classes if one_label else [number]
        if len(classes) == 1:  # there is nothing to learn
            intercepts[rows] = 0.0 if one_label else np.inf if target[0] else -np.inf
        else:
            weights[rows], intercepts[rows], stopped = _regression(features, target, strength, one_label)
            unconverged += stopped
        progress(number + 1, len(targets), f"C = {strength:g}")
    return Fit(weights, intercepts, one_label=one_label, unconverged=unconverged)


def _regression(
    features: FloatArray, target: npt.NDArray[np.int64], strength: float, one_label: bool
) -> tuple[FloatArray, FloatArray, bool]:
    """Weights, intercepts, and whether the fit stopped before it had converged."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the record says it
        model.fit(features, target)
    weights, intercepts = model.coef_, model.intercept_
    if one_label and len(weights) == 1:  # of two classes it gives the logit of the second: the first has 0
        weights, intercepts = np.vstack([0 * weights, weights]), np.append(0.0, intercepts)
    return weights, intercepts, bool(model.n_iter_.max() >= _ITERATIONS)


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


def _steps(progress: Progress, config: ProbeConfig) -> Sequence[Progress]:
    """A share of the progress for each value of C."""
    count = len(config.strengths)

    def step(place: int) -> Progress:
        return lambda done, total, note="": progress(place * total + done, count * total, note)

    return [step(place) for place in range(count)]
