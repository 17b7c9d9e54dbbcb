"""When an image-text model counts as fooled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmer_core.attacks.criteria import (
    Criterion,
    ImageRankDrop,
    ImageRankRise,
    RankDrop,
    RankRise,
    image_bars,
)
from mmer_core.attacks.gallery import Gallery
from mmer_core.attacks.outcomes import Reading
from mmer_core.config import SearchConfig
from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.errors import ConfigError
from mmer_core.heavy import Tensor, torch


def match_criterion(
    config: SearchConfig,
    split: PreparedSplit,
    rows: np.ndarray,
    gallery: Gallery,
) -> Criterion:
    """The criterion for a retrieval model, against the whole gallery of the split.

    Args:
        config: Says which, and its parameters.
        split: Knows which caption belongs to which sample.
        rows: ``(n,)`` the attacked samples.
        gallery: Of the split; its captions are the victim's columns.

    Raises:
        ConfigError: There is no sample of the target's id, or it has no caption.
    """
    if config.match_criterion in ("caption-rises", "image-rises"):
        targets = np.full(len(rows), _first_caption(config.target, split))
        if config.match_criterion == "caption-rises":
            return RankRise(targets, config.top)
        rising = [_bars(gallery, targets[:1], row, config.top) for row in rows]
        return ImageRankRise(targets, torch.cat(rising))
    own = [np.flatnonzero(split.text_sample == row) for row in rows]
    drop = RankDrop(own, config.top)
    if config.match_criterion == "image-to-text":
        return drop
    bars = torch.full(
        (len(gallery.texts),), torch.inf, device=gallery.texts.device
    )  # of others, which nobody asks
    for row, columns in zip(rows, own, strict=True):
        bars[torch.from_numpy(columns)] = _bars(gallery, columns, row, config.top)
    unfound = ImageRankDrop(own, bars)
    return unfound if config.match_criterion == "text-to-image" else drop & unfound


def match_reading(
    config: SearchConfig,
    split: PreparedSplit,
    rows: np.ndarray,
    gallery: Gallery,
) -> Reading:
    """0-based ranks of the truth, ties against the model: of the image's best own caption among those of other images; and
    where images are ranked, of the image among all others for each of its captions, NaN up to as many as any image has.

    Args:
        config: And all that follows: as of `match_criterion`.
    """
    own = [np.flatnonzero(split.text_sample == row) for row in rows]
    rivals: list[Tensor] = []  # of each image: (captions, N) similarities of its captions to all images
    if config.match_criterion in ("text-to-image", "both"):
        for row, columns in zip(rows, own, strict=True):
            rivals.append((gallery.texts[columns] @ gallery.images.T).cpu())
            rivals[-1][:, row] = -torch.inf
    most = int(np.bincount(split.text_sample).max())

    def read(scores: Tensor, place: int) -> list[float]:
        mine = scores[own[place]]
        others = scores.clone()
        others[own[place]] = -torch.inf
        ranks = [float((others >= mine.max()).sum())]
        if rivals:
            behind = (rivals[place] >= mine[:, None]).sum(dim=1).tolist()
            ranks += [*behind, *[np.nan] * (most - len(behind))]
        return ranks

    return read


def own_found(criterion: str, ranks: Sequence[float], first: str) -> str:
    """Where the truth stands, in words.

    Args:
        criterion: Of the run.
        ranks: As `match_reading` gives them.
        first: The caption with the highest score.
    """
    own = int(ranks[0]) + 1
    captions = f"own caption first: {first}" if own == 1 else f"own caption at rank {own:,}; first: {first}"
    if criterion == "image-to-text":
        return captions
    found = ", ".join(
        f"{int(rank) + 1:,}" for rank in sorted(rank for rank in ranks[1:] if not np.isnan(rank))
    )
    image = f"found by its own captions at ranks {found}"
    return image if criterion == "text-to-image" else f"{captions}; {image}"


def _bars(gallery: Gallery, captions: np.ndarray, row: int, top: int) -> Tensor:
    """``(n,)`` of the captions of one attacked image; images by themselves, since rounding depends on how many rows a
    product has, and results must not depend on which images share a shard."""
    return image_bars(gallery.texts[captions], gallery.images, torch.full((len(captions),), int(row)), top)


def _first_caption(target: str | None, split: PreparedSplit) -> int:
    captions = (
        np.flatnonzero(split.text_sample == split.ids.index(target)) if target in split.ids else np.empty(0)
    )
    if not len(captions):
        raise ConfigError(
            f"the split {split.split} has no sample {target!r} with a caption; give the id of another as --attack.target"
        )
    return int(captions[0])
