"""Charts as SVG: drawn as Matplotlib saves them."""

import io
import re

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mmer_core.reporting.svg import STYLE, to_svg


def _figure() -> Figure:
    figure = Figure(figsize=(7, 3))
    left, right = figure.subplots(1, 2, sharey=True)
    left.imshow(np.random.default_rng(0).random((9, 7)), rasterized=True)
    left.set_title("a title")
    right.plot([0, 4], [2, 8], label="a line")
    right.set_yticks([2, 8], ["two", "a long label"])
    figure.legend(loc="outside lower center")
    return figure


def _drawn(svg: str) -> list[tuple[str, str]]:
    """Every shape, place and embedded picture, in order, without the ids that mmer prefixes."""
    return re.findall(r'\b(d|x|y|width|height|transform|xlink:href)="([^"#]+)"', svg[svg.index("<defs") :])


def test_a_chart_is_laid_out_and_drawn_as_matplotlib_saves_it() -> None:
    with matplotlib.rc_context(STYLE):
        saved = io.StringIO()
        _figure().savefig(saved, format="svg", transparent=True)
        drawn = _drawn(to_svg(_figure(), "one", "a chart"))
    assert drawn == _drawn(saved.getvalue())
    assert {name for name, _ in drawn} >= {"d", "transform", "xlink:href"}
