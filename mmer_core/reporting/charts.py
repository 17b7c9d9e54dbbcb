"""One function a chart; each returns inline SVG.

Colour shows the family, line style the attack from its control (or training from validation).
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator

from mmer_core.attacks import ATTACKS
from mmer_core.attacks.controls import CONTROL_ATTACKS
from mmer_core.reporting.estimates import Estimate
from mmer_core.reporting.labels import METRICS, attack_name, pixels
from mmer_core.reporting.prose import curve_of
from mmer_core.reporting.svg import FAMILY_COLOUR, GRID, INK, MUTED, PAPER, STREAM_COLOURS, STYLE, to_svg
from mmer_core.reporting.view import EmbeddingSpace, FamilyView, StreamComparison

WIDE = 10.0
"""Inches of a chart over the page's whole width; the page scales all charts alike."""

_NUMBERED = 15
"""A confusion matrix of more classes has no numbers in its cells."""

RASTER_ABOVE = 2000
"""A scatter plot of more points than this becomes a bitmap, to keep the file small."""

GROUP_STYLES = (
    ("#4477aa", "o", "●"), ("#ee6677", "s", "■"), ("#228833", "^", "▲"),
    ("#b8a534", "D", "◆"), ("#39a9d6", "v", "▼"), ("#aa3377", "p", "⬟"),
)  # fmt: skip
"""Colour (Tol's 'bright'), matplotlib marker and its printed sign: distinguishable without colour too."""
OTHER_STYLE = ("#8d8d8d", "x", "×")

_SOLID: Any = "-"
_DASHED: Any = (0, (4, 2.5))
_ATTACK_STYLES: dict[str, tuple[str, Any]] = {
    "random": ("o", _DASHED),
    "random-corners": ("s", (0, (2, 2.5))),
    "de": ("o", _SOLID),
    "sparse-rs": ("s", (0, (7, 1.5))),
    "pixle": ("^", (0, (5, 1.5, 1, 1.5))),
    "corner": ("D", (0, (1, 1.2))),
    "exhaustive": ("v", (0, (4, 1.2, 1, 1.2, 1, 1.2))),
    "screened": ("*", (0, (9, 1.2, 3, 1.2))),
}
_SPARE_STYLES = (("P", (0, (2, 1))), ("X", (0, (6, 1, 2, 1))), ("p", (0, (3, 3))), ("h", (0, (8, 3))))
_ATTACK_STYLES |= zip([name for name in ATTACKS if name not in _ATTACK_STYLES], _SPARE_STYLES, strict=False)
"""Marker and line of an attack, so that several attacks on one model are distinguishable; new ones take spare styles."""


@mpl.rc_context(STYLE)
def training_curves(families: Sequence[FamilyView], name: str) -> Markup:
    """Every logged figure by epoch, a panel each: training dashed, validation solid, the kept epoch ringed."""
    keys = [key for family in families for record in family.history for key in record if key != "epoch"]
    panels = list(dict.fromkeys(key.removeprefix("train_").removeprefix("val_") for key in keys))
    panels.sort(key=lambda panel: (panel != "loss", panel not in METRICS and f"val_{panel}" not in keys))
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDE, 0.35 + 2.05 * rows))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis, panel in zip(axes, panels, strict=False):
        axis.set_title(METRICS[panel].label if panel in METRICS else panel.replace("_", " "))
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        for family in families:
            _history_lines(axis, family, panel)
    for axis in axes[::columns]:
        axis.set_xlabel("epoch")
    handles: dict[str, Artist] = {}
    for axis in axes[: len(panels)]:
        handles |= {
            str(line.get_label()): line for line in axis.lines if not str(line.get_label()).startswith("_")
        }
    figure.legend(list(handles.values()), list(handles), loc="outside upper left", ncols=4)
    return to_svg(figure, name, "Training and validation losses and metrics by epoch.")


def _history_lines(axis: Axes, family: FamilyView, panel: str) -> None:
    colour = FAMILY_COLOUR[family.family]
    for part, style in (("train", _DASHED), ("val", _SOLID)):
        key = f"{part}_{panel}"
        steps = [(record["epoch"], record[key]) for record in family.history if record.get(key) is not None]
        if not steps:
            continue
        label = f"{family.family}, {'training' if part == 'train' else 'validation'}"
        axis.plot(*zip(*steps, strict=True), color=colour, linestyle=style, label=label)
        kept = [step for step in steps if step[0] == family.best_epoch]
        if kept and part == "val":
            axis.plot(*zip(*kept, strict=True), "o", mfc=PAPER, mec=colour, mew=1.4, label="_kept")


