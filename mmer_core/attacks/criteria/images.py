"""Criteria on text to image: whether the captions still find the attacked image in the whole gallery.

Only the attacked image moves. So what a caption must beat, the ``top``-th best of all *other* images, is a
constant that ``image_bars`` computes once from stored embeddings, and the victim's scores are the same
similarities to all captions that image to text is judged by: the two directions compose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmer_core.attacks.criteria.base import (
    ComposableCriterion,
    check_columns,
    check_rows,
    columns_of,
    just_above,
)
from mmer_core.attacks.criteria.captions import own_columns
from mmer_core.errors import AttackError
from mmer_core.heavy import torch
from mmer_core.transfer import table_on

_SCORES_AT_ONCE = 2**24  # similarities that are in memory at a time


def image_bars(texts: torch.Tensor, images: torch.Tensor, attacked: torch.Tensor, top: int) -> torch.Tensor:
    """For every caption, the ``top``-th best similarity to an image that is not the attacked one.

    Args:
        texts: ``(T, D)`` embeddings of captions.
        images: ``(N, D)`` embeddings of all clean images.
        attacked: ``(T,)`` int64, the image under attack when each caption is asked: its own one for
            ``ImageRankDrop``, for ``ImageRankRise`` the one that wants to be found by it.
        top: At least 1.

    Returns:
        ``(T,)``, of the dtype of the embeddings.

    Raises:
        AttackError: ``top`` is below 1 or not below the number of images.
    """
    if not 1 <= top < len(images):
        raise AttackError(f"top is {top} in a gallery of {len(images)} images; give 1 to {len(images) - 1}")
    bars = []
    step = max(1, _SCORES_AT_ONCE // len(images))
    for start in range(0, len(texts), step):
        part = slice(start, start + step)
        similarity = texts[part] @ images.T  # (chunk, N)
        moving = attacked[part, None].to(similarity.device)
        bars.append(similarity.scatter(1, moving, -torch.inf).topk(top, dim=1).values[:, -1])
    return torch.cat(bars)


class ImageRankDrop(ComposableCriterion):
    """None of the sample's own captions finds the image among its best ``top`` images any more.

    The margin is the largest lead of an own caption's score over its bar: at 0 or less, at least ``top``
    other images are ahead of, or tied with, the attacked one for every caption of its own.

    Args:
        own: For each sample, the columns of its own captions.
        bars: ``(T,)``, a bar for every caption, from ``image_bars``, which settles ``top``.

    Raises:
        AttackError: a sample has no own column or a negative one, or a bar is missing or NaN.
    """

    def __init__(self, own: Sequence[Sequence[int] | np.ndarray], bars: torch.Tensor) -> None:
        self._own = own_columns(own)
        self._bars = _checked(bars, 1 + int(self._own.max()) if self._own.numel() else 0)

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        check_rows(rows, len(self._own))
        own = table_on(self._own, scores.device)[rows]  # (B, most own columns)
        check_columns(own, scores, others=0)
        return (scores.gather(1, own) - table_on(self._bars, scores.device, scores.dtype)[own]).amax(dim=1)

    def __repr__(self) -> str:
        return f"ImageRankDrop(own=<{len(self._own)} samples>, bars=<{len(self._bars)} captions>)"


class ImageRankRise(ComposableCriterion):
    """The targeted form: a caption that is not its own finds the image among its best ``top`` images.

    The margin is the target caption's bar, or the next number above it, minus its score.

    Args:
        target: ``(n,)`` integers, the column of the caption that each sample's attack wants to be found by.
        bars: ``(n,)``, a bar for each sample's target, from ``image_bars``, which settles ``top``.

    Raises:
        AttackError: ``target`` is not a list of integers from 0, or a bar is missing or NaN.
    """

    def __init__(self, target: Sequence[int] | np.ndarray, bars: torch.Tensor) -> None:
        self._target = columns_of("target", target)
        self._bars = _checked(bars, len(self._target))

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        check_rows(rows, len(self._target))
        target = table_on(self._target, scores.device)[rows][:, None]  # (B, 1)
        check_columns(target, scores, others=0)
        bars = table_on(self._bars, scores.device, scores.dtype)[rows]
        return just_above(bars) - scores.gather(1, target)[:, 0]

    def __repr__(self) -> str:
        return f"ImageRankRise(target=<{len(self._target)} samples>)"


def _checked(bars: torch.Tensor, least: int) -> torch.Tensor:
    if bars.ndim != 1 or len(bars) < least or bars.isnan().any():
        raise AttackError(
            f"bars are {tuple(bars.shape)} or hold NaN; give one number each for {least} captions"
        )
    return bars
