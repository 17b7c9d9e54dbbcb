"""Whether probabilities are what they say."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from mmer_core.reporting.sections.base import Section
from mmer_core.reporting.table import Row, Table, cell
from mmer_core.reporting.view import DatasetView, FamilyView


class Calibration(Section):
    """Calibration error, Brier score and the reliability diagram, before and after calibration."""

    name = "calibration"
    summary = "Are the probabilities honest?"
    order = 35
    template = """\
{{ table(figures) }}
{{ figure(chart, "Reliability: of all predictions with a probability, the share that comes true. An honest model lies on the diagonal; dashed is before calibration.") }}
"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any] | None:
        families = [family for family in dataset.families if family.evaluation.calibration]
        if not families:
            return None
        return {"figures": calibration_table(families), "chart": _diagram(families, f"{id_}-reliability")}


def calibration_table(families: Sequence[FamilyView]) -> Table:
    """Expected calibration error and Brier score of every family, before and after."""
    found = [one for family in families if (one := family.evaluation.calibration)]
    rows = [
        Row(label, tuple(cell(getattr(part, key), 4) for one in found for part in (one.before, one.after)))
        for label, key in (("expected calibration error", "error"), ("Brier score", "brier"))
    ]
    return Table(
        "Calibration, 0 is best",
        ("Figure", *("before", "after") * len(found)),
        tuple(rows),
        groups=(("", 1), *((f"{family.family} model", 2) for family in families)),
    )


def _diagram(families: Sequence[FamilyView], name: str) -> Markup:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from mmer_core.reporting.charts import WIDE
    from mmer_core.reporting.svg import FAMILY_COLOUR, MUTED, STYLE, to_svg

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDE, 3.0))
        axes = figure.subplots(1, max(len(families), 3), sharey=True, squeeze=False)[0]
        for axis, family in zip(axes, families, strict=False):
            assert family.evaluation.calibration is not None
            axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8)
            before, after = family.evaluation.calibration.before, family.evaluation.calibration.after
            for part, style, label in ((before, "--", "before"), (after, "o-", "after")):
                points = np.array([(point.probability, point.share) for point in part.bins]).reshape(-1, 2)
                axis.plot(*points.T, style, color=FAMILY_COLOUR[family.family], markersize=3, label=label)
            axis.set_title(f"{family.family} model")
            axis.set_xlabel("probability")
            axis.legend(loc="upper left")
        axes[0].set_ylabel("share that is true")
        for axis in axes[len(families) :]:
            axis.axis("off")
        return to_svg(figure, name, "Reliability diagrams; the diagonal is perfect calibration.")
