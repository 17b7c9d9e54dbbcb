"""Trained models as attacks see them: what an attack does not touch are stored features."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mmer_core.attacks.criteria import Criterion
from mmer_core.attacks.victims import IncrementalVictim, Victim
from mmer_core.config import SearchConfig
from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.encoders import ImageEncoder
from mmer_core.encoders.features import Features
from mmer_core.errors import ConfigError
from mmer_core.incremental.encoded import evaluator_of
from mmer_core.inference import TrainedModel
from mmer_core.stages.criteria import emotion_criterion, match_criterion
from mmer_core.tracing import running
from mmer_core.training.data import EmotionData, RetrievalData


def split_victim(
    trained: TrainedModel,
    encoder: ImageEncoder,
    split: PreparedSplit,
    features: Features,
    images: np.ndarray,
    rows: np.ndarray,
    config: SearchConfig,
) -> tuple[Victim, Criterion]:
    """The model as an attack sees it; text and the untouched stream are the stored features."""
    if trained.spec.task == "emotion":
        return emotion_victim(trained, encoder, EmotionData.load(features, split), images, rows, config)
    if config.stream != "context":
        raise ConfigError(f"a captioned photo has no {config.stream} stream; attack the context")
    data = RetrievalData.load(features, split)
    gallery = torch.from_numpy(trained.embed_texts(data.texts)).to(trained.device)  # (T, D)

    def photos() -> Tensor:
        return torch.from_numpy(trained.embed_images(data.images)).to(trained.device)

    return match_victim(trained, encoder, gallery), match_criterion(config, split, rows, photos, gallery)


def match_victim(trained: TrainedModel, encoder: ImageEncoder, gallery: Tensor) -> Victim:
    """A retrieval model whose columns are the texts with these embeddings, ``(T, D)``."""

    def match(attacked: Tensor, _: Tensor) -> Tensor:
        return trained.retrieval_model.embed_image(attacked) @ gallery.T

    return IncrementalVictim(encoder, match, evaluator_of(encoder))


def emotion_victim(
    trained: TrainedModel,
    encoder: ImageEncoder,
    data: EmotionData,
    images: np.ndarray,
    rows: np.ndarray,
    config: SearchConfig,
) -> tuple[Victim, Criterion]:
    """An emotion model that reads the samples ``rows`` of ``data``, but for the stream of ``images (n, H, W, 3)``."""
    stream = config.stream
    if stream not in data.streams:
        raise ConfigError(f"the model reads {', '.join(data.streams)} and no {stream}; attack one of these")
    read = emotion_scores(trained, data.rows(torch.from_numpy(rows)).to(trained.device), config)

    def head(attacked: Tensor, which: Tensor) -> Tensor:
        return read({stream: attacked}, which)

    with torch.inference_mode(), running():
        clean = head(encoder.encode(images), torch.arange(len(rows)))
    victim = IncrementalVictim(encoder, head, evaluator_of(encoder))
    return victim, emotion_criterion(config, trained, clean)


def emotion_scores(
    trained: TrainedModel, data: EmotionData, config: SearchConfig
) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
    """What an emotion model says of the samples ``(B,)`` of ``data`` when some streams ``(B, D)`` are others."""
    scores = trained.ratings if config.criterion == "shift" else trained.calibrated_logits

    def read(attacked: dict[str, Tensor], which: Tensor) -> Tensor:
        shown = data.rows(which)
        return scores(shown.streams | attacked, shown.present)

    return read
