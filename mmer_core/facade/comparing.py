"""`mmer_core.compare`: two models on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from mmer_core.config import RuntimeConfig
from mmer_core.errors import ConfigError
from mmer_core.facade.run import Run, list_runs, varying
from mmer_core.facade.showing import tables_html
from mmer_core.facade.tabulating import STORE
from mmer_core.heavy import pd
from mmer_core.reporting.comparison_table import decision, differences
from mmer_core.reporting.labels import metric
from mmer_core.reporting.table import Cell, Row, Table, cell
from mmer_core.stages.comparisons import compare_two, same_samples
from mmer_core.stages.context import Context
from mmer_core.stages.lineage import ModelArtifacts, model_named, newest_attacks
from mmer_core.stages.views import open_measured
from mmer_core.statistics.comparison import Comparison, Rule
from mmer_core.store import ArtifactKey, Manifest
from mmer_core.task_kinds import Measured

_NAMES = ("A", "B")


@dataclass(frozen=True)
class ModelComparison:
    """Two models, A and B, measured on the same samples. A notebook shows it as tables.

    Attributes:
        first: Model A.
        second: Model B.
        answers: Every question about both, with the paired difference A less B, its interval and what follows.
    """

    first: Run
    second: Run
    answers: tuple[Comparison, ...]

    @cached_property
    def settings(self) -> dict[str, tuple[Any, Any]]:
        """What was configured differently: A's and B's value by dotted name."""
        both = self.first, self.second
        return {
            name: (self.first.settings.get(name), self.second.settings.get(name)) for name in varying(both)
        }

    @property
    def differences(self) -> pd.DataFrame:
        """A row for each question: figures in percent, and their difference in percentage points with its 95 % interval;
        ``p`` after Holm's correction where several are asked together."""
        rows = [
            (
                *(one.quantity, one.first_value, one.second_value),
                *(one.difference.value, one.difference.low, one.difference.high),
                *(one.p_adjusted, one.n, decision(one)),
            )
            for one in self.answers
        ]
        columns = ["figure", *_NAMES, "difference", "low", "high", "p", "n", "answer"]
        return pd.DataFrame(rows, columns=columns)

    @property
    def title(self) -> str:
        """What was compared, in a line."""
        return f"Two models on the {self.first.split} split of {self.first.dataset}"

    @property
    def legend(self) -> list[str]:
        """Which model is A and which B."""
        runs = zip(_NAMES, (self.first, self.second), strict=True)
        return [f"{name} = {run.model}, {run.family}, made {run.made[:16]}" for name, run in runs]

    def tables(self) -> list[Table]:
        """For pages and terminals: settings, paired differences, and all metrics with their own intervals."""
        changed = [
            Row(name, tuple(Cell("–" if one is None else str(one)) for one in values))
            for name, values in self.settings.items()
        ]
        both = [run.metrics for run in (self.first, self.second)]
        metrics = [
            Row(
                metric(name).label,
                tuple(cell(one.get(name), metric(name).digits) for one in both),
                metric(name).hint,
            )
            for name in dict.fromkeys(name for one in both for name in one)
        ]
        return [
            Table("Configured differently", ("Setting", *_NAMES), tuple(changed)),
            differences("Which model is better? A less B, on the same samples", self.answers),
            Table("Every metric, with 95 % intervals", ("Metric", *_NAMES), tuple(metrics)),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {
            "a": self.first.to_dict(),
            "b": self.second.to_dict(),
            "settings": {name: list(values) for name, values in self.settings.items()},
            "answers": [one.model_dump(mode="json") for one in self.answers],
        }

    def __repr__(self) -> str:
        return "\n".join([self.title, *self.legend, self.differences.to_string(index=False)])

    def _repr_html_(self) -> str:
        return tables_html(self.tables(), [self.title, *self.legend])


def compare(
    a: str, b: str, *, split: str | None = None, margin: float = 5.0, store: str = STORE
) -> ModelComparison:
    """Compare two models on the samples that both were measured on: what differs in settings and in results.

    >>> import mmer_core as mmer
    >>> separate, joint = mmer.runs().query("task == 'retrieval'").model
    >>> compared = mmer.compare(joint, separate)
    >>> compared.settings
    {'model.family': ('joint', 'separate')}
    >>> compared.differences.figure[0]
    'mean recall'

    Args:
        a: Key of a model, or its beginning; ``"model"`` for the newest.
        b: Of the other one.
        split: On which to compare them; by default the newest that both were measured on.
        margin: Percentage points by which two models may differ and still be called equivalent.
        store: Address of the store: a folder, ``file:///…`` or ``s3://bucket/prefix``.

    Raises:
        ConfigError: They cannot be compared: they are of different tasks, or were not measured on the same samples; the
            message says how to measure them there.
        StoreError: A model is not there.
    """
    return compare_models(Context(RuntimeConfig(store=store)), a, b, split=split, margin=margin)


def compare_models(
    context: Context, a: str, b: str, *, split: str | None = None, margin: float = 5.0
) -> ModelComparison:
    """As `compare`, in a context."""
    models = [model_named(context.store, text) for text in (a, b)]
    if models[0].key == models[1].key:
        raise ConfigError(f"{a} and {b} are one model, {models[0].key}; name two: mmer runs lists them")
    runs = [list_runs(context.store, [model.key]) for model in models]
    first, second = (found[0] for found in runs)
    if first.task != second.task:
        raise ConfigError(
            f"{first.model} is a model for the task {first.task} and {second.model} for {second.task}, which have no figure "
            "in common; compare models of one task: mmer runs lists them"
        )
    for run in (first, second):
        if run.split is None:
            raise ConfigError(f"{run.model} was never measured; run mmer evaluate --model {run.model}")
    for pair in _likely_first(runs[0], runs[1], split):
        opened = [_opened(context, model, run) for model, run in zip(models, pair, strict=True)]
        one, other = opened
        if one.spec.labels != other.spec.labels:
            raise ConfigError(
                f"{first.model} and {second.model} predict different labels, so they have no figure in common; train one on "
                "the dataset of the other"
            )
        if same_samples(one, other):
            # Under the names A and B, since their families may be one.
            named = dict(zip(("first", "second"), _NAMES, strict=True))
            found = compare_two([one], [other], Rule(margin=margin))
            return ModelComparison(*pair, tuple(each.model_copy(update=named) for each in found))
    raise ConfigError(_cure(runs[0], runs[1], split))


def _likely_first(one: Sequence[Run], other: Sequence[Run], split: str | None) -> list[tuple[Run, Run]]:
    """Pairs of measurements on splits of one name; those of the same prepared arrays first, of them the newest."""
    newest_first = product(reversed(one), reversed(other))
    pairs = [(a, b) for a, b in newest_first if a.split == b.split and split in (None, a.split)]
    return sorted(pairs, key=lambda pair: pair[0].prepared != pair[1].prepared)


def _opened(context: Context, model: Manifest, run: Run) -> Measured:
    def on_these_samples(made: Manifest) -> bool:
        return made.inputs.get("prepared") == run.prepared

    assert run.evaluation is not None
    attacked = newest_attacks(context.store, {str(model.key): run.split}, on_these_samples)
    return open_measured(
        context,
        ModelArtifacts(
            ArtifactKey.parse(run.prepared),
            ArtifactKey.parse(model.inputs["features"]),
            model.key,
            run.evaluation,
            attacked.get(str(model.key)),
        ),
    )


def _cure(one: Sequence[Run], other: Sequence[Run], split: str | None) -> str:
    """Why no two measurements are of the same samples, and the commands that make them so."""
    said = [
        f"{runs[0].model} was measured on " + ", ".join(f"{run.split} of {run.dataset}" for run in runs)
        for runs in (one, other)
    ]
    where = next((run for run in one if run.split == split), one[-1])
    wanted = split or where.split
    commands = [
        f"mmer evaluate --model {runs[0].model} --prepared {where.prepared} --evaluation.split {wanted}"
        for runs in (one, other)
        if (where.prepared, wanted) not in {(run.prepared, run.split) for run in runs}
    ]
    return f"{said[0]}, and {said[1]}; to compare them, run {' and '.join(commands)}"
