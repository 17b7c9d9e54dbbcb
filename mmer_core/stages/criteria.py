"""What an attack run counts as fooled, from its configuration: as a criterion and in words."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import logit
from torch import Tensor

from mmer_core.attacks.criteria import (
    CategoryAppears,
    CategorySuppressed,
    Criterion,
    DominantEmotionBecomes,
    DominantEmotionFlip,
    ImageRankDrop,
    ImageRankRise,
    LabelsChange,
    RankDrop,
    RankRise,
    RatingShift,
    TopEmotionsChange,
    image_bars,
)
from mmer_core.config import SearchConfig
from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.errors import ConfigError
from mmer_core.inference import TrainedModel


def emotion_criterion(config: SearchConfig, trained: TrainedModel, clean: Tensor) -> Criterion:
    """The criterion for an emotion model.

    Args:
        config: Says which, and its parameters.
        trained: Knows the names of the categories and dimensions, and the thresholds of its calibration.
        clean: ``(n, S)`` scores of the clean images: ratings for ``"shift"``, calibrated log-odds otherwise.

    Raises:
        ConfigError: The model has no such category or dimension, or too few categories.
    """
    scores = clean.cpu()
    if alone(config, trained.spec.labels):
        if config.criterion in ("target", "top"):
            raise ConfigError(
                f"the model knows one emotion, {trained.spec.labels[0]}, and nothing that could be ahead of it; ask whether it "
                "is suppressed, appears, or either (labels)"
            )
        config = config.model_copy(update={"criterion": "labels"})
    if config.criterion == "dominant":
        return DominantEmotionFlip(scores.argmax(dim=1).numpy())
    if config.criterion == "shift":
        dimension = _position("dimension", config.dimension, trained.spec.dimensions)
        return RatingShift(scores[:, dimension].numpy(), dimension, config.tau, config.direction)
    if config.criterion == "top":
        if config.top_emotions >= scores.shape[1]:
            raise ConfigError(
                f"the model knows {scores.shape[1]} emotions; give fewer as --attack.top-emotions"
            )
        return TopEmotionsChange(scores.topk(config.top_emotions, dim=1).indices.numpy())
    thresholds = logit(trained.thresholds)  # the scores are log-odds too
    if config.criterion == "labels":
        return LabelsChange((scores >= torch.from_numpy(thresholds).to(scores)).numpy(), thresholds)
    category = _position("category", config.category, trained.spec.labels)
    if config.criterion == "target":
        return DominantEmotionBecomes([category] * len(scores))
    presence = CategorySuppressed if config.criterion == "suppress" else CategoryAppears
    return presence(category, float(thresholds[category]))


def alone(config: SearchConfig, labels: Sequence[str]) -> bool:
    """Whether a criterion compares emotions where there is one only: that it appears or goes takes the place of that."""
    return len(labels) == 1 and config.criterion in ("dominant", "target", "top")


def match_criterion(
    config: SearchConfig,
    split: PreparedSplit,
    rows: np.ndarray,
    images: Callable[[], Tensor],
    texts: Tensor,
) -> Criterion:
    """The criterion for a retrieval model, against the whole gallery of the split.

    Args:
        config: Says which, and its parameters.
        split: Knows which caption belongs to which sample.
        rows: ``(n,)`` the attacked samples.
        images: Embeds all clean images, ``(N, D)``; asked only where images are ranked.
        texts: ``(T, D)`` embeddings of all captions; the victim's columns.

    Raises:
        ConfigError: There is no sample of the target's id, or it has no caption.
    """
    if config.match_criterion in ("caption-rises", "image-rises"):
        targets = np.full(len(rows), _first_caption(config.target, split))
        if config.match_criterion == "caption-rises":
            return RankRise(targets, config.top)
        return ImageRankRise(
            targets, image_bars(texts[targets], images(), torch.from_numpy(rows), config.top)
        )
    own = [np.flatnonzero(split.text_sample == row) for row in rows]
    drop = RankDrop(own, config.top)
    if config.match_criterion == "image-to-text":
        return drop
    bars = image_bars(texts, images(), torch.tensor(split.text_sample), config.top)
    unfound = ImageRankDrop(own, bars)
    return unfound if config.match_criterion == "text-to-image" else drop & unfound


def before_and_after(
    config: SearchConfig, outcome: Mapping[str, Any], names: Sequence[str], task: str
) -> tuple[str, str]:
    """What a success changed, in words: two captions for its picture.

    Args:
        config: Of the run.
        outcome: A row of the table of outcomes.
        names: What the victim's columns mean, where they are categories or captions.
        task: The model's.
    """
    if task == "emotion" and config.criterion == "shift":
        # The margin is what tau still lacks.
        return config.dimension, f"{config.dimension} moved by {config.tau - outcome['final_margin']:.2f}"
    if task == "emotion" and config.criterion in ("suppress", "appear"):
        there, gone = str(config.category), f"no {config.category}"
        return (there, gone) if config.criterion == "suppress" else (gone, there)
    if task == "emotion" and alone(config, names):
        return names[0], f"{names[0]} appears or goes" if outcome["final_margin"] <= 0 else names[0]
    return names[outcome["clean_top"]], names[outcome["final_top"]]


def _position(what: str, name: str | None, known: Sequence[str]) -> int:
    if name not in known:
        raise ConfigError(f"the model has no {what} {name}; give one of {', '.join(known) or 'none'}")
    return known.index(name)


def _first_caption(target: str | None, split: PreparedSplit) -> int:
    captions = (
        np.flatnonzero(split.text_sample == split.ids.index(target)) if target in split.ids else np.empty(0)
    )
    if not len(captions):
        raise ConfigError(
            f"the split {split.split} has no sample {target!r} with a caption; give the id of another as --attack.target"
        )
    return int(captions[0])
