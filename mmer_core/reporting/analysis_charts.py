"""Charts of the analyses; each returns inline SVG."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmer_core.reporting.svg import FAMILY_COLOUR, INK, MUTED, PAPER, STREAM_COLOURS, STYLE, to_svg
from mmer_core.reporting.view import FamilyView, Record

WIDE = 10.0
WORDS_AT_EACH_END = 12


@mpl.rc_context(STYLE)
def contribution_bars(families: Sequence[FamilyView], name: str) -> Markup:
    """Shapley values laid end to end from guessing to the whole model's mAP, a bar a family."""
    figure = Figure(figsize=(WIDE, 0.75 + 0.42 * len(families)))
    axis = figure.subplots()
    streams = dict.fromkeys(
        stream["name"] for family in families for stream in family.analyses["contribution"]["streams"]
    )
    colours = dict(zip(streams, STREAM_COLOURS * len(streams), strict=False))
    for row, family in enumerate(families):
        contribution = family.analyses["contribution"]
        start = contribution["none"]["value"]
        for stream in contribution["streams"]:
            value = stream["shapley"]["value"]
            axis.barh(row, value, 0.62, left=start, color=colours[stream["name"]], label=stream["name"])
            start += value
        whole = contribution["all"]
        axis.plot([whole["low"], whole["high"]], [row, row], color=INK, linewidth=1.2)
        axis.plot(contribution["none"]["value"], row, "|", color=INK, markersize=20, markeredgewidth=1)
    axis.set_yticks(range(len(families)), [f"{family.family} model" for family in families])
    axis.set_ylim(len(families) - 0.45, -0.55)
    axis.set_xlim(0)
    axis.grid(axis="x")
    axis.grid(visible=False, axis="y")
    axis.set_xlabel("mean average precision (%)")
    handles = dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    figure.legend([handles[one] for one in streams], list(streams), loc="outside upper left", ncols=6)
    return to_svg(
        figure,
        name,
        "Shapley value of each modality, from guessing up to the model; the table holds the figures.",
    )


@mpl.rc_context(STYLE)
def word_differences(families: Sequence[FamilyView], name: str) -> Markup:
    """The words at both ends by difference in similarity, with intervals; families side by side."""
    chosen = [_ends(family.analyses["words"]) for family in families]
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


def _ends(records: Sequence[Record]) -> Sequence[Record]:
    if len(records) <= 2 * WORDS_AT_EACH_END:
        return records
    return [*records[:WORDS_AT_EACH_END], *records[-WORDS_AT_EACH_END:]]


def _dots(axis: Axes, records: Sequence[Record], colour: str) -> None:
    rows = np.arange(len(records))
    low, value, high = ([record["difference"][end] for record in records] for end in ("low", "value", "high"))
    axis.axvline(0, color=MUTED, linewidth=0.8)
    axis.hlines(rows, low, high, color=colour, linewidth=1.2, alpha=0.7)
    clear = np.array([a > 0 or b < 0 for a, b in zip(low, high, strict=True)])
    for shown, fill in ((clear, colour), (~clear, PAPER)):
        axis.plot(np.asarray(value)[shown], rows[shown], "o", mfc=fill, mec=colour, color=colour)
    axis.set_yticks(rows, [f"{record['word']} ({record['texts']:,})" for record in records])
    axis.set_ylim(len(records) - 0.4, -0.6)
    axis.grid(axis="x")
    axis.grid(visible=False, axis="y")
