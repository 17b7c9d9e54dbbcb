"""What an embedding space looks like: how many dimensions it uses, how spread, how far apart its modalities."""

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mmer_core.evaluation.arrays import FloatArray, finite
from mmer_core.heavy import manifold

PAIRS_AT_ONCE = 1_000_000
COLUMNS_AT_ONCE = 4_096
"""Rows that others are compared with at once: so many stay in the processor's cache, however many there are."""
MOST_COMPARED = 10_000
"""Rows of a space that are compared with all of its rows; of more, so many are drawn, and cost grows with the rows alone."""


def compared(count: int) -> npt.NDArray[np.int64]:
    """Which of ``count`` rows are compared with all: everyone, or `MOST_COMPARED` of them, the same every time."""
    if count <= MOST_COMPARED:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, MOST_COMPARED, replace=False))


def explained_variance(embeddings: npt.ArrayLike) -> FloatArray:
    """``(min(N, D),)`` share of the variance within the first 1, 2, ... principal components, in 0..1.

    Jolliffe 2002, *Principal Component Analysis*, section 6.1.1, https://doi.org/10.1007/b98835. A space
    collapsed to one point has no variance to explain: NaN everywhere.

    Args:
        embeddings: ``(N, D)``.

    Raises:
        ValueError: NaN, or no row.
    """
    rows = _rows(embeddings)
    rows = rows - rows[0]  # identical rows become exactly 0, which a rounded mean would not make them
    variance = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
    if not variance.any():
        return np.full(len(variance), np.nan)
    return np.cumsum(variance) / variance.sum()


