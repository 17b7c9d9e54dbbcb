"""Charts of the analyses; each returns inline SVG."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmer_core.evaluation.arrays import FloatArray
from mmer_core.evaluation.record import WordSimilarity
from mmer_core.reporting.svg import FAMILY_COLOUR, GRID, INK, MUTED, PAPER, STREAM_COLOURS, STYLE, to_svg
from mmer_core.reporting.view import FamilyView

WIDE = 10.0
WORDS_AT_EACH_END = 12
_MAPS = 3
"""Heat maps beside each other."""
_ABOVE, _BELOW = np.array([0.27, 0.53, 0.83]), np.array([0.85, 0.42, 0.15])
"""Blue and orange that are legible on light and on dark paper."""


@mpl.rc_context(STYLE)
def contribution_bars(families: Sequence[FamilyView], name: str) -> Markup:
    """Shapley values laid end to end from the chance level to the whole model's mAP, a bar a family."""
    contributions = [(family, found) for family in families if (found := family.analyses.contribution)]
    figure = Figure(figsize=(WIDE, 0.75 + 0.42 * len(contributions)))
    axis = figure.subplots()
    streams = dict.fromkeys(stream.name for _, found in contributions for stream in found.streams)
    colours = dict(zip(streams, STREAM_COLOURS * len(streams), strict=False))
    for row, (_, found) in enumerate(contributions):
        start = found.none.value or 0.0
        for stream in found.streams:
            value = stream.shapley.value or 0.0
            axis.barh(row, value, 0.62, left=start, color=colours[stream.name], label=stream.name)
            start += value
        axis.plot(
            np.array([found.all.low, found.all.high], dtype=float), [row, row], color=INK, linewidth=1.2
        )
        axis.plot(found.none.value or 0.0, row, "|", color=INK, markersize=20, markeredgewidth=1)
    axis.set_yticks(range(len(contributions)), [f"{family.family} model" for family, _ in contributions])
    axis.set_ylim(len(contributions) - 0.45, -0.55)
    axis.set_xlim(0)
    axis.grid(axis="x")
    axis.grid(visible=False, axis="y")
    axis.set_xlabel("mean average precision (%)")
    handles = dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    figure.legend([handles[one] for one in streams], list(streams), loc="outside upper left", ncols=6)
    return to_svg(
        figure,
        name,
        "Shapley value of each modality, from the chance level up to the model; the table holds the figures.",
    )


@mpl.rc_context(STYLE)
def word_differences(families: Sequence[FamilyView], name: str) -> Markup:
    """The words at both ends by difference in similarity, with intervals; families side by side."""
    chosen = [_ends(family.analyses.words) for family in families]
    figure = Figure(figsize=(WIDE, 0.8 + 0.2 * max(len(records) for records in chosen)))
    axes = figure.subplots(1, len(families), sharex=True, squeeze=False)[0]
    for axis, family, records in zip(axes, families, chosen, strict=True):
        _dots(axis, records, FAMILY_COLOUR[family.family])
        axis.set_title(f"{family.family} model")
        axis.set_xlabel("difference in mean similarity, with the word less without")
    return to_svg(
        figure,
        name,
        "Words whose captions lie nearest to and farthest from their photos; the table holds all.",
    )


def _ends(records: Sequence[WordSimilarity]) -> Sequence[WordSimilarity]:
    if len(records) <= 2 * WORDS_AT_EACH_END:
        return records
    return [*records[:WORDS_AT_EACH_END], *records[-WORDS_AT_EACH_END:]]


def _dots(axis: Axes, records: Sequence[WordSimilarity], colour: str) -> None:
    rows = np.arange(len(records))
    low, value, high = (
        np.array([getattr(record.difference, end) for record in records], dtype=float)
        for end in ("low", "value", "high")
    )
    axis.axvline(0, color=MUTED, linewidth=0.8)
    axis.hlines(rows, low, high, color=colour, linewidth=1.2, alpha=0.7)
    clear = np.array([record.p is not None and record.p <= 0.05 for record in records])
    for shown, fill in ((clear, colour), (~clear, PAPER)):
        axis.plot(value[shown], rows[shown], "o", mfc=fill, mec=colour, color=colour)
    axis.set_yticks(rows, [f"{record.word} ({record.texts:,})" for record in records])
    axis.set_ylim(len(records) - 0.4, -0.6)
    axis.grid(axis="x")
    axis.grid(visible=False, axis="y")


@mpl.rc_context(STYLE)
def similarity_maps(families: Sequence[FamilyView], name: str) -> Markup:
    """Cosines of two modalities of some samples, a panel a model and pair: the darker, the farther from 0."""
    panels = [(family.family, one) for family in families for one in family.similarities]
    rows = -(-len(panels) // _MAPS)
    figure = Figure(figsize=(WIDE, 0.6 + 3.35 * rows))
    grid = figure.subplots(rows, _MAPS, squeeze=False).ravel()
    most = max(float(np.abs(one.values).max()) for _, one in panels)
    for axis, (family, one) in zip(grid, panels, strict=False):
        axis.imshow(tinted(one.values / most), interpolation="nearest", aspect="equal")
        axis.set_title(f"{family}: {one.first} and {one.second}")
        axis.set_xlabel(one.second)
        axis.set_ylabel(one.first)
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
    for axis in grid[len(panels) :]:
        axis.set_axis_off()
    scale = np.array([-1, -0.5, 0, 0.5, 1])
    keys = [Rectangle((0, 0), 1, 1, facecolor=tinted(scale[None])[0, place], edgecolor=GRID, linewidth=0.6)
            for place in range(len(scale))]  # fmt: skip
    figure.legend(keys, [f"{most * one:+.2f}" for one in scale], loc="outside upper left", ncols=len(scale))
    return to_svg(figure, name, "Heat maps of cosines between two modalities; the diagonal holds the pairs.")


def tinted(values: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """Colours ``(n, m, 4)`` of values in -1..1, which fade to the page's own colour at 0, whatever that is."""
    colours = np.where(values[..., None] < 0, _BELOW, _ABOVE)
    return np.concatenate([colours, np.abs(values)[..., None]], axis=-1)
