"""Margins of several models on one scale: in standard deviations of each model's own clean margins.

A margin is a difference of scores, and scores of two models differ in scale: the model with the larger logits would seem the more
robust one. Divided by how much its margins differ from image to image, a margin no longer depends on that scale.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mmer_core.attacks.controls import CONTROL_ATTACKS
from mmer_core.attacks.record import MarginPoint
from mmer_core.heavy import pd
from mmer_core.statistics.clusters import FloatArray
from mmer_core.statistics.resampling import resampled

_CONFIDENCE, _RESAMPLES = 0.95, 1000


def margins_left(table: pd.DataFrame, clusters: Mapping[str, int], seed: int = 0) -> list[MarginPoint]:
    """One point for each ``K``, by rising ``K``: the mean margin of clean images, and what the attacks leave of it.

    Of an image counts the smallest margin that any attack reached, the control left out where there is another. A margin below
    0 counts as 0: an attack ends where it succeeds, and how far it overshot says nothing.

    Args:
        table: Outcomes of one victim, by ``outcomes_table``.
        clusters: The photo, or group, of every sample.
        seed: Of the random halves behind the intervals.
    """
    searches = table[~table["attack"].isin(CONTROL_ATTACKS)]
    points = []
    for pixels, group in (table if searches.empty else searches).groupby("pixels", sort=True):
        worst = group.groupby("sample", sort=True)[["clean_margin", "final_margin"]].min()
        raw = worst["clean_margin"].to_numpy()[:, None]
        positive = worst.clip(lower=0).to_numpy().T[:, :, None]  # (2, N, 1)

        def figures(
            weights: FloatArray, raw: FloatArray = raw, positive: FloatArray = positive
        ) -> FloatArray:
            share = weights / weights.sum(axis=0)  # (N, R)
            spread = np.sqrt((share * (raw - (share * raw).sum(axis=0)) ** 2).sum(axis=0))
            return (share * positive).sum(axis=1) / np.where(spread > 0, spread, np.nan)

        found = resampled(figures, len(worst), _RESAMPLES, seed, worst.index.map(clusters).to_numpy())
        clean, left = found.intervals(_CONFIDENCE, low=0)
        points.append(MarginPoint(pixels=int(pixels), n=len(worst), clean=clean, left=left))
    return points
