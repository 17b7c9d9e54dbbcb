"""How much of some work is a shard where nobody says: what takes half a minute, by what a first shard took.

The first shards are of a fixed size, and their manifests keep what they cost. A run that was killed, or one on another
machine, reads the same cost there, cuts the rest alike, and finds the shards that are done.
"""

from __future__ import annotations

from math import floor, log2

from mmer_core.usage import Usage

_SECONDS = 40.0  # the most that a shard should take; sizes are doubled, so shards take at least half of it
_LEAST = 1e-3


def size_by_cost(units: int, usage: Usage | None) -> int:
    """How many units a shard should have, when ``units`` took as long as ``usage`` says for the model alone.

    A power of two times ``units``, at least 1: costs that differ a little give the same cut, and batches of a size that
    divides both hold the same units however the work is cut.
    """
    seconds = usage.seconds.get("model", 0.0) if usage else _SECONDS
    return max(1, int(units * 2.0 ** floor(log2(_SECONDS / max(seconds, _LEAST)))))
