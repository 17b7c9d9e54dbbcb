"""What the models are, and what each of their parts brings."""

from collections.abc import Mapping
from typing import Any

from mmer_core.evaluation.comparing import ABLATION, SKILL
from mmer_core.reporting.comparison_table import decision
from mmer_core.reporting.estimates import MISSING, number
from mmer_core.reporting.labels import metric
from mmer_core.reporting.sections.base import Section
from mmer_core.reporting.table import Cell, Row, Table, cell
from mmer_core.reporting.view import DatasetView, ModelFacts


class Models(Section):
    """A row a model, ablations among them."""

    name = "models"
    summary = "Models and ablations"
    order = 15
    template = """\
<p>Trained models have the same encoders, objectives, schedule and modality dropout, and as many parameters: the hidden width of each follows from those of the joint model. What differs is the embedding, one or one a stream, and the fusion, which says how much each stream weighs. Every family tries as many settings (learning rate, weight decay and dropout; <code>--training.tries</code>), of which the best on val is kept. Models that predict labels start from the linear probe, and predict as it does unless the best epoch is better on val by more than the noise: half the 95 % interval of that difference, with Bonferroni’s correction for the epochs. Differences are those of the first model less the second on the same samples, with Holm’s correction over the ablations.</p>
{{ table(models, wide=true) }}
"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any] | None:
        return {"models": model_table(dataset)} if dataset.models else None


def model_table(dataset: DatasetView) -> Table:
    """What each model is, its headline metric, and its paired difference to the default model."""
    compared = [one for one in dataset.comparisons if one.topic == SKILL or one.topic.startswith(ABLATION)]
    by_second = {one.second: one for one in compared}
    described = metric(dataset.text.headline)
    rows = []
    for model in dataset.models:
        found = by_second.get(model.family)
        rows.append(
            Row(
                model.family,
                (
                    *map(Cell, (model.embedding, model.fusion or MISSING, f"{model.parameters:,}")),
                    cell(model.headline, described.digits),
                    *(
                        (
                            Cell(f"{found.first} − {found.second}"),
                            cell(found.difference),
                            Cell(decision(found)),
                        )
                        if found
                        else (Cell(MISSING),) * 3
                    ),
                    *map(Cell, _training(model)),
                ),
                hint=", ".join(model.streams),
            )
        )
    return Table(
        f"{dataset.name}: models, one thing changed at a time",
        (
            *("Model", "embedding", "fusion", "parameters", f"{described.label}, %"),
            *("compared", "difference, points", "answer"),
            *("rate, decay, dropout", "tries", "epoch kept", "trained in"),
        ),
        tuple(rows),
    )


def _training(model: ModelFacts) -> tuple[str, ...]:
    if not model.tries:
        return (MISSING,) * 4
    epoch = str(model.best_epoch)
    if model.linear:
        epoch += "; labels as of the linear start: no epoch was better by more than the noise of val"
    seconds = MISSING if model.seconds is None else f"{number(model.seconds)} s"
    return model.settings, f"{model.tries:,}", epoch, seconds
