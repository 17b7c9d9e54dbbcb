"""Success against changed pixels and against queries, from a table of outcomes.

Samples whose clean image meets the criterion already are counted apart and never among the attacked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mmer_core.attacks.record import CurvePoint
from mmer_core.errors import AttackError
from mmer_core.heavy import pd
from mmer_core.record import Interval


def success_curves(
    table: pd.DataFrame, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> list[CurvePoint]:
    """One point for each attack and ``K``, sorted by both.

    Args:
        table: Outcomes of one victim, by ``outcomes_table``; one row for each (attack, K, sample).
        resamples: Bootstrap resamples behind an interval.
        confidence: Confidence of the percentile interval over samples. With no success, or with nothing
            but successes, every resample is the same and the interval has no width.
        seed: Seed of the bootstrap.

    Raises:
        AttackError: a parameter is outside its range, or a sample stands in the table twice for the same
            attack and ``K``.
    """
    if resamples < 1 or not 0 < confidence < 1:
        raise AttackError(f"resamples is {resamples} and confidence {confidence}; give 1 or more, and 0 to 1")
    rows = []
    for attack, pixels, group in _groups(table):
        attacked = group[group["status"] != "already"]
        fooled = attacked[attacked["status"] == "fooled"]
        rows.append(
            CurvePoint(
                attack=attack,
                pixels=pixels,
                n=len(attacked),
                already=len(group) - len(attacked),
                success=success_interval(len(fooled), len(attacked), resamples, confidence, seed),
                median_queries=float(fooled["queries"].median()) if len(fooled) else None,
            )
        )
    return rows


def success_by_queries(table: pd.DataFrame, grid: Sequence[int]) -> list[dict[str, Any]]:
    """How the success rate grows with the queries, for each attack and ``K``.

    Args:
        table: As for ``success_curves``.
        grid: Numbers of queries, from 0.

    Returns:
        Rows ``{attack, pixels, queries, success}``: percent of the attacked samples fooled within so many
        queries; None if none was attacked, or where the budget of one ended before (nobody knows).

    Raises:
        AttackError: a number of the grid is negative, or a sample stands in the table twice.
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
    twice = table.duplicated(["attack", "pixels", "sample"])
    if twice.any():
        first = table[twice].iloc[0]
        raise AttackError(
            f"sample {first['sample']!r} stands in the outcomes twice for {first['attack']} and "
            f"K = {first['pixels']}; give the outcomes of one victim, budget and seed at a time"
        )
    for (attack, pixels), group in table.groupby(["attack", "pixels"], sort=True):
        yield str(attack), int(pixels), group


def success_interval(
    successes: int, n: int, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Share of successes in percent with its bootstrap percentile interval; None for all where ``n`` is 0."""
    if not n:
        return Interval(None, None, None)
    # Drawing n of n zeros and ones with replacement and adding them up is a binomial draw.
    rates = 100 * np.random.default_rng(seed).binomial(n, successes / n, size=resamples) / n
    tail = (1 - confidence) / 2
    low, high = np.quantile(rates, [tail, 1 - tail])
    return Interval(100 * successes / n, low, high)
