"""Nearest rows, chunk by chunk."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mmer_core.errors import PoisonError

PAIRS_AT_ONCE = 30_000_000
"""Distances held in memory: 120 MB."""


def nearest(rows: npt.NDArray[np.float32], k: int) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Chunks of the ``k`` nearest rows ``(chunk, k)`` by Euclidean distance, in no order, and where they start.

    A row is never its own neighbour; its exact copies are. Fewer than ``k + 1`` rows have fewer neighbours.

    Raises:
        PoisonError: ``k`` is below 1.
    """
    if k < 1:
        raise PoisonError(f"k is {k} neighbours; give 1 or more")
    k = min(k, len(rows) - 1)
    rows = rows - rows.mean(axis=0)  # shorter vectors lose less when squares are subtracted
    squares = np.einsum("nd,nd->n", rows, rows)
    step = max(1, PAIRS_AT_ONCE // len(rows))
    for start in range(0, len(rows), step):
        # (chunk, N), but for each row's own square
        distance = squares - 2 * (rows[start : start + step] @ rows.T)
        own = np.arange(len(distance))
        distance[own, start + own] = np.inf
        yield start, np.argpartition(distance, k - 1, axis=1)[:, :k]
