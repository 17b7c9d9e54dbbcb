"""Matplotlib figures as inline SVG that follows the page's colours.

Charts are drawn in placeholder colours, which are replaced by the page's CSS variables in the
finished SVG: so one drawing serves the light and the dark page, and text keeps the page's font.
"""

import io
import re
import warnings
from typing import Any

from markupsafe import Markup, escape
from matplotlib import rcParams
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from mmer_core.escaping import visible

INK, MUTED, GRID, PAPER = "#010203", "#010204", "#010205", "#010206"
FAMILY_COLOUR = {
    "separate": "#010207",
    "joint": "#010208",
    "zero-shot": "#01020d",
    "separate-weighted": "#01020e",
    "joint-late": "#01020f",
    "image-only": "#010210",
    "text-only": "#010211",
}
STREAM_COLOURS = ("#010209", "#01020a", "#01020b", "#01020c")

_VARIABLES = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    PAPER: "var(--paper)",
    **{colour: f"var(--{family})" for family, colour in FAMILY_COLOUR.items()},
    **{colour: f"var(--stream-{place})" for place, colour in enumerate(STREAM_COLOURS, 1)},
}

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mmer",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 8,
    "axes.labelsize": 8,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "figure.facecolor": "none",
    "figure.dpi": 72,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
}
"""Settings under which every chart is drawn and saved (``matplotlib.rc_context(STYLE)``)."""


def to_svg(figure: Figure, name: str, label: str) -> Markup:
    """The figure as an ``<svg>`` element; must be called under `STYLE`.

    Args:
        figure: The finished figure.
        name: Unique in the page: every id in the SVG is prefixed with it.
        label: What the chart shows, for readers who cannot see it.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # Letters that Matplotlib's font lacks are drawn by the reader's.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        canvas = FigureCanvasSVG(figure)
        # Saving would lay it out by a drawing of its own.
        if layout := figure.get_layout_engine():
            layout.execute(figure)
            figure.set_layout_engine("none")
        figure.dpi = rcParams["savefig.dpi"]  # of images in it
        canvas.print_svg(buffer, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # The style element would apply to the whole page; its two rules are in the page's style sheet.
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    # In tags only: a label may hold what looks like an id or a colour.
    text = re.sub(r"<[^>]*>", lambda tag: _adapted(tag[0], name), text)
    # Matplotlib's opening tag fixes the size; ours leaves it to the page.
    width, height = figure.get_size_inches() * 72
    head = (
        f'<svg class="chart" role="img" aria-label="{escape(visible(label))}" viewBox="0 0 {width:g} {height:g}" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return Markup(head + visible(text[text.index(">") + 1 :].strip()))


def _adapted(tag: str, name: str) -> str:
    """A tag with ids of its own and the page's colours."""
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = re.sub(r'href="#', f'href="#{name}-', tag)
    tag = tag.replace("url(#", f"url(#{name}-")
    for sentinel, variable in _VARIABLES.items():
        tag = tag.replace(sentinel, variable)
    return tag
