"""What of a dataset is fragile: which samples are fooled, and where in the picture the changed pixels lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmer_core.attacks.controls import CONTROL_ATTACKS
from mmer_core.attacks.record import GroupSuccess, RegionChanges
from mmer_core.heavy import pd
from mmer_core.statistics.shares import share_interval

Region = tuple[float, float, float, float]
"""``(x1, y1, x2, y2)`` in pixels of the attacked input; a pixel belongs to it when its centre lies inside."""


def success_by_group(
    table: pd.DataFrame, group_of: Mapping[str, str], clusters: Mapping[str, int] | None = None
) -> list[GroupSuccess]:
    """How often the samples of each group are fooled at the largest ``K``, by any attack but the controls.

    Args:
        table: Outcomes of one victim, by ``outcomes_table``.
        group_of: The group of every sample, for example what the victim says of the clean image.
        clusters: The photo, or group, of every sample; each its own when left out.

    Returns:
        By falling success, with intervals as in ``success_curves``. Samples that met the criterion unattacked are
        left out.
    """
    searched = table[~table["attack"].isin(CONTROL_ATTACKS) & (table["status"] != "already")]
    strongest = searched[searched["pixels"] == searched["pixels"].max()]
    fooled = (strongest["status"] == "fooled").groupby(strongest["sample"]).any()
    rows = [
        GroupSuccess(
            group=group,
            n=len(samples),
            success=share_interval(samples, clusters=samples.index.map(clusters) if clusters else None),
        )
        for group, samples in fooled.groupby(fooled.index.map(group_of))
    ]
    return sorted(rows, key=lambda row: (-(row.success.value or 0), -row.n, row.group))


def changes_by_region(
    table: pd.DataFrame, size: tuple[int, int], regions_of: Mapping[str, Sequence[tuple[str, Region]]]
) -> list[RegionChanges]:
    """Where the pixels of successes lie, beside how much of the picture each region is.

    Args:
        table: Outcomes of one victim, by ``outcomes_table``.
        size: ``(H, W)`` of the attacked input.
        regions_of: By sample, the regions with their names. A pixel belongs to the first that it lies in; to
            ``"background"`` when it lies in none.

    Returns:
        Changed pixels of all successes but the controls', beside the region's share of the area, averaged over the
        same pixels' pictures. Nothing without a success.
    """
    fooled = table[~table["attack"].isin(CONTROL_ATTACKS) & (table["status"] == "fooled")]
    masks = {sample: _labels(size, regions_of[sample]) for sample in dict.fromkeys(fooled["sample"])}
    names = list(dict.fromkeys(name for regions in regions_of.values() for name, _ in regions))
    names.append("background")
    inside = dict.fromkeys(names, 0)
    area = dict.fromkeys(names, 0.0)
    for sample, changed in zip(fooled["sample"], fooled["changed"], strict=True):
        own, mask = [name for name, _ in regions_of[sample]] + ["background"], masks[sample]
        share = np.bincount(mask.ravel(), minlength=len(own)) / mask.size
        for y, x, *_ in changed:
            inside[own[mask[y, x]]] += 1
        for name, part in zip(own, share, strict=True):
            area[name] += len(changed) * float(part)
    total = sum(inside.values())
    if not total:
        return []
    return [
        RegionChanges(
            region=name,
            pixels=inside[name],
            changed=100 * inside[name] / total,
            area=100 * area[name] / total,
        )
        for name in names
    ]


def _labels(size: tuple[int, int], regions: Sequence[tuple[str, Region]]) -> np.ndarray:
    """``(H, W)`` int: the first region that each pixel's centre lies in, ``len(regions)`` for none."""
    labels = np.full(size, len(regions))
    y, x = (np.arange(side) + 0.5 for side in size)
    for number, (_, (x1, y1, x2, y2)) in reversed(list(enumerate(regions))):
        rows, columns = (y >= y1) & (y < y2), (x >= x1) & (x < x2)
        labels[np.ix_(rows, columns)] = number
    return labels
