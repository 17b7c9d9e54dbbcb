"""Image-text retrieval: ranks by the usual protocol, recalls, and what chance would score.

An image's rank is that of its best own caption among the captions of *other* images; a caption's rank is
that of its one image among all images. Ranks count from 0. Whatever scores as high as the truth is counted
ahead of it, so a model that gives everything one score comes out last, not first.

The gallery is always whole. Of a large split a sample of the images and their captions ask, so that cost grows with the
gallery alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmer_core.evaluation.arrays import finite
from mmer_core.evaluation.embeddings import COLUMNS_AT_ONCE, PAIRS_AT_ONCE, compared
from mmer_core.heavy import Tensor, torch

RECALLS = (1, 5, 10)
METRICS = (
    *(f"i2t_r{k}" for k in RECALLS),
    "i2t_median_rank",
    *(f"t2i_r{k}" for k in RECALLS),
    "t2i_median_rank",
    "mean_recall",
)
RECALL_METRICS = tuple(f"{direction}_r{k}" for direction in ("i2t", "t2i") for k in RECALLS)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ranks:
    """0-based ranks of the truth.

    Attributes:
        i2t: ``(N,)`` captions of other images that score at least as high as the image's best own caption;
            -1 for an image that is no query: it has no captions, or was not drawn.
        t2i: ``(T,)`` other images that score at least as high as the caption's own image; -1 for one that was not drawn.
    """

    i2t: Ints
    t2i: Ints

    @property
    def images(self) -> Ints:
        """The rows of the images that were queries."""
        return np.flatnonzero(self.i2t >= 0)

    @property
    def texts(self) -> Ints:
        """The rows of the captions that were queries."""
        return np.flatnonzero(self.t2i >= 0)


def similarity_ranks(
    image: npt.ArrayLike | Tensor,
    text: npt.ArrayLike | Tensor,
    text_image: npt.ArrayLike | Tensor,
    block: tuple[int, int] | None = None,
) -> Ranks:
    """Ranks by inner product, in blocks of images and texts that stay in the processor's cache, however many there are.

    Of more images than `MOST_COMPARED`, so many ask, the same every time, and so do their captions.

    Products are taken in float64, and two that differ by less than their rounding error are a tie: the order
    in which a matrix product adds up must not decide between equal scores. Tensors are compared on the device where they
    are, if it has float64.

    Args:
        image: ``(N, D)``.
        text: ``(T, D)``.
        text_image: ``(T,)`` row of the image that each text describes; images may have any number of texts.
        block: How many queries are compared with how many others at once; by default 8 MB of scores, and 128 on other devices
            than the CPU.

    Raises:
        ValueError: NaN or infinity, shapes that do not fit, no text, or a row of no image.
    """
    images, texts, owner = _checked(image, text, text_image)
    rows, columns = block or block_of_scores(images.device)
    if min(rows, columns) < 1:
        raise ValueError(f"a block is {rows} x {columns}, but must be at least 1 x 1")
    own = (images[owner] * texts).sum(dim=1)  # (T,) score of each text with its image
    best = images.new_full((len(images),), -torch.inf).scatter_reduce(0, owner, own, "amax")
    slack = rounding(images, texts)

    drawn = torch.from_numpy(compared(len(images))).to(images.device)
    whole = len(drawn) == len(images)
    i2t, t2i = torch.full_like(best, -1, dtype=torch.int64), torch.full_like(owner, 0 if whole else -1)
    place = torch.full_like(i2t, -1)
    for part in drawn.split(rows):
        place[part] = torch.arange(len(part), device=part.device)
        queries, bars = images[part], best[part] - slack
        i2t[part] = 0
        for start in range(0, len(texts), columns):
            others = slice(start, start + columns)
            scores = queries @ texts[others].T  # (rows, columns)
            asker = place[owner[others]]
            here = (asker >= 0).nonzero()[:, 0]
            scores[asker[here], here] = -torch.inf  # own pairs do not compete with each other
            if whole:
                t2i[others] += (scores >= own[others] - slack).sum(dim=0)
            i2t[part] += (scores >= bars[:, None]).sum(dim=1)
        place[part] = -1
        i2t[part] = torch.where(bars.isfinite(), i2t[part], -1)
    if not whole:
        asking = torch.isin(owner, drawn).nonzero()[:, 0]
        for part in asking.split(rows):
            queries, bars, owners = texts[part], own[part] - slack, owner[part]
            t2i[part] = 0
            for start in range(0, len(images), columns):
                scores = queries @ images[start : start + columns].T  # (rows, columns)
                here = ((owners >= start) & (owners < start + columns)).nonzero()[:, 0]
                scores[here, owners[here] - start] = -torch.inf
                t2i[part] += (scores >= bars[:, None]).sum(dim=1)
    return Ranks(i2t.cpu().numpy(), t2i.cpu().numpy())


def block_of_scores(device: torch.device) -> tuple[int, int]:
    """How many queries are compared with how many others at once on a device."""
    if device.type == "cpu":
        return PAIRS_AT_ONCE // COLUMNS_AT_ONCE, COLUMNS_AT_ONCE
    return COLUMNS_AT_ONCE, COLUMNS_AT_ONCE  # so much that launching kernels does not count


def retrieval_metrics(ranks: Ranks) -> dict[str, float]:
    """Recall at 1, 5 and 10 in percent, median rank (floor of the 0-based median, plus 1), both directions.

    The keys are `METRICS`; ``mean_recall`` is the mean of the six recalls. What is no query is left out.

    Raises:
        ValueError: No image has a text.
    """
    metrics: dict[str, float] = {}
    for direction, rank in (("i2t", ranks.i2t[ranks.images]), ("t2i", ranks.t2i[ranks.texts])):
        if not len(rank):
            raise ValueError("no image has a text: there is nothing to retrieve")
        metrics |= {f"{direction}_r{k}": 100 * float((rank < k).mean()) for k in RECALLS}
        metrics[f"{direction}_median_rank"] = float(np.floor(np.median(rank)) + 1)
    return _in_order(metrics)


def chance_retrieval(n_images: int, texts_per_image: npt.ArrayLike) -> dict[str, float]:
    """Exact expectation of `retrieval_metrics` when every ranking is a uniformly random permutation.

    An image with ``m`` of ``T`` texts misses the first ``k`` with probability ``C(T-m, k) / C(T, k)``; a text
    finds its one image among the first ``k`` of ``N`` with probability ``k / N``. ``median_rank`` is the median
    of a random query's rank.

    Args:
        n_images: Images in the gallery, ``N``.
        texts_per_image: ``(N,)`` texts of each image; images with 0 are no queries.

    Raises:
        ValueError: Not one count an image, a negative count, or no text at all.
    """
    counts = np.asarray(texts_per_image, dtype=np.int64)
    if counts.shape != (n_images,):
        raise ValueError(f"texts_per_image has shape {counts.shape}, but there are {n_images} images")
    if (counts < 0).any() or not counts.any():
        raise ValueError("texts_per_image must be at least 0, and above 0 somewhere")
    own, share = np.unique(counts[counts > 0], return_counts=True)
    total = int(counts.sum())
    share = share / share.sum()

    metrics: dict[str, float] = {}
    miss = np.ones(len(own))  # probability that no own text is among the first k
    k, median = 0, 0
    while k < max(RECALLS) or not median:
        # Once all foreign texts are used up the next one must be an own one.
        miss = miss * np.maximum(total - own - k, 0) / max(total - k, 1)
        k += 1
        hit = 1 - float(share @ miss)
        if k in RECALLS:
            metrics[f"i2t_r{k}"] = 100 * hit
        if not median and hit >= 0.5 - 1e-12:
            median = k
    metrics |= {f"t2i_r{k}": 100 * min(k, n_images) / n_images for k in RECALLS}
    return _in_order(
        metrics | {"i2t_median_rank": float(median), "t2i_median_rank": float((n_images - 1) // 2 + 1)}
    )


def _in_order(metrics: dict[str, float]) -> dict[str, float]:
    recalls = [metrics[f"{direction}_r{k}"] for direction in ("i2t", "t2i") for k in RECALLS]
    complete = metrics | {"mean_recall": sum(recalls) / len(recalls)}
    return {name: complete[name] for name in METRICS}


def _checked(
    image: npt.ArrayLike | Tensor, text: npt.ArrayLike | Tensor, text_image: npt.ArrayLike | Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    images, texts = _rows("image embeddings", image), _rows("text embeddings", text)
    owner = text_image if isinstance(text_image, torch.Tensor) else torch.from_numpy(np.array(text_image))
    if images.shape[1] != texts.shape[1]:
        raise ValueError(f"images are {images.shape[1]} wide, but texts {texts.shape[1]}")
    if not len(texts):
        raise ValueError("no image has a text: there is nothing to retrieve")
    if owner.shape != (len(texts),) or owner.is_floating_point() or owner.dtype == torch.bool:
        raise ValueError(
            f"text_image must be {len(texts)} whole numbers, not {tuple(owner.shape)} {owner.dtype}"
        )
    if owner.min() < 0 or owner.max() >= len(images):
        raise ValueError(f"text_image points outside the {len(images)} images")
    return images, texts, owner.to(images.device, torch.int64)


def _rows(name: str, values: npt.ArrayLike | Tensor) -> Tensor:
    """``(N, D)`` float64, finite."""
    if not isinstance(values, torch.Tensor):
        return torch.from_numpy(finite(name, values, 2))
    found = values.to("cpu" if values.device.type == "mps" else values.device, torch.float64)
    if found.ndim != 2 or not found.isfinite().all():
        finite(name, found.cpu().numpy(), 2)  # which says what is wrong
    return found


def rounding(images: Tensor, texts: Tensor) -> Tensor:
    """Bound of the difference between two float64 inner products of the same rows (Higham 2002, ch. 3)."""
    longest = images.norm(dim=1).max() * texts.norm(dim=1).max()
    return 2 * images.shape[1] * float(np.finfo(np.float64).eps) * longest
