"""The photos and captions of a split in a model's shared space, embedded block by block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmer_core.inference import TrainedModel
from mmer_core.matrix import blocks
from mmer_core.training.data import RetrievalData


def embedded_images(trained: TrainedModel, data: RetrievalData) -> npt.NDArray[np.float32]:
    """``(N, D)`` unit vectors."""
    return np.concatenate([trained.embed_images({"context": block}) for block in blocks(data.images)])


def embedded_texts(trained: TrainedModel, data: RetrievalData) -> npt.NDArray[np.float32]:
    """``(T, D)`` unit vectors."""
    return np.concatenate([trained.embed_texts(block) for block in blocks(data.texts)])
