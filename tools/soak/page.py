"""The trends and the samples of a long haul as a page."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure as Drawing

from mmer_core.reporting.page import Page, write_page
from mmer_core.reporting.svg import INK, STREAM_COLOURS, STYLE, to_svg
from mmer_core.reporting.table import Table, plain
from tools.soak.sampling import Samples
from tools.soak.trends import Trend

_SOURCE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>A long haul</title><style>{{ style }}</style></head>
<body><main class="page">
<h1>A long haul</h1>
<p class="meta">{{ sentence }}</p>
{{ table(data, wide=True) }}
{{ figure(chart, "Every sample, by the hours since the start; dashed where the trend begins.") }}
</main></body>
</html>
"""


def trends_table(found: Sequence[Trend]) -> Table:
    """A row for each figure."""
    return plain(
        "What grows",
        ("", "first third", "last third", "growth an hour", "95 % interval", "allowed", "verdict"),
        [
            (
                f"{one.figure.name}, {one.figure.unit}".rstrip(", "),
                f"{one.first:.1f}",
                f"{one.last:.1f}",
                f"{one.slope:+.1f}",
                f"{one.low:+.1f} to {one.high:+.1f}",
                f"{one.allowed:.1f}",
                one.verdict,
            )
            for one in found
        ],
    )


def write(path: Path, sentence: str, found: Sequence[Trend], samples: Samples, settled: float) -> None:
    """The table and a panel for each figure as one file that loads nothing."""
    style = resources.files("mmer_core.reporting").joinpath("templates", "report.css").read_text("utf-8")
    html = Page({}).fragment(
        _SOURCE,
        style=Markup(style),
        sentence=sentence,
        data=trends_table(found),
        chart=panels(found, samples, settled),
    )
    write_page(str(html), path)


@mpl.rc_context(STYLE)
def panels(found: Sequence[Trend], samples: Samples, settled: float) -> Markup:
    """Every figure by hours, from zero."""
    columns = 2
    rows = -(-len(found) // columns)
    drawing = Drawing(figsize=(7.2, 1.5 * rows))
    axes = drawing.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(found) :]:
        axis.set_visible(False)
    for axis, one in zip(axes, found, strict=False):
        axis.set_title(f"{one.figure.name}, {one.figure.unit}".rstrip(", "))
        axis.plot(samples.hours, samples.values[one.figure.name], color=STREAM_COLOURS[0], linewidth=1)
        axis.axvline(settled, color=INK, linestyle="--", linewidth=0.6)
        axis.set_ylim(bottom=0)
    for axis in axes[-columns:]:
        axis.set_xlabel("hours")
    return to_svg(drawing, "soak", "Memory, handles, disk and rows by hours.")
