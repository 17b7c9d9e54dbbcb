"""Success against changed pixels and against queries, from a table of outcomes.

Samples whose clean image meets the criterion already are counted apart and never among the attacked; robust accuracy is
over all of them, and needs to know which the victim had right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mmer_core.attacks.denominators import fooled_of_own, robustly_right
from mmer_core.attacks.record import CurvePoint
from mmer_core.errors import AttackError
from mmer_core.heavy import pd
from mmer_core.statistics.shares import share_interval
from mmer_core.statistics.trainings import over_trainings


def success_curves(
    table: pd.DataFrame,
    confidence: float = 0.95,
    clusters: Mapping[str, int] | None = None,
    right: npt.ArrayLike | None = None,
    truth: str | None = None,
) -> list[CurvePoint]:
    """One point for each attack and ``K``, sorted by both.

    An attack that ran with several seeds fools an image when any of them does, as restarts do.

    Args:
        table: Outcomes of one victim, by ``outcomes_table``; one row for each (attack, K, sample, seed).
        confidence: Confidence of Wilson's intervals.
        clusters: The photo, or group, of every sample; each its own when left out.
        right: ``(rows,)`` bool, whether the victim's clean answer is true; without it there is no robust accuracy.
        truth: The attack that fools every image that one pixel can fool, if it is among them.

    Raises:
        AttackError: the confidence is outside 0..1, or a sample occurs twice in the table for the same attack, ``K`` and
            seed.
    """
    if not 0 < confidence < 1:
        raise AttackError(f"confidence is {confidence}; give a share between 0 and 1")
    known = right is not None
    flags = table.assign(
        right=np.asarray(right, dtype=bool) if known else False,
        fooled=table["status"] == "fooled",
        already=table["status"] == "already",
    )
    foolable = set(flags.loc[(flags["attack"] == truth) & (flags["pixels"] == 1) & flags["fooled"], "sample"])
    rows = []
    for attack, pixels, runs in _groups(flags):
        group = runs.groupby("sample", sort=True)[["right", "fooled", "already"]].any()
        photo = (group.index.map(clusters) if clusters else group.index).to_numpy()
        fooled, already = group["fooled"].to_numpy(), group["already"].to_numpy()
        safe = robustly_right(group["right"], fooled)
        measured = (
            group.index.isin(foolable) if pixels == 1 and attack != truth else np.zeros(len(group), bool)
        )
        won = runs.loc[runs["fooled"], "queries"]
        tried = runs[~runs["already"]].groupby("seed")["fooled"]
        rows.append(
            CurvePoint(
                attack=attack,
                pixels=pixels,
                n=int((~already).sum()),
                already=int(already.sum()),
                success=share_interval(fooled_of_own(already, fooled), confidence, photo[~already]),
                right=int(group["right"].sum()) if known else None,
                robust_accuracy=share_interval(safe, confidence, photo) if known else None,
                median_queries=float(won.median()) if len(won) else None,
                by_seed=tuple(100 * tried.mean()) if runs["seed"].nunique() > 1 else (),
                foolable=int(measured.sum()),
                found=share_interval(fooled[measured], confidence, photo[measured]),
            )
        )
    return rows


def curves_over_trainings(curves: Sequence[Sequence[CurvePoint]]) -> list[CurvePoint]:
    """The curves of a model over several trainings: means, with intervals of trainings and images; counts are rounded.

    Args:
        curves: Of every training.
    """
    found: dict[tuple[str, int], list[CurvePoint]] = {}
    for point in (point for each in curves for point in each):
        found.setdefault((point.attack, point.pixels), []).append(point)
    return [_mean_point(points) for points in found.values()]


def _mean_point(points: Sequence[CurvePoint]) -> CurvePoint:
    first = points[0]
    if len(points) == 1:
        return first
    robust = [one.robust_accuracy for one in points if one.robust_accuracy is not None]
    right = [one.right for one in points if one.right is not None]
    queries = [one.median_queries for one in points if one.median_queries is not None]
    return CurvePoint(
        attack=first.attack,
        pixels=first.pixels,
        n=round(np.mean([one.n for one in points])),
        already=round(np.mean([one.already for one in points])),
        success=over_trainings([one.success for one in points]).interval,
        right=round(np.mean(right)) if right else None,
        robust_accuracy=over_trainings(robust).interval if robust else None,
        median_queries=float(np.mean(queries)) if queries else None,
        by_seed=tuple(np.mean([one.by_seed for one in points], axis=0)) if first.by_seed else (),
        foolable=round(np.mean([one.foolable for one in points])),
        found=over_trainings([one.found for one in points]).interval,
    )


def success_by_queries(table: pd.DataFrame, grid: Sequence[int]) -> list[dict[str, Any]]:
    """How the success rate grows with the queries, for each attack and ``K``; the mean over seeds.

    Args:
        table: As for ``success_curves``.
        grid: Numbers of queries, from 0.

    Returns:
        Rows ``{attack, pixels, queries, success}``: percent of the attacked samples fooled within so many
        queries; None if none was attacked, or where the budget of one ended before (nobody knows).

    Raises:
        AttackError: a number of the grid is negative, or a sample occurs twice in the table.
    """
    if any(queries < 0 for queries in grid):
        raise AttackError(f"the grid of queries {list(grid)} holds a negative number; start at 0")
    rows = []
    for attack, pixels, group in _groups(table):
        attacked = group[group["status"] != "already"]
        spent = attacked.loc[attacked["status"] == "fooled", "queries"].to_numpy()
        for queries in grid:
            known = len(attacked) and queries <= attacked["budget"].min()
            success = 100 * float((spent <= queries).sum()) / len(attacked) if known else None
            rows.append({"attack": attack, "pixels": pixels, "queries": int(queries), "success": success})
    return rows


def _groups(table: pd.DataFrame) -> Iterator[tuple[str, int, pd.DataFrame]]:
    twice = table.duplicated(["attack", "pixels", "sample", "seed"])
    if twice.any():
        first = table[twice].iloc[0]
        raise AttackError(
            f"sample {first['sample']!r} occurs twice in the outcomes for {first['attack']} and "
            f"K = {first['pixels']}; give the outcomes of one victim and budget at a time"
        )
    for (attack, pixels), group in table.groupby(["attack", "pixels"], sort=True):
        yield str(attack), int(pixels), group