def effective_dimensionality(embeddings: npt.ArrayLike, share: float = 0.95) -> int:
    """Fewest principal components that hold ``share`` of the variance (Jolliffe 2002, section 6.1.1);
    0 for a space collapsed to one point.

    Args:
        embeddings: ``(N, D)``.
        share: In 0..1 (0 excluded).

    Raises:
        ValueError: NaN, no row, or a share outside its range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, but must be above 0 and at most 1")
    explained = explained_variance(embeddings)
    if np.isnan(explained[0]):
        return 0
    return int(np.argmax(explained >= share * (1 - 1e-12))) + 1


def dimension_shares(embeddings: npt.ArrayLike) -> FloatArray:
    """``(D,)`` share of the variance that each coordinate has, in 0..1; NaN for a space collapsed to one point.

    Cosines and distances do not change when a space is rotated, but these shares do: they describe the axes in which a
    model happens to write its embeddings down.

    Args:
        embeddings: ``(N, D)``.

    Raises:
        ValueError: NaN, or no row.
    """
    rows = _rows(embeddings)
    variance = (rows - rows[0]).var(axis=0)
    return variance / variance.sum() if variance.any() else np.full(rows.shape[1], np.nan)


def diversity(shares: npt.ArrayLike) -> float:
    """How evenly ``shares (D,)``, which add up to 1, are spread: 1 for equal ones, ``1 / D`` for a single one.

    The number of equal shares with the same entropy (Hill 1973, *Diversity and Evenness: A Unifying Notation and Its
    Consequences*, https://doi.org/10.2307/1934352, order 1), divided by ``D``.
    """
    share = np.asarray(shares, dtype=np.float64)
    if np.isnan(share).any():
        return float("nan")
    some = share[share > 0]
    return float(np.exp(-(some * np.log(some)).sum()) / len(share))


def rotated(embeddings: npt.ArrayLike, seed: int = 0) -> FloatArray:
    """``(N, D)`` in axes turned at random (Mezzadri 2007, https://arxiv.org/abs/math-ph/0609050): every cosine and every
    distance stays."""
    rows = _rows(embeddings)
    normal = np.random.default_rng(seed).normal(size=(rows.shape[1], rows.shape[1]))
    q, r = np.linalg.qr(normal)
    return rows @ (q * np.sign(np.diag(r)))


def alignment(first: npt.ArrayLike, second: npt.ArrayLike, alpha: float = 2.0) -> float:
    """Mean of ``||x - y||^alpha`` over positive pairs of unit vectors; 0 is perfect, 2 is unrelated (alpha 2).

    Wang and Isola 2020, *Understanding Contrastive Representation Learning through Alignment and Uniformity
    on the Hypersphere*, https://arxiv.org/abs/2005.10242. Rows are normalised first.

    Args:
        first: ``(N, D)``.
        second: ``(N, D)``; row ``i`` belongs to row ``i`` of ``first``.

    Raises:
        ValueError: NaN, no row, a zero row, or differing shapes.
    """
    x, y = _pairs(first, second)
    return float((np.linalg.norm(x - y, axis=1) ** alpha).mean())


def uniformity(embeddings: npt.ArrayLike, t: float = 2.0) -> float:
    """``log mean exp(-t ||x_i - x_j||^2)`` over all pairs of distinct rows, the first of them among the `compared` ones; lower
    is more evenly spread.

    Wang and Isola 2020, https://arxiv.org/abs/2005.10242. 0 is a space collapsed to one point, about -4 is
    uniform on a high-dimensional sphere (t = 2). Rows are normalised first.

    Args:
        embeddings: ``(N, D)``, at least 2 rows.
        t: Sharpness of the Gaussian potential, above 0.

    Raises:
        ValueError: NaN, fewer than 2 rows, or a zero row.
    """
    rows = unit_rows(embeddings)
    count = _at_least(rows, 2)
    total = 0.0
    asked = rows[compared(count)]
    step = max(1, PAIRS_AT_ONCE // min(count, COLUMNS_AT_ONCE))
    for start in range(0, len(asked), step):
        for first in range(0, count, COLUMNS_AT_ONCE):
            others = rows[first : first + COLUMNS_AT_ONCE]
            squared = 2 - 2 * asked[start : start + step] @ others.T
            total += float(np.exp(-t * np.maximum(squared, 0)).sum())
    # Each row's pair with itself added exp(0) = 1.
    pairs = len(asked) * (count - 1)
    return float(np.log(max(total - len(asked), np.finfo(np.float64).tiny) / pairs))


def modality_gap(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Distance between the centres of two modalities' unit vectors, in 0..2.

    Liang et al. 2022, *Mind the Gap: Understanding the Modality Gap in Multi-modal Contrastive
    Representation Learning*, https://arxiv.org/abs/2203.02053. Rows are normalised first.

    Args:
        first: ``(N, D)``, one modality.
        second: ``(T, D)``, the other; the rows need not be paired.

    Raises:
        ValueError: NaN, no row, a zero row, or differing widths.
    """
    x, y = unit_rows(first), unit_rows(second)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"embeddings are {x.shape[1]} and {y.shape[1]} wide: they share no space")
    return float(np.linalg.norm(x.mean(axis=0) - y.mean(axis=0)))


def mean_similarity(embeddings: npt.ArrayLike) -> float:
    """Mean cosine over all pairs of distinct rows (anisotropy); 0 is spread evenly, 1 is collapsed.

    Ethayarajh 2019, *How Contextual are Contextualized Word Representations?*,
    https://arxiv.org/abs/1909.00512.

    Args:
        embeddings: ``(N, D)``, at least 2 rows.

    Raises:
        ValueError: NaN, fewer than 2 rows, or a zero row.
    """
    rows = unit_rows(embeddings)
    count = _at_least(rows, 2)
    # |sum x|^2 holds every ordered pair, and each row with itself once.
    return float(((rows.sum(axis=0) ** 2).sum() - count) / (count * (count - 1)))


def paired_similarity(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Mean cosine of row ``i`` of ``first (N, D)`` with row ``i`` of ``second (N, D)``, in -1..1.

    The similarity that contrastive training raises (Radford et al. 2021, https://arxiv.org/abs/2103.00020);
    `alignment` with alpha 2 is ``2 - 2`` times this.

    Raises:
        ValueError: NaN, no row, a zero row, or differing shapes.
    """
    x, y = _pairs(first, second)
    return float((x * y).sum(axis=1).mean())


def embedding_variance(embeddings: npt.ArrayLike) -> float:
    """Mean squared distance of the unit vectors to their centre: the trace of their covariance, in 0..1.

    Rows are normalised first, so it is 1 less the squared mean resultant length (Mardia and Jupp 2000,
    *Directional Statistics*, https://doi.org/10.1002/9780470316979): 0 is a space collapsed to one direction,
    1 a space whose vectors cancel out.

    Args:
        embeddings: ``(N, D)``.

    Raises:
        ValueError: NaN, no row, or a zero row.
    """
    return float(max(0.0, 1 - (unit_rows(embeddings).mean(axis=0) ** 2).sum()))


def linear_cka(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Linear centred kernel alignment: how alike two spaces arrange the same samples, in 0..1.

    Kornblith et al. 2019, *Similarity of Neural Network Representations Revisited*,
    https://arxiv.org/abs/1905.00414, equation 4: ``||Y' X||^2 / (||X' X|| ||Y' Y||)`` of centred columns. It
    does not change when either space is rotated or scaled, so spaces of different models and widths compare.
    NaN when either space is one point.

    Args:
        first: ``(N, D)``.
        second: ``(N, E)``; row ``i`` is the same sample as row ``i`` of ``first``.

    Raises:
        ValueError: NaN, no row, or differing numbers of rows.
    """
    x, y = _rows(first), _rows(second)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} and {len(y)} embeddings are not those of the same samples")
    x, y = x - x[0], y - y[0]  # identical rows become exactly 0, which a rounded mean would not make them
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / scale) if scale > 0 else float("nan")


def tsne(embeddings: npt.ArrayLike, seed: int) -> FloatArray:
    """``(N, 2)`` map that keeps neighbours together; distances between clusters mean little.

    van der Maaten and Hinton 2008, *Visualizing Data using t-SNE*,
    https://www.jmlr.org/papers/v9/vandermaaten08a.html, started from the first two principal components.
    The perplexity is 30, or a third of the neighbours there are when that is less.

    Args:
        embeddings: ``(N, D)``; fewer than 3 rows, or a space collapsed to one point, all map to the origin.
        seed: Same seed, same map.

    Raises:
        ValueError: NaN, or no row.
    """
    rows = _rows(embeddings)
    if len(rows) < 3 or effective_dimensionality(rows) == 0:
        return np.zeros((len(rows), 2))
    if rows.shape[1] < 2:
        rows = np.pad(rows, ((0, 0), (0, 1)))
    perplexity = min(30.0, (len(rows) - 1) / 3)
    method = manifold.TSNE(n_components=2, init="pca", perplexity=perplexity, random_state=seed)
    # One thread: the map must not depend on how many cores add up the gradient, and on a busy machine the
    # thousands of tiny parallel sections cost far more than they save.
    with threadpool_limits(limits=1):
        return np.asarray(method.fit_transform(rows), dtype=np.float64)


def _rows(embeddings: npt.ArrayLike) -> FloatArray:
    rows = finite("embeddings", embeddings, 2)
    if not rows.size:
        raise ValueError(f"embeddings are empty: their shape is {rows.shape}")
    return rows


def unit_rows(embeddings: npt.ArrayLike) -> FloatArray:
    """``(N, D)`` rows of length 1. Raises `ValueError` for NaN, no row, or a zero row."""
    rows = _rows(embeddings)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if not length.all():
        raise ValueError(f"embedding {int(np.argmin(length))} is all zeros: it has no direction")
    return rows / length


def _pairs(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = unit_rows(first), unit_rows(second)
    if x.shape != y.shape:
        raise ValueError(f"embeddings of shape {x.shape} and {y.shape} are not pairs")
    return x, y


def _at_least(rows: FloatArray, fewest: int) -> int:
    if len(rows) < fewest:
        raise ValueError(f"there are {len(rows)} embeddings, but at least {fewest} are needed")
    return len(rows)
