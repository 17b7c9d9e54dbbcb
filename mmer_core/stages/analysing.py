"""A trained model and what it said of a split -> the analyses of its spaces, modalities and words."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from torch.nn import functional as F

from mmer_core.config import EvaluationConfig
from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.evaluation.agreement import stream_agreement
from mmer_core.evaluation.analyses import FEWEST, emotion_spaces, retrieval_spaces
from mmer_core.evaluation.contribution import coalitions, stream_contributions
from mmer_core.evaluation.word_similarity import word_similarities
from mmer_core.inference import EmotionPrediction, TrainedModel
from mmer_core.models import JointEmotionModel
from mmer_core.training.data import EmotionData


# One thread: what is stored must not depend on how many cores add up a product of matrices.
@threadpool_limits.wrap(limits=1)
def analyse_emotions(
    trained: TrainedModel,
    data: EmotionData,
    predicted: EmotionPrediction,
    split: PreparedSplit,
    config: EvaluationConfig,
) -> dict[str, Any]:
    """What is told of an emotion model besides its metrics; nothing for fewer than `FEWEST` people.

    Args:
        data: The features of the split. Someone without a stream counts where streams are compared by what they
            say, and not in the figures of spaces, where everybody must have a place.
        predicted: What the model said of them.

    Returns:
        JSON-able: ``spaces``, ``pairs``, ``contribution``, ``agreement`` and, where a joint model reads
        texts, ``words``.
    """
    if len(split) < FEWEST:
        return {}
    streams = data.streams
    said = {
        members: trained.emotions(
            {name: rows for name, rows in streams.items() if name in members}, data.present
        ).probabilities
        for members in coalitions(streams)
    }
    joint = isinstance(trained.model, JointEmotionModel)
    embeddings = {name: rows.float().cpu().numpy() for name, rows in predicted.output.embeddings.items()}
    complete = data.complete.cpu().numpy()
    found: dict[str, Any] = {"spaces": [], "pairs": []}
    if complete.sum() >= FEWEST:
        placed = {name: rows[complete] for name, rows in embeddings.items()}
        found = emotion_spaces(placed, split.labels[complete], config, shared=joint)
    found["contribution"] = stream_contributions(said, split.labels, trained.spec.labels, config)
    alone = {name: said[frozenset((name,))] for name in streams}
    found["agreement"] = stream_agreement(alone, trained.thresholds, trained.spec.labels)
    if joint and split.texts and "text" in embeddings and len(embeddings) > 1:
        image = np.mean([rows for name, rows in embeddings.items() if name != "text"], axis=0)
        similarity = _cosine(image, embeddings["text"])[split.text_sample]
        found["words"] = word_similarities(similarity, split.texts, split.text_sample, config)
    return found


@threadpool_limits.wrap(limits=1)
def analyse_retrieval(
    images: npt.NDArray[np.float32],
    texts: npt.NDArray[np.float32],
    others: Mapping[str, npt.NDArray[np.float32]],
    split: PreparedSplit,
    config: EvaluationConfig,
) -> dict[str, Any]:
    """What is told of an image-text model besides its metrics; nothing for fewer than `FEWEST` photos with texts.

    Args:
        images: ``(N, D)`` in the retrieval space.
        texts: ``(T, D)`` in the retrieval space.
        others: Further spaces of the images by name, ``(N, D)``.

    Returns:
        JSON-able: ``spaces``, ``pairs`` and ``words``.
    """
    if len(set(split.text_sample.tolist())) < FEWEST:
        return {}
    found = retrieval_spaces(images, texts, split.text_sample, others)
    similarity = _cosine(images[split.text_sample], texts)
    found["words"] = word_similarities(similarity, split.texts, split.text_sample, config)
    return found


def _cosine(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return F.cosine_similarity(torch.from_numpy(first), torch.from_numpy(second)).numpy()
