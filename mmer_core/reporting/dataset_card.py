"""A prepared dataset on one page: what is in it, what was left out and why, and what occurs in two splits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmer_core.datasets.leakage import NEAR_BITS, Leak, leaks_by_kind
from mmer_core.datasets.prepared import DatasetSummary
from mmer_core.datasets.sample import Quarantined
from mmer_core.datasets.statistics import RATING_EDGES, SplitStatistics
from mmer_core.reporting import table as tables
from mmer_core.reporting.charts import WIDE
from mmer_core.reporting.contact_sheet import Shown
from mmer_core.reporting.page import Page
from mmer_core.reporting.pictures import data_uri
from mmer_core.reporting.svg import STREAM_COLOURS, STYLE, to_svg

LISTED = 40
"""Most rows of a list on the page; the files beside it hold all."""
_LONGEST = 40
"""Texts of this many words or more share the last bar."""

Statistics = Mapping[str, SplitStatistics]


@dataclass(frozen=True)
class CardView:
    """Everything the page shows: figures by split, leaks, what was refused, samples to look at, and what is said of those
    without an image."""

    card: DatasetSummary
    statistics: Statistics
    leaks: Sequence[Leak]
    quarantined: Sequence[Quarantined]
    shown: Sequence[Shown]
    absent: str = ""


def render_card(view: CardView) -> str:
    """The page as a string; the same view gives the same string."""
    return Page({"picture": data_uri}).render(
        "dataset_card.html",
        view=view,
        near_bits=NEAR_BITS,
        listed=LISTED,
        counts=counts_table(view),
        coverage=coverage_table(view.card),
        people=people_tables(view.statistics),
        reasons=reasons_table(view.quarantined),
        refused=tables.plain(
            "Refused inputs",
            ("Id", "split", "reason", "detail"),
            [(row.id, row.split, row.reason, row.detail) for row in view.quarantined[:LISTED]],
        ),
        leaks=leaks_table(view.leaks),
        leaks_by_kind=dict(Counter(leaks_by_kind(view.leaks)).most_common()),
        categories=categories_chart(view.statistics) if view.card.labels else None,
        ratings=ratings_chart(view.statistics)
        if any(one.ratings for one in view.statistics.values())
        else None,
        lengths=lengths_chart(view.statistics)
        if any(one.texts for one in view.statistics.values())
        else None,
    )


def counts_table(view: CardView) -> tables.Table:
    """Samples, photos, texts and labels by split."""
    rows = [
        (
            split,
            f"{one.samples:,}",
            f"{one.photos:,}",
            f"{one.texts:,}",
            "–" if one.labels_per_sample is None else f"{one.labels_per_sample:.2f}",
        )
        for split, one in view.statistics.items()
    ]
    return tables.plain("By split", ("Split", "samples", "photos", "texts", "labels a sample"), rows)


def coverage_table(card: DatasetSummary) -> tables.Table:
    """Texts by where they come from, by split."""
    rows = [
        (source, *(f"{card.text_coverage[split].get(source, 0):,}" for split in card.splits))
        for source in card.text_provenance
    ]
    return tables.plain("Where the texts come from", ("Source", *card.splits), rows)


def people_tables(statistics: Statistics) -> list[tables.Table]:
    """Gender and age by split, where they are stated."""
    columns = dict.fromkeys(name for one in statistics.values() for name in one.people)
    made = []
    for column in columns:
        values = dict.fromkeys(value for one in statistics.values() for value in one.people.get(column, {}))
        rows = [
            (value, *(f"{one.people.get(column, {}).get(value, 0):,}" for one in statistics.values()))
            for value in values
        ]
        made.append(tables.plain(column, ("", *statistics), rows))
    return made


def reasons_table(quarantined: Sequence[Quarantined]) -> tables.Table:
    """How many inputs each reason kept out, with one example."""
    example = {row.reason: row for row in reversed(quarantined)}
    counts = Counter(row.reason for row in quarantined).most_common()
    rows = [
        (reason, f"{count:,}", f"{example[reason].id}: {example[reason].detail}") for reason, count in counts
    ]
    return tables.plain("By reason", ("Reason", "inputs", "for example"), rows)


def leaks_table(leaks: Sequence[Leak]) -> tables.Table:
    """The first leaks, worst first."""
    worst = sorted(leaks, key=lambda leak: (leak.kind != "identical", leak.bits))
    rows = [
        (leak.kind, f"{leak.split}: {leak.id}", f"{leak.other_split}: {leak.other_id}", str(leak.bits))
        for leak in islice(worst, LISTED)
    ]
    return tables.plain("In two splits", ("Kind", "one", "other", "bits apart"), rows)


@mpl.rc_context(STYLE)
def categories_chart(statistics: Statistics) -> Markup:
    """Share of samples that carry each label, by split."""
    shares = {
        split: 100 * np.array(list(one.categories.values())) / max(1, one.samples)
        for split, one in statistics.items()
    }
    labels = list(next(iter(statistics.values())).categories)
    order = np.argsort(next(iter(shares.values())), kind="stable")
    height = 0.8 / len(shares)
    figure = Figure(figsize=(WIDE, 0.9 + 0.27 * len(labels)))
    axis = figure.subplots()
    for place, (split, share) in enumerate(shares.items()):
        rows = np.arange(len(order)) + 0.4 - height * (place + 0.5)
        axis.barh(rows, share[order], height * 0.9, color=STREAM_COLOURS[place], label=split)
    axis.set_yticks(np.arange(len(order)), [labels[place] for place in order])
    axis.set_ylim(-0.6, len(order) - 0.4)
    axis.set_xlabel("samples (%)")
    axis.grid(axis="x")
    axis.grid(visible=False, axis="y")
    figure.legend(loc="outside upper left", ncols=len(shares))
    return to_svg(figure, "categories", "Share of samples with each label, by split.")


@mpl.rc_context(STYLE)
def ratings_chart(statistics: Statistics) -> Markup:
    """Histogram of every continuous dimension, as shares of each split."""
    names = list(dict.fromkeys(name for one in statistics.values() for name in one.ratings))
    figure = Figure(figsize=(WIDE, 2.4))
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axis, name in zip(axes, names, strict=True):
        axis.set_title(name)
        axis.set_xticks(RATING_EDGES)
        for place, (split, one) in enumerate(statistics.items()):
            counts = np.array(one.ratings[name])
            _steps(axis, counts, RATING_EDGES, place, split)
    axes[0].set_ylabel("samples (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=len(statistics))
    return to_svg(figure, "ratings", "Histograms of valence, arousal and dominance, by split.")


@mpl.rc_context(STYLE)
def lengths_chart(statistics: Statistics) -> Markup:
    """Histogram of the texts' lengths in words, as shares of each split."""
    longest = min(_LONGEST, max(length for one in statistics.values() for length in one.text_lengths))
    edges = np.arange(longest + 2) - 0.5
    figure = Figure(figsize=(WIDE, 2.2))
    axis = figure.subplots()
    for place, (split, one) in enumerate(statistics.items()):
        if one.text_lengths:
            lengths = np.minimum(list(one.text_lengths), longest)
            counts = np.bincount(lengths, weights=list(one.text_lengths.values()), minlength=longest + 1)
            _steps(axis, counts, edges, place, split)
    axis.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axis.set_xlabel(f"words ({longest} or more at the end)" if longest == _LONGEST else "words")
    axis.set_ylabel("texts (%)")
    figure.legend(loc="outside upper left", ncols=len(statistics))
    return to_svg(figure, "lengths", "Histogram of text lengths in words, by split.")


def _steps(
    axis: Axes, counts: np.ndarray, edges: Sequence[float] | np.ndarray, place: int, label: str
) -> None:
    share = 100 * counts / max(1, counts.sum())
    axis.stairs(share, np.asarray(edges), color=STREAM_COLOURS[place], label=label, linewidth=1.6)
