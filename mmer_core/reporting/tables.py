"""The report's tables, as rows of finished text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.record import Interval
from mmer_core.reporting.estimates import MISSING, Estimate, number, significant
from mmer_core.reporting.labels import HEADLINE, metric
from mmer_core.reporting.view import DatasetView, FamilyView
from mmer_core.taxonomy import PUBLISHED_EMOTIC_MAP, PUBLISHED_FLICKR8K

COMPARABLE = ("corrected", "mat2py", "official", "karpathy", "notebook")
"""Protocols of EMOTIC and Flickr8k; beside figures of another dataset published ones would mislead."""


@dataclass(frozen=True)
class Cell:
    """A figure and, smaller beside it, its interval."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Whisker:
    """An interval drawn in a row, in percent of the row's scale."""

    family: str
    low: float
    value: float
    high: float


@dataclass(frozen=True)
class Row:
    """A row: its heading, a hint below the heading, and its cells; ``whiskers`` draw the same figures."""

    head: str
    cells: tuple[Cell, ...]
    hint: str = ""
    whiskers: tuple[Whisker, ...] = ()
    baseline: float | None = None
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table: ``columns`` includes the heading of the row headings; ``groups`` spans columns: (name, width)."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    groups: tuple[tuple[str, int], ...] = ()
    drawn: bool = False

    @property
    def starts(self) -> frozenset[int]:
        """Columns at which a named group begins."""
        ends = list(accumulate(width for _, width in self.groups))
        return frozenset(end - width for end, (name, width) in zip(ends, self.groups, strict=True) if name)


def cell(raw: Interval | float | None, digits: int = 1) -> Cell:
    """An estimate as a cell."""
    estimate = Estimate.of(raw)
    return Cell(number(estimate.value, digits), estimate.interval(digits)) if estimate else Cell(MISSING)


def plain(caption: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    """A table of ready texts."""
    return Table(caption, columns, tuple(Row(row[0], tuple(map(Cell, row[1:]))) for row in rows))


def key_table(dataset: DatasetView) -> Table:
    """Every metric of every family with its interval, beside what guessing scores."""
    names = dict.fromkeys(name for family in dataset.families for name in family.evaluation.metrics)
    rows = [_metric_row(dataset, name) for name in names]
    return Table(
        caption=f"{dataset.name}: {_sizes(dataset.families[0].evaluation) if dataset.families else ''}",
        columns=("Metric", *(f"{family.family} model" for family in dataset.families), "by guessing"),
        rows=tuple(rows),
        drawn=True,
    )


def _sizes(evaluation: EvaluationRecord) -> str:
    if evaluation.task == "emotion":
        return f"{evaluation.split} split, {evaluation.n:,} people"
    return f"{evaluation.split} split, {evaluation.n:,} images and {evaluation.n_texts:,} texts"


def _metric_row(dataset: DatasetView, name: str) -> Row:
    described = metric(name)
    raws = [family.evaluation.metrics.get(name) for family in dataset.families]
    guesses = (family.evaluation.baselines.get(name) for family in dataset.families)
    guess = Estimate.of(next((raw for raw in guesses if raw is not None), None))
    found = [
        (family.family, one)
        for family, raw in zip(dataset.families, raws, strict=True)
        if (one := Estimate.of(raw))
    ]
    top = max([one.high for _, one in found] + ([guess.value] if guess else []), default=0.0) or 1.0
    return Row(
        head=described.label,
        hint=described.hint,
        cells=(
            *(cell(raw, described.digits) for raw in raws),
            cell(guess.value if guess else None, described.digits),
        ),
        whiskers=tuple(
            Whisker(family, *(round(96 * end / top, 2) for end in (one.low, one.value, one.high)))
            for family, one in found
        ),
        baseline=round(96 * guess.value / top, 2) if guess else None,
        strong=name == HEADLINE[dataset.task],
    )


def counts_table(dataset: DatasetView) -> Table:
    """Samples and texts by split."""
    card = dataset.card
    rows = [(split, f"{count:,}", f"{card.texts.get(split, 0):,}") for split, count in card.counts.items()]
    total = ("all", f"{sum(card.counts.values()):,}", f"{sum(card.texts.values()):,}")
    noun = "people" if dataset.task == "emotion" else "photos"
    return plain("Kept", ("Split", noun, "texts"), [*rows, total])


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


def category_table(families: Sequence[FamilyView]) -> Table:
    """Average precision, precision, recall, F1 and threshold of every category, by family."""
    measured = [{one.name: one for one in family.evaluation.per_category} for family in families]
    rows = []
    for name in dict.fromkeys(name for categories in measured for name in categories):
        cells = [cell(next(found[name].prevalence for found in measured if name in found))]
        for one in (categories.get(name) for categories in measured):
            cells += [
                cell(raw) for raw in ((one.ap, one.precision, one.recall, one.f1) if one else [None] * 4)
            ]
            cells.append(cell(one.threshold if one else None, 2))
        rows.append(Row(name, tuple(cells)))
    columns = ("AP", "precision", "recall", "F1", "threshold")
    return Table(
        caption="Every emotion, in %; prevalence is what guessing scores as AP",
        columns=("Emotion", "prevalence", *columns * len(families)),
        rows=tuple(rows),
        groups=(("", 2), *((f"{family.family} model", len(columns)) for family in families)),
    )


def vad_table(families: Sequence[FamilyView]) -> Table:
    """Error of each continuous dimension beside the best constant guess."""
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
    if dataset.task == "emotion":
        rows = [(name, number(score, 2)) for name, score in PUBLISHED_EMOTIC_MAP.items()]
        return plain("EMOTIC, test split", ("Work", "mAP, %"), rows)
    scores = [(name, *map(number, figures)) for name, figures in PUBLISHED_FLICKR8K.items()]
    table = plain("Flickr8k, test split, 1,000 images, %", ("Work", *("R@1", "R@5", "R@10") * 2), scores)
    return Table(
        table.caption, table.columns, table.rows, groups=(("", 1), ("image to text", 3), ("text to image", 3))
    )