@mpl.rc_context(STYLE)
def modality_bars(streams: StreamComparison, prevalence: Mapping[str, float], word: str, name: str) -> Markup:
    """Average precision of every category from each modality, families side by side; a tick marks chance."""
    families = list(streams.ap)
    names = list(dict.fromkeys(stream for ap in streams.ap.values() for stream in ap))
    # None for a category without a positive in the split.
    best = [max([ap[place] or 0.0 for by in streams.ap.values() for ap in by.values()], default=0.0)
            for place in range(len(streams.categories))]  # fmt: skip
    order = np.argsort(best, kind="stable")
    rows = np.arange(len(order))
    figure = Figure(figsize=(WIDE, 1.0 + 0.29 * len(order)))
    axes = figure.subplots(1, len(families), sharey=True, sharex=True, squeeze=False)[0]
    height = 0.8 / max(1, len(names))
    for axis, family in zip(axes, families, strict=True):
        for place, stream in enumerate(names):
            if stream in streams.ap[family]:
                offset = 0.4 - height * (place + 0.5)
                values = np.asarray(streams.ap[family][stream], dtype=float)[order]
                colour = STREAM_COLOURS[place % len(STREAM_COLOURS)]
                axis.barh(rows + offset, values, height * 0.86, color=colour, label=stream)
        marks = [prevalence.get(streams.categories[place], np.nan) for place in order]
        axis.plot(marks, rows, "|", color=INK, markersize=11, markeredgewidth=1, label="chance")
        axis.set_title(f"{family} model")
        axis.grid(axis="x")
        axis.grid(visible=False, axis="y")
        axis.set_xlabel("average precision (%)")
        axis.set_yticks(rows, [streams.categories[place] for place in order])
        axis.set_ylim(-0.6, len(order) - 0.4)
    handles = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(handles.values()), list(handles), loc="outside upper left", ncols=6)
    return to_svg(
        figure, name, f"Average precision of each {word} by modality; the table beside holds the figures."
    )


@mpl.rc_context(STYLE)
def confusion_matrices(families: Sequence[FamilyView], name: str) -> Markup:
    """The share of each class (row) that is predicted as each (column), a panel a model; darker is more."""
    names = [one.name for one in families[0].evaluation.per_category]
    side = max(1.6, min(WIDE / len(families) - 1.2, 0.42 * len(names)))
    figure = Figure(figsize=(WIDE, side + 1.1))
    axes = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    for axis, family in zip(axes, families, strict=True):
        for row, counts in enumerate(family.evaluation.confusion):
            for column, count in enumerate(counts):
                share = count / max(1, sum(counts))
                cell = Rectangle((column - 0.5, row - 0.5), 1, 1, color=FAMILY_COLOUR[family.family], lw=0)
                cell.set_alpha(0.8 * share)
                axis.add_patch(cell)
                if count and len(names) <= _NUMBERED:
                    axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center")
        axis.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), aspect="equal")
        axis.set_xticks(range(len(names)), names, rotation=90 if len(names) > 4 else 0)
        axis.set_yticks(range(len(names)), names)
        axis.grid(visible=False)
        axis.set_title(f"{family.family} model, % of each class")
        axis.set_xlabel("predicted")
    axes[0].set_ylabel("class")
    return to_svg(figure, name, "Confusion matrices; the tables beside hold the figures.")


def group_styles(spaces: Sequence[EmbeddingSpace]) -> dict[str, tuple[str, str, str]]:
    """Colour, marker and sign of each group, the same in all the given spaces; rare groups share one."""
    names, counts = np.unique([group for space in spaces for group in space.groups], return_counts=True)
    ranked = [str(name) for name in names[np.argsort(-counts, kind="stable")]]
    return {group: GROUP_STYLES[place] if place < len(GROUP_STYLES) else OTHER_STYLE
            for place, group in enumerate(ranked)}  # fmt: skip


@mpl.rc_context(STYLE)
def embedding_map(space: EmbeddingSpace, styles: Mapping[str, tuple[str, str, str]], name: str) -> Markup:
    """The t-SNE map of one space, coloured by group, with lines between the modalities of a sample; it has no axes because its units mean nothing."""
    figure = Figure(figsize=(3.3, 3.0))
    axis = figure.subplots()
    groups = np.asarray(space.groups)
    lines = LineCollection([space.points[list(pair)] for pair in space.pairs], colors=MUTED, linewidths=0.5)
    axis.add_collection(lines)
    for style in (OTHER_STYLE, *GROUP_STYLES):
        colour, marker, _ = style
        members = [group for group, known in styles.items() if known == style]
        chosen = space.points[np.isin(groups, members)]
        if len(chosen):
            axis.scatter(
                chosen[:, 0], chosen[:, 1], s=13, c=colour, marker=marker, alpha=0.75, linewidths=0.8 if marker == "x" else 0,
                rasterized=len(space.points) > RASTER_ABOVE,
            )  # fmt: skip
    axis.set_axis_off()
    return to_svg(figure, name, f"t-SNE map of {len(space.points)} embeddings in the space {space.name}.")


