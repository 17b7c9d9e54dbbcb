"""The page of a poisoning experiment."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmer_core.evaluation.retrieval_metrics import RECALL_METRICS
from mmer_core.record import Interval
from mmer_core.reporting.charts import WIDE
from mmer_core.reporting.estimates import number
from mmer_core.reporting.labels import metric
from mmer_core.reporting.page import Page
from mmer_core.reporting.poison_charts import distance_charts, drop_bars, drop_map, largest_drops
from mmer_core.reporting.svg import FAMILY_COLOUR, MUTED, STYLE, to_svg
from mmer_core.reporting.table import Cell, Row, Table, cell, plain
from mmer_core.reporting.task_text import TaskText

Record = Mapping[str, Any]
_MOST_VULNERABLE = 12
_OF_MODALITIES = {
    "contribution": ("contribution, points", 1),
    "cka": ("CKA", 3),
    "modality_gap": ("modality gap", 3),
    "paired_similarity": ("similarity of pairs", 3),
}
"""Name and digits of what is compared between modalities, see `mmer_core.stages.poison.judging`."""
_DOTTED = (0, (1, 1.4))


@dataclass(frozen=True)
class PoisonView:
    """Everything that the page shows.

    Attributes:
        target: Emotion or word that the poisons should make a model see.
        training_samples: In the clean training split.
        config: The experiment's parameters.
        warnings: Sentences for the top of the page.
        means: A row for every family, attack, count and filter; see `mmer_core.stages.poison.merging.over_seeds`.
        detections: What detectors found, in percent.
        vulnerability: Success by what was in the image before.
        modalities: Distances between modalities and contributions, clean and poisoned.
        recalls: Of image and text, of the clean models and of every attack's largest count.
        words: How far similarity fell by word, see `mmer_core.stages.poison.similarities.word_drops`.
        distances: Of image and text, see `mmer_core.stages.poison.similarities.distances`.
    """

    dataset: str
    text: TaskText
    synthetic: bool
    split: str
    target: str
    training_samples: int
    seeds: int
    config: Mapping[str, Any]
    warnings: Sequence[str]
    means: Sequence[Record]
    detections: Sequence[Record]
    vulnerability: Sequence[Record]
    modalities: Sequence[Record]
    recalls: Sequence[Record] = ()
    words: Sequence[Record] = ()
    distances: Sequence[Record] = ()


def render_poison_page(view: PoisonView) -> str:
    """The page as a string; the same view gives the same string."""
    return Page({}).render(
        "poisoning.html",
        view=view,
        metric=view.text.headline_label,
        success=curves(view, "success", "success (%)", "success"),
        loss=curves(view, "metric_loss", f"{view.text.headline_label} lost (points)", "loss"),
        outcomes=outcomes_table(view),
        detections=detections_table(view.detections) if view.detections else None,
        vulnerable=vulnerability_table(view.vulnerability),
        modalities=modalities_table(view.modalities),
        recalls=recalls_table(view.recalls),
        bars=drop_bars(view.words, "drops") if view.words else None,
        heat=drop_map(view.words, "drop-map") if view.words else None,
        words=words_table(view.words),
        spread=distance_charts(view.distances, "distances") if _both(view.distances) else None,
        distances=distances_table(view.distances),
        config_json=json.dumps(view.config, indent=2),
    )


@mpl.rc_context(STYLE)
def curves(view: PoisonView, name: str, label: str, chart: str) -> Markup:
    """A figure against the number of poisons with its interval over seeds; a panel for each attack or control."""
    rows = [row for row in view.means if row["attack"] != "clean" and not row["filtered"]]
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    figure = Figure(figsize=(WIDE, 2.6))
    axes = figure.subplots(1, max(1, len(attacks)), sharey=True, squeeze=False)[0]
    for axis, attack in zip(axes, attacks, strict=False):
        axis.set_title(attack)
        axis.set_xlabel("poisons")
        axis.set_xticks(sorted({row["count"] for row in rows if row["attack"] == attack}))
        for family in dict.fromkeys(row["family"] for row in rows):
            points = [row for row in rows if row["attack"] == attack and row["family"] == family]
            _curve(axis, family, sorted(points, key=lambda row: int(row["count"])), name)
    axes[0].set_ylabel(label)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4)
    return to_svg(figure, chart, f"{label} against the number of poisons; the table holds the figures.")


def _curve(axis: Axes, family: str, points: Sequence[Record], name: str) -> None:
    counts, values = [row["count"] for row in points], [row[name] for row in points]
    colour = FAMILY_COLOUR[family]
    axis.plot(counts, values, "o-", color=colour, label=family)
    intervals = [(row[f"{name}_low"], row[f"{name}_high"]) for row in points]
    if all(low is not None and low == low for low, _ in intervals):  # NaN is not itself
        axis.vlines(counts, *zip(*intervals, strict=True), color=colour, linewidth=1)
    if name == "success" and points:
        axis.axhline(
            points[0]["reference"],
            color=colour,
            linestyle=_DOTTED,
            linewidth=1,
            label=f"{family}, no poison",
        )
        if points[0]["chance"] is not None and points[0]["chance"] == points[0]["chance"]:
            axis.axhline(points[0]["chance"], color=MUTED, linewidth=0.8, label="_chance")


def outcomes_table(view: PoisonView) -> Table:
    """Every training set, families side by side in rows."""
    rows = (
        (
            f"{row['family']}: {row['attack']}"
            + (f", filtered by {row['filtered']}" if row["filtered"] else ""),
            f"{row['count']} ({100 * row['count'] / view.training_samples:.2f} %)",
            _interval(row, "success"),
            _interval(row, "reference"),
            _interval(row, "gain"),
            _interval(row, "metric"),
            _interval(row, "metric_loss", 2),
            number(row["psnr"]),
            number(row["ssim"], 4),
        )
        for row in view.means
    )
    columns = (
        "model and attack",
        "poisons",
        "success %",
        "without poison %",
        "gain, points",
        view.text.headline_label,
        "lost",
        "PSNR dB",
        "SSIM",
    )
    return plain("Means over seeds, with 95 % intervals", columns, rows)


def detections_table(detections: Sequence[Record]) -> Table:
    """What each detector found."""
    rows = (
        (f"{row['detector']} on {row['attack']}, {row['family']} model",
         _interval(row, "recall"), *(number(row[name]) for name in ("precision", "false_positive_rate", "auc")))
        for row in detections
    )  # fmt: skip
    columns = ("detector", "poisons found %", "flagged that are poisons %", "clean flagged %", "AUC %")
    return plain("Detectors on the largest count, means over seeds", columns, rows)


def vulnerability_table(vulnerability: Sequence[Record]) -> Table:
    """The most vulnerable emotions or words of each family and attack."""
    rows, shown = [], dict[tuple[str, str], int]()
    for row in vulnerability:
        place = row["family"], row["attack"]
        shown[place] = shown.get(place, 0) + 1
        if shown[place] <= _MOST_VULNERABLE:
            rows.append(
                (
                    f"{row['family']}, {row['attack']}: {row['what']}",
                    str(row["samples"]),
                    _interval(row, "success"),
                )
            )
    return plain("Where the trigger works best", ("in the image before", "samples", "success %"), rows)


def modalities_table(modalities: Sequence[Record]) -> Table:
    """Distances between modalities, and contributions, before and after."""

    def shown(row: Record) -> tuple[str, ...]:
        what, _, of = row["what"].partition(" ")
        label, digits = _OF_MODALITIES[what]
        name = f"{row['family']}, {row['attack']} ({row['count']}): {label}, {of.replace('-', ' and ')}"
        values = (row["clean"], row["poisoned"], row["poisoned"] - row["clean"])
        return name, *(number(value, digits) for value in values)

    rows = map(shown, modalities)
    return plain(
        "Modalities of the clean and of the poisoned model", ("figure", "clean", "poisoned", "shift"), rows
    )


def recalls_table(recalls: Sequence[Record]) -> Table:
    """Recall at 1, 5 and 10 in both directions, clean models before poisoned ones."""
    names = [name for name in RECALL_METRICS if any(name in row["recalls"] for row in recalls)]
    missing = Interval(None, None, None)
    rows = (
        Row(
            f"{row['family']}: {row['attack']}" + (f" ({row['count']})" if row["count"] else ""),
            tuple(cell(row["recalls"].get(name, missing)) for name in names),
        )
        for row in recalls
    )
    return Table(
        "Recall in %, means over seeds, with 95 % intervals",
        ("model", *(metric(name).label for name in names)),
        tuple(rows),
    )


def words_table(words: Sequence[Record]) -> Table:
    """Drop of the words that charts show, by model."""
    rows = (
        Row(
            f"{model}: {row['word']}",
            (Cell(f"{row['texts']:,}"), cell(Interval(row["drop"], row["drop_low"], row["drop_high"]), 3)),
        )
        for model, found in largest_drops(words).items()
        for row in found
    )
    return Table(
        "Drop in similarity, with 95 % intervals", ("word", "pairs that hold it", "drop"), tuple(rows)
    )


def distances_table(found: Sequence[Record]) -> Table:
    """Quartiles of the distances of every model."""
    rows = (
        (f"{row['family']}: {row['attack']}", f"{row['pairs']:,}", f"{row['drawn']:,}",
         *(number(row[name], 3) for name in ("first", "median", "third", "mean")))
        for row in found
    )  # fmt: skip
    columns = ("model", "pairs, all seeds", "drawn", "first quartile", "median", "third quartile", "mean")
    return plain("Distance of image and text, 1 − cosine", columns, rows)


def _both(found: Sequence[Record]) -> bool:
    """Whether some model is there clean and poisoned."""
    clean = {row["family"] for row in found if row["attack"] == "clean"}
    return any(row["attack"] != "clean" and row["family"] in clean for row in found)


def _interval(row: Record, name: str, digits: int = 1) -> str:
    found = cell(Interval(row[name], row[f"{name}_low"], row[f"{name}_high"]), digits)
    return f"{found.text} ({found.note})" if found.note else found.text
