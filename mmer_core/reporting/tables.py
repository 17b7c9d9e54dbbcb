"""The report's tables, as rows of finished text."""

from collections.abc import Mapping, Sequence

from mmer_core.reporting.estimates import Estimate, significant
from mmer_core.reporting.labels import metric
from mmer_core.reporting.table import Cell, Row, Table, Whisker, cell, plain
from mmer_core.reporting.view import DatasetView, FamilyView

COMPARABLE = ("corrected", "mat2py", "official", "karpathy", "notebook", "notebook splits")
"""Protocols of EMOTIC and Flickr8k; beside figures of another dataset published ones would mislead."""


def key_table(dataset: DatasetView) -> Table:
    """Every metric of every family with its interval, beside the chance level."""
    names = dict.fromkeys(name for family in dataset.families for name in family.evaluation.metrics)
    rows = [_metric_row(dataset, name) for name in names]
    return Table(
        caption=f"{dataset.name}: {_sizes(dataset) if dataset.families else ''}",
        columns=("Metric", *(f"{family.family} model" for family in dataset.families), "chance"),
        rows=tuple(rows),
        drawn=True,
    )


def _sizes(dataset: DatasetView) -> str:
    evaluation = dataset.families[0].evaluation
    return f"{evaluation.split} split, {dataset.text.measured_on(evaluation)}"


def _metric_row(dataset: DatasetView, name: str) -> Row:
    described = metric(name)
    raws = [family.evaluation.metrics.get(name) for family in dataset.families]
    levels = (family.evaluation.baselines.get(name) for family in dataset.families)
    level = Estimate.of(next((raw for raw in levels if raw is not None), None))
    found = [
        (family.family, one)
        for family, raw in zip(dataset.families, raws, strict=True)
        if (one := Estimate.of(raw))
    ]
    top = max([one.high for _, one in found] + ([level.value] if level else []), default=0.0) or 1.0
    return Row(
        head=described.label,
        hint=described.hint,
        cells=(
            *(cell(raw, described.digits) for raw in raws),
            cell(level.value if level else None, described.digits),
        ),
        whiskers=tuple(
            Whisker(family, *(round(96 * end / top, 2) for end in (one.low, one.value, one.high)))
            for family, one in found
        ),
        baseline=round(96 * level.value / top, 2) if level else None,
        strong=name == dataset.text.headline,
    )


def spread_table(dataset: DatasetView) -> Table:
    """Every metric over several trainings, with the two standard deviations."""
    several = [family for family in dataset.families if family.trainings > 1]
    rows = []
    for name in dict.fromkeys(name for family in several for name in family.spread):
        described = metric(name)
        cells: list[Cell] = []
        for family in several:
            found = family.spread.get(name)
            cells.append(cell(found.interval if found else None, described.digits))
            cells += [
                cell(one, described.digits + 1)
                for one in ((found.trainings, found.images) if found else (None, None))
            ]
        rows.append(Row(described.label, tuple(cells), hint=described.hint))
    columns = ("mean", "sd, trainings", "sd, photos")
    return Table(
        f"{dataset.name}: how a figure varies from training to training, and how one training's would with other photos",
        ("Metric", *columns * len(several)),
        tuple(rows),
        groups=(
            ("", 1),
            *((f"{family.family} model, {family.trainings} trainings", len(columns)) for family in several),
        ),
    )


def counts_table(dataset: DatasetView) -> Table:
    """Samples, images where some have none, and texts by split."""
    card = dataset.card
    samples = (
        "samples" if dataset.text.samples == "texts" else dataset.text.samples
    )  # one may have several texts
    columns: dict[str, Mapping[str, int]] = {samples: card.counts}
    if dataset.pictured:
        columns["images"] = dataset.pictured
    columns["texts"] = card.texts
    rows = [(split, *(f"{counts.get(split, 0):,}" for counts in columns.values())) for split in card.counts]
    total = ("all", *(f"{sum(counts.values()):,}" for counts in columns.values()))
    return plain("Kept", ("Split", *columns), [*rows, total])


