"""An emotion model as attacks see it, and what counts as fooled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmer_core.attacks.criteria import (
    CategoryAppears,
    CategorySuppressed,
    Criterion,
    DominantEmotionBecomes,
    DominantEmotionFlip,
    LabelsChange,
    RatingShift,
    TopEmotionsChange,
)
from mmer_core.attacks.outcomes import Reading
from mmer_core.attacks.victims import Victim
from mmer_core.config import SearchConfig
from mmer_core.errors import ConfigError
from mmer_core.heavy import Tensor, special, torch
from mmer_core.inference import TrainedModel
from mmer_core.task_kinds.kind import AttackedSplit
from mmer_core.training.data import EmotionData


def emotion_victim(
    attacked: AttackedSplit, data: EmotionData, config: SearchConfig
) -> tuple[Victim, Criterion, Reading]:
    """An emotion model that reads the attacked samples of ``data``, but for the attacked stream; its readings are its scores."""
    stream, trained = config.stream, attacked.trained
    there = trained.spec.streams
    if stream not in there and not (stream == "photo" and there.keys() & trained.spec.sides.keys()):
        raise not_attackable(trained, stream)
    read = emotion_scores(trained, data.loaded(torch.from_numpy(attacked.rows)).to(trained.device), config)
    victim = attacked.victim(stream, read)
    criterion = emotion_criterion(config, trained, attacked.clean_scores(victim))
    return victim, criterion, lambda scores, row: scores


def not_attackable(trained: TrainedModel, stream: str) -> ConfigError:
    """What is wrong with an attack on a stream that a model does not read."""
    seen = trained.spec.sides
    if not seen:
        return ConfigError(
            "the model reads texts only, so there is no pixel to attack; attack one that reads images"
        )
    return ConfigError(f"the model reads {', '.join(seen)} and no {stream}; attack one of these")


def emotion_scores(
    trained: TrainedModel, data: EmotionData, config: SearchConfig
) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
    """Scores of the samples ``(B,)`` of ``data`` with some streams ``(B, D)`` replaced."""
    scores = trained.ratings if config.criterion == "shift" else trained.calibrated_logits

    def read(attacked: dict[str, Tensor], which: Tensor) -> Tensor:
        shown = data.rows(which)
        return scores(shown.streams | attacked, shown.present)

    return read


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
    if only_presence(config, trained.spec.labels):
        if config.criterion in ("target", "top"):
            raise ConfigError(
                f"the model knows one label, {trained.spec.labels[0]}, and nothing that could be ahead of it; ask whether it "
                "is suppressed, appears, or either (labels)"
            )
        config = config.model_copy(update={"criterion": "labels"})
    if config.criterion == "misclassified":
        raise ConfigError(
            "misclassified asks for the one label that was annotated: attack a dataset whose samples have one label each, "
            "or take the criterion dominant"
        )
    if config.criterion == "dominant":
        return DominantEmotionFlip(scores.argmax(dim=1).numpy())
    if config.criterion == "shift":
        dimension = _position("dimension", config.dimension, trained.spec.dimensions)
        return RatingShift(scores[:, dimension].numpy(), dimension, config.tau, config.direction)
    if config.criterion == "top":
        if config.top_emotions >= scores.shape[1]:
            raise ConfigError(
                f"the model knows {scores.shape[1]} labels; give fewer as --attack.top-emotions"
            )
        return TopEmotionsChange(scores.topk(config.top_emotions, dim=1).indices.numpy())
    thresholds = special.logit(trained.thresholds)  # the scores are log-odds too
    if config.criterion == "labels":
        return LabelsChange((scores >= torch.from_numpy(thresholds).to(scores)).numpy(), thresholds)
    category = _position("category", config.category, trained.spec.labels)
    if config.criterion == "target":
        return DominantEmotionBecomes([category] * len(scores))
    presence = CategorySuppressed if config.criterion == "suppress" else CategoryAppears
    return presence(category, float(thresholds[category]))


def only_presence(config: SearchConfig, labels: Sequence[str]) -> bool:
    """Whether the criterion compares emotions but the model knows one only, so that its presence is judged instead."""
    return len(labels) == 1 and config.criterion in ("dominant", "target", "top")


def _position(what: str, name: str | None, known: Sequence[str]) -> int:
    if name not in known:
        raise ConfigError(f"the model has no {what} {name}; give one of {', '.join(known) or 'none'}")
    return known.index(name)
