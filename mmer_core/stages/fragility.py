"""Which categories, and which parts of a picture, attacks on a model found fragile."""

from __future__ import annotations

import json

from mmer_core.attacks.fragility import Region, changes_by_region, success_by_group
from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.heavy import pd
from mmer_core.reporting.view import Fragility
from mmer_core.stages.context import Context
from mmer_core.task_kinds import Measured, kind_of

HEAD = 0.25
"""Share of a person's box, from above, in which the head mostly is; EMOTIC annotates no faces."""


def fragility(context: Context, measured: Measured) -> Fragility | None:
    """Of a model with labels that was attacked; None for others."""
    table, spec = measured.outcomes, measured.spec
    if table is None or not spec.labels:
        return None
    # Under the criterion "shift" the scores are ratings, and the highest of them says nothing.
    dominant = measured.attack.criterion != "shift"
    labels = (
        {sample: spec.labels[top] for sample, top in zip(table["sample"], table["clean_top"], strict=True)}
        if dominant
        else {}
    )
    split = measured.prepared.split(measured.attack.split)
    photo = dict(zip(split.ids, split.clusters.tolist(), strict=True))
    size = context.image_encoder(spec.encoders.image, spec.encoders.image_size).size
    whose = "person, " if kind_of(spec.task).text_for(split).samples == "people" else ""
    regions = _boxes(split, table, size, whose) if measured.attack.stream == "context" else {}
    return Fragility(
        emotions=success_by_group(table, labels, photo) if dominant else (),
        regions=changes_by_region(table[table["sample"].isin(regions)], size, regions) if regions else (),
    )


def _boxes(
    split: PreparedSplit, table: pd.DataFrame, size: tuple[int, int], whose: str
) -> dict[str, list[tuple[str, Region]]]:
    """The regions of every attacked sample's box, of those that have one; empty where the dataset has no boxes."""
    if "BBox" not in split.table:
        return {}
    height, width = size
    found = {}
    rows = split.table.set_index("Id").loc[table["sample"].unique().tolist()]
    rows = rows[rows["BBox"] != ""]
    for sample, box, whole in zip(rows.index, rows["BBox"], rows["Image Size"], strict=True):
        (x1, y1, x2, y2), (columns, lines) = json.loads(box), json.loads(whole)
        across, down = width / columns, height / lines
        chin = y1 + HEAD * (y2 - y1)
        found[sample] = [
            (f"{whose}upper quarter of the box", (x1 * across, y1 * down, x2 * across, chin * down)),
            (f"{whose}rest of the box", (x1 * across, chin * down, x2 * across, y2 * down)),
        ]
    return found
