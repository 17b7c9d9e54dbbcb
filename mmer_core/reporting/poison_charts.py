"""Charts of a poisoned model beside the clean one: similarity by word, and distances between image and text."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from mmer_core.reporting.analysis_charts import tinted
from mmer_core.reporting.charts import WIDE
from mmer_core.reporting.svg import FAMILY_COLOUR, GRID, INK, MUTED, STREAM_COLOURS, STYLE, to_svg

Record = Mapping[str, Any]
MOST_BARS = 15
CLEAN, POISONED = STREAM_COLOURS[0], STREAM_COLOURS[2]


def model_of(row: Record) -> str:
    """A model's name in a chart."""
    return f"{row['family']}, {row['attack']}"


def largest_drops(words: Sequence[Record]) -> dict[str, list[Record]]:
    """By model, the `MOST_BARS` words with the largest drops, largest first."""
    found: dict[str, list[Record]] = {}
    for row in words:
        found.setdefault(model_of(row), []).append(row)
    return {
        model: sorted(rows, key=lambda row: (-row["drop"], row["word"]))[:MOST_BARS]
        for model, rows in found.items()
    }


@mpl.rc_context(STYLE)
def drop_bars(words: Sequence[Record], name: str) -> Markup:
    """The words whose similarity drops most, with intervals; a panel a model."""
    found = largest_drops(words)
    across = min(2, len(found))
    down = -(-len(found) // across)
    figure = Figure(figsize=(WIDE, down * (0.9 + 0.19 * max(map(len, found.values())))))
    grid = figure.subplots(down, across, sharex=True, squeeze=False).ravel()
    for axis, (model, rows) in zip(grid, found.items(), strict=False):
        places = np.arange(len(rows))
        axis.barh(
            places, [row["drop"] for row in rows], 0.7, color=FAMILY_COLOUR[rows[0]["family"]], alpha=0.7
        )
        for place, row in enumerate(rows):
            if row["drop_low"] is not None:
                axis.hlines(place, row["drop_low"], row["drop_high"], color=INK, linewidth=1.1)
        axis.axvline(0, color=MUTED, linewidth=0.8)
        axis.set_yticks(places, [f"{row['word']} ({row['texts']:,})" for row in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_title(model)
        axis.grid(axis="x")
        axis.grid(visible=False, axis="y")
    for axis in grid[len(found) :]:
        axis.set_axis_off()
    for axis in grid[max(0, len(found) - across) : len(found)]:
        axis.set_xlabel("drop in similarity, clean less poisoned")
        axis.tick_params(labelbottom=True)
    return to_svg(figure, name, "Words whose similarity drops most; the table holds the figures.")


@mpl.rc_context(STYLE)
def drop_map(words: Sequence[Record], name: str) -> Markup:
    """Drops of words (rows) by model (columns): the words among the largest of any model."""
    shown = list(dict.fromkeys(row["word"] for rows in largest_drops(words).values() for row in rows))
    models = list(dict.fromkeys(map(model_of, words)))
    drops = {(row["word"], model_of(row)): row["drop"] for row in words}
    shown.sort(key=lambda word: -max(drops.get((word, model), -np.inf) for model in models))
    values = np.array([[drops.get((word, model), np.nan) for model in models] for word in shown])
    most = float(np.nanmax(np.abs(values))) or 1.0
    figure = Figure(figsize=(WIDE, 0.7 + 0.19 * len(shown)))
    axis = figure.subplots()
    axis.imshow(tinted(np.nan_to_num(values / most)), interpolation="nearest", aspect="auto")
    for row, column in np.ndindex(values.shape):
        text = "–" if np.isnan(values[row, column]) else f"{values[row, column]:+.3f}"
        axis.text(column, row, text, ha="center", va="center", fontsize=7)
    axis.set_xticks(range(len(models)), [model.replace(", ", "\n") for model in models])
    axis.set_yticks(range(len(shown)), shown)
    axis.tick_params(top=False, bottom=False)
    axis.grid(visible=False)
    return to_svg(figure, name, "Drop in similarity by word and model; the table holds the figures.")


@mpl.rc_context(STYLE)
def distance_charts(found: Sequence[Record], name: str) -> Markup:
    """Densities of the distance between image and text (left) and boxes (right), a row for every poisoned model, with the
    clean one beside it."""
    clean = {row["family"]: row for row in found if row["attack"] == "clean"}
    poisoned = [row for row in found if row["attack"] != "clean" and row["family"] in clean]
    figure = Figure(figsize=(WIDE, 0.7 + 2.0 * len(poisoned)))
    grid = figure.subplots(len(poisoned), 2, sharex=True, squeeze=False)
    for (left, right), row in zip(grid, poisoned, strict=True):
        for place, (one, colour) in enumerate(((clean[row["family"]], CLEAN), (row, POISONED))):
            left.plot(one["x"], one["density"], color=colour, label=one["attack"])
            left.fill_between(one["x"], one["density"], color=colour, alpha=0.15, linewidth=0)
            box = {
                "med": one["median"], "q1": one["first"], "q3": one["third"], "whislo": one["low"], "whishi": one["high"],
                "mean": one["mean"], "fliers": [],
            }  # fmt: skip
            right.bxp(
                [box], positions=[place], widths=0.55, orientation="horizontal", showmeans=True, showfliers=False,
                patch_artist=True, boxprops={"facecolor": colour, "alpha": 0.45, "edgecolor": colour},
                medianprops={"color": INK}, whiskerprops={"color": colour}, capprops={"color": colour},
                meanprops={"marker": "D", "markerfacecolor": INK, "markeredgecolor": INK, "markersize": 3.5},
            )  # fmt: skip
        left.set_ylim(0)
        left.set_title(model_of(row))
        left.legend(loc="upper left")
        right.set_yticks([0, 1], ["clean", row["attack"]])
        right.set_ylim(1.6, -0.6)
        right.grid(axis="x")
        right.grid(visible=False, axis="y")
        for axis in (left, right):
            axis.spines["bottom"].set_color(GRID)
            axis.tick_params(labelbottom=True)
            axis.set_xlabel("distance of image and text, 1 − cosine")
    return to_svg(figure, name, "Distances between image and text; the table holds medians and quartiles.")
