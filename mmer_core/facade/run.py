"""A trained model with what it was made with and what it reached, from manifests and metrics alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmer_core.errors import OtherVersion
from mmer_core.evaluation.record import METRICS_FILE, EvaluationRecord, EvaluationSummary, unread
from mmer_core.log import event
from mmer_core.record import Interval
from mmer_core.store import ArtifactKey, Manifest, Store
from mmer_core.training.record import START, ModelSummary

HEADLINES = ("mean_recall", "macro_f1", "map")
"""Metrics by which models are judged, by kind of task; of several the first one counts."""


@dataclass(frozen=True)
class Run:
    """A trained model and one measurement of it.

    Attributes:
        model: Key of the model.
        made: When it was made, ISO 8601, UTC.
        family: ``separate``, ``joint``, ``zero-shot``.
        dataset: Name of the dataset that it was measured on; that it was trained on, where it was never measured.
        prepared: Key of the prepared arrays of that dataset.
        split: That it was measured on; None where it was never measured.
        metrics: By name, with intervals; shares in percent.
        evaluation: Key of the measurement.
        settings: What decided the model, by dotted names: ``training.epochs``, ``dataset.context_size``.
        used: What it was made with where its settings leave it open, in the same way: ``model.dropout``.
    """

    model: ArtifactKey
    made: str
    task: str
    family: str
    dataset: str
    prepared: str
    split: str | None = None
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    evaluation: ArtifactKey | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    used: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> tuple[str, Interval] | None:
        """The metric by which models of this task are judged."""
        return next(((name, self.metrics[name]) for name in HEADLINES if name in self.metrics), None)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        fields = {name: getattr(self, name) for name in ("made", "task", "family", "dataset", "split")}
        figures = {
            name: {"value": one.value, "low": one.low, "high": one.high} for name, one in self.metrics.items()
        }
        keys = {"model": str(self.model), "prepared": self.prepared}
        measured = str(self.evaluation) if self.evaluation else None
        return (
            keys
            | fields
            | {
                "evaluation": measured,
                "metrics": figures,
                "settings": dict(self.settings),
                "used": dict(self.used),
            }
        )


def list_runs(store: Store, models: Sequence[ArtifactKey] | None = None) -> list[Run]:
    """Every model, or those given, with the newest measurement of it on every split of every dataset, oldest model first.

    Measurements that another version of mmer wrote in a form of its own are left out, with a warning.

    Raises:
        StoreError: A model is not there, or an artifact is damaged.
    """
    chosen = list(store.list("model")) if models is None else [store.manifest(key) for key in models]
    prepared = {str(manifest.key): manifest for manifest in store.list("prepared")}
    measured: dict[str, dict[tuple[str, str], Manifest]] = {}
    for one in sorted(store.list("evaluation"), key=lambda manifest: manifest.created):
        on = one.inputs["prepared"], one.summary_as(EvaluationSummary).split
        measured.setdefault(one.inputs["model"], {})[on] = one
    found = []
    for model in sorted(chosen, key=lambda manifest: manifest.created):
        summary = model.summary_as(ModelSummary)
        data = prepared.get(model.inputs["prepared"])
        bare = Run(
            model.key,
            model.created,
            summary.task,
            summary.family,
            summary.dataset,
            model.inputs["prepared"],
            settings=_settings(model, data),
            used=dict(_flat(model.used)),
        )
        evaluations = measured.get(str(model.key), {}).values()
        read = (_read(store, bare, one) for one in evaluations)
        found += [run for run in read if run] or [bare]
    return found


def _read(store: Store, bare: Run, evaluation: Manifest) -> Run | None:
    try:
        return _measured(store, bare, evaluation)
    except OtherVersion:
        event(unread(evaluation), level=logging.WARNING)
        return None


def _measured(store: Store, bare: Run, evaluation: Manifest) -> Run:
    summary = evaluation.summary_as(EvaluationSummary)
    fields = json.loads(store.read(evaluation, METRICS_FILE))
    record = EvaluationRecord.parse(fields, f"{METRICS_FILE} of {evaluation.key}")
    return Run(
        **vars(bare)
        | {
            "dataset": summary.dataset,
            "prepared": evaluation.inputs["prepared"],
            "split": summary.split,
            "metrics": record.metrics,
            "evaluation": evaluation.key,
        }
    )


def varying(runs: Sequence[Run]) -> list[str]:
    """Names of the settings in which these runs differ, sorted."""
    names = {name for run in runs for name in run.settings}
    return sorted(name for name in names if len({repr(run.settings.get(name)) for run in runs}) > 1)


def _settings(model: Manifest, prepared: Manifest | None) -> dict[str, Any]:
    """Of the training and of the dataset; other inputs of the model (poison) by their keys."""
    found = {name: value for name, value in _flat(model.config) if name != START}
    if prepared is not None:
        data = {"raw": prepared.inputs.get("raw"), **prepared.config.get("config", {})}
        found |= _flat(data, "dataset.")
    return found | {role: key for role, key in model.inputs.items() if role not in ("prepared", "features")}


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A nested configuration as dotted names with their values."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
