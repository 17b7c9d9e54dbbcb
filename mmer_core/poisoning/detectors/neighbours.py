"""Nearest rows, chunk by chunk."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mmer_core.errors import PoisonError

PAIRS_AT_ONCE = 30_000_000
"""Distances held in memory: 120 MB."""
MOST_AROUND = 20_000
"""Rows among which neighbours are looked for; of more, so many are drawn, and cost grows with the rows alone."""


def nearest(rows: npt.NDArray[np.float32], k: int) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Chunks of the ``k`` nearest rows ``(chunk, k)`` by Euclidean distance, in no order, and where they start.

    A row is never its own neighbour; its exact copies are. Fewer than ``k + 1`` rows have fewer neighbours. Among many rows
    the nearest of a sample are found, the same every time: what is rare is as rare in it.

    Raises:
        PoisonError: ``k`` is below 1.
    """
    if k < 1:
        raise PoisonError(f"k is {k} neighbours; give 1 or more")
    places = np.arange(len(rows))
    if len(rows) > MOST_AROUND:
        places = np.sort(np.random.default_rng(0).choice(len(rows), MOST_AROUND, replace=False))
    k = min(k, len(places) - 1)
    rows = rows - rows.mean(axis=0)  # shorter vectors lose less when squares are subtracted
    around = rows[places] if len(places) < len(rows) else rows
    squares = np.einsum("nd,nd->n", around, around)
    step = max(1, PAIRS_AT_ONCE // len(around))
    for start in range(0, len(rows), step):
        # (chunk, N), but for each row's own square
        distance = squares - 2 * (rows[start : start + step] @ around.T)
        first, last = np.searchsorted(places, [start, start + len(distance)])
        distance[places[first:last] - start, np.arange(first, last)] = np.inf
        yield start, places[np.argpartition(distance, k - 1, axis=1)[:, :k]]