@mpl.rc_context(STYLE)
def explained_variance(families: Sequence[FamilyView], name: str) -> Markup:
    """Cumulative explained variance by principal components: how many dimensions a space really uses."""
    figure = Figure(figsize=(WIDE, 2.8))
    axis = figure.subplots()
    axis.axhline(95, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
    for family in families:
        styles = cycle((_SOLID, _DASHED, (0, (1, 1.4)), (0, (6, 2, 1, 2))))
        for space, style in zip(family.spaces, styles, strict=False):
            share = 100 * np.asarray(space.explained_variance, dtype=float)
            label = f"{family.family}: {space.name}"
            axis.plot(
                np.arange(1, len(share) + 1),
                share,
                color=FAMILY_COLOUR[family.family],
                linestyle=style,
                label=label,
            )
    axis.set_ylim(0, 102)
    axis.set_xlabel("principal components")
    axis.set_ylabel("variance explained (%)")
    axis.legend(loc="lower right")
    return to_svg(
        figure, name, "Cumulative explained variance by number of principal components, for each space."
    )


@mpl.rc_context(STYLE)
def success_by_pixels(families: Sequence[FamilyView], name: str) -> Markup:
    """Share of images fooled against K, with interval bands; families side by side on one scale."""
    figure, axes = _side_by_side(families)
    for axis, family in zip(axes, families, strict=True):
        colour = FAMILY_COLOUR[family.family]
        for attack in sorted({point.attack for point in family.curves}):
            curve = curve_of(family, attack)
            ks = [point.pixels for point in curve]
            found = [estimate for point in curve if (estimate := Estimate.of(point.success))]
            low, value, high = ([getattr(one, end) for one in found] for end in ("low", "value", "high"))
            control = attack in CONTROL_ATTACKS
            marker, line = _attack_style(attack)
            axis.fill_between(ks, low, high, color=colour, alpha=0.08 if control else 0.18, linewidth=0)
            axis.vlines(ks, low, high, color=colour, linewidth=0.9, alpha=0.7)
            axis.plot(ks, value, marker=marker, linestyle=line, color=colour,
                      mfc=PAPER if control else colour, label=attack_name(attack))  # fmt: skip
        ks = sorted({point.pixels for point in family.curves})
        if len(ks) > 1 and ks[-1] / ks[0] >= 8:
            axis.set_xscale("log")
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticks(ks, [str(k) for k in ks])
        axis.set_xlabel("changed pixels (K)")
        axis.legend(loc="upper left")
    return _finish(
        figure, axes, name, "Share of images fooled by number of changed pixels, attack beside control."
    )


@mpl.rc_context(STYLE)
def success_by_queries(families: Sequence[FamilyView], name: str) -> Markup:
    """Share of images fooled by number of queries to the model, a line for each attack and K."""
    figure, axes = _side_by_side(families)
    for axis, family in zip(axes, families, strict=True):
        ks = sorted({curve.pixels for curve in family.by_queries})
        named = _strongest_of_each_k(family)
        for curve in family.by_queries:
            width = 1.0 + 1.2 * (ks.index(curve.pixels) / max(1, len(ks) - 1))
            axis.plot(curve.queries, np.array(curve.success, dtype=float), color=FAMILY_COLOUR[family.family], linewidth=width,
                      linestyle=_attack_style(curve.attack)[1])  # fmt: skip
            ends = curve.success[-1] if curve.queries else None  # None where no image was attacked
            if ends is not None and named.get(curve.pixels) == curve.attack:
                axis.annotate(pixels(curve.pixels), (curve.queries[-1], ends), xytext=(-2, 5),
                              textcoords="offset points", ha="right", color=MUTED)  # fmt: skip
        axis.set_xlabel("queries to the model")
    attacks = sorted({curve.attack for family in families for curve in family.by_queries})
    keys = [Line2D([], [], color=INK, linestyle=_attack_style(attack)[1]) for attack in attacks]
    figure.legend(keys, [attack_name(attack) for attack in attacks], loc="outside upper left", ncols=4)
    return _finish(figure, axes, name, "Share of images fooled by number of queries, attack beside control.")


def _strongest_of_each_k(family: FamilyView) -> dict[int, str]:
    """By K, the attack that ends highest: one line of each K is named, or the names hide each other."""
    attacks = [curve for curve in family.by_queries if curve.attack not in CONTROL_ATTACKS and curve.queries]
    attacks.sort(key=lambda curve: curve.success[-1] or 0.0)
    return {curve.pixels: curve.attack for curve in attacks}


def _attack_style(attack: str) -> tuple[str, Any]:
    return _ATTACK_STYLES.get(attack, ("o", _SOLID))


def _side_by_side(families: Sequence[FamilyView]) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(WIDE, 3.0))
    axes = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    for axis, family in zip(axes, families, strict=True):
        axis.set_title(f"{family.family} model")
    axes[0].set_ylabel("images fooled (%)")
    return figure, axes


def _finish(figure: Figure, axes: Sequence[Axes], name: str, label: str) -> Markup:
    """From zero, on a scale that is never so fine that one image looks like a mountain."""
    top = max([10.0, *(axis.dataLim.ymax for axis in axes if np.isfinite(axis.dataLim.ymax))])
    axes[0].set_ylim(0, min(104.0, top * 1.15))
    for axis in axes:
        axis.spines["bottom"].set_color(GRID)
    return to_svg(figure, name, label)