def quarantine_table(dataset: DatasetView) -> Table:
    """Inputs left out, by reason."""
    reasons = sorted(dataset.card.quarantined.items(), key=lambda item: (-item[1], item[0]))
    return plain("Left out", ("Reason", "inputs"), [(reason, f"{count:,}") for reason, count in reasons])


def provenance_table(dataset: DatasetView) -> Table:
    """Where the texts come from."""
    sources = dataset.card.text_provenance.items()
    return plain(
        "Where the texts come from", ("Source", "texts"), [(name, f"{count:,}") for name, count in sources]
    )


def category_table(families: Sequence[FamilyView], word: str) -> Table:
    """Average precision, precision, recall, F1, accuracy and threshold, where there is one, of every category, by family."""
    measured = [{one.name: one for one in family.evaluation.per_category} for family in families]
    tuned = any(one.threshold is not None for categories in measured for one in categories.values())
    rows = []
    for name in dict.fromkeys(name for categories in measured for name in categories):
        cells = [cell(next(found[name].prevalence for found in measured if name in found))]
        for one in (categories.get(name) for categories in measured):
            cells += [
                cell(raw)
                for raw in ((one.ap, one.precision, one.recall, one.f1, one.accuracy) if one else [None] * 5)
            ]
            if tuned:
                cells.append(cell(one.threshold if one else None, 2))
        rows.append(Row(name, tuple(cells)))
    columns = ("AP", "precision", "recall", "F1", "accuracy", *(("threshold",) if tuned else ()))
    return Table(
        caption=f"Every {word}, in %; prevalence is the chance level of AP",
        columns=(word.capitalize(), "prevalence", *columns * len(families)),
        rows=tuple(rows),
        groups=(("", 2), *((f"{family.family} model", len(columns)) for family in families)),
    )


def confusion_table(family: FamilyView) -> Table:
    """How many samples of each class were predicted as each; the last column is the support."""
    names = [one.name for one in family.evaluation.per_category]
    rows = [
        (name, *(f"{count:,}" for count in (*counts, sum(counts))))
        for name, counts in zip(names, family.evaluation.confusion, strict=False)
    ]
    return plain(f"{family.family} model: samples by class and by prediction", ("Class", *names, "all"), rows)


def vad_table(families: Sequence[FamilyView]) -> Table:
    """Error of each continuous dimension beside the best constant."""
    measured = [{one.name: one for one in family.evaluation.vad} for family in families]
    rows = []
    for name in dict.fromkeys(name for dimensions in measured for name in dimensions):
        constant = next(found[name].constant for found in measured if name in found)
        cells = [cell(found[name].mae if name in found else None, 3) for found in measured]
        rows.append(Row(name, (*cells, cell(constant, 3))))
    heads = (f"{family.family} model" for family in families)
    return Table("Mean absolute error, points of 1–10", ("Dimension", *heads, "best constant"), tuple(rows))


def stream_table(families: Sequence[FamilyView]) -> Table:
    """Mean average precision from one modality at a time."""
    measured = [family.evaluation.per_stream for family in families]
    streams = dict.fromkeys(name for found in measured for name in found)
    rows = [
        Row(name, tuple(cell(found[name].map if name in found else None) for found in measured))
        for name in streams
    ]
    heads = (f"{family.family} model" for family in families)
    return Table("Mean average precision by modality, %", ("Modality", *heads), tuple(rows))


def history_table(family: FamilyView) -> Table:
    """Every logged figure of every epoch."""
    keys = dict.fromkeys(key for record in family.history for key in record if key != "epoch")
    rows = [
        Row(
            str(record["epoch"]),
            tuple(Cell(significant(record.get(key))) for key in keys),
            strong=record["epoch"] == family.best_epoch,
        )
        for record in family.history
    ]
    return Table(
        f"{family.family} model, by epoch", ("Epoch", *(key.replace("_", " ") for key in keys)), tuple(rows)
    )


def published_table(dataset: DatasetView) -> Table | None:
    """Published figures on the real test splits of EMOTIC and Flickr8k; nothing for any other dataset."""
    if dataset.card.protocol not in COMPARABLE:
        return None
    return dataset.text.published
