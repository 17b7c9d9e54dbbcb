"""A trained model and its predictions for a split -> the analyses of its spaces, modalities and words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mmer_core import models
from mmer_core.config import EvaluationConfig
from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.evaluation.agreement import stream_agreement
from mmer_core.evaluation.analyses import FEWEST, emotion_spaces, retrieval_spaces
from mmer_core.evaluation.contribution import coalitions, stream_contributions
from mmer_core.evaluation.matching import caption_contribution, match_people
from mmer_core.evaluation.record import Analyses, Matching, WordSimilarity
from mmer_core.evaluation.word_similarity import word_similarities
from mmer_core.heavy import functional as F
from mmer_core.heavy import torch
from mmer_core.inference import EmotionPrediction, TrainedModel
from mmer_core.training.data import EmotionData


# One thread: what is stored must not depend on how many cores add up a product of matrices.
@threadpool_limits.wrap(limits=1)
def analyse_emotions(
    trained: TrainedModel,
    data: EmotionData,
    predicted: EmotionPrediction,
    split: PreparedSplit,
    config: EvaluationConfig,
) -> Analyses:
    """The analyses of an emotion model; none for fewer than `FEWEST` people, and words where a joint model reads texts.

    Args:
        data: The features of the split. A person without a stream counts where the streams' predictions are
            compared, but not in the figures of spaces, where every person needs a position.
        predicted: The model's predictions for the split.
    """
    if len(split) < FEWEST:
        return Analyses()
    streams = data.tensors
    predictions = {
        members: trained.emotions(
            {name: rows for name, rows in streams.items() if name in members}, data.present
        ).probabilities
        for members in coalitions(streams)
    }
    joint = isinstance(trained.model, models.JointEmotionModel)
    embeddings = {name: rows.float().cpu().numpy() for name, rows in predicted.output.embeddings.items()}
    complete = data.complete.cpu().numpy()
    found = Analyses()
    if complete.sum() >= FEWEST:
        placed = {name: rows[complete] for name, rows in embeddings.items()}
        found = emotion_spaces(
            placed, split.labels[complete], config, shared=joint, clusters=split.clusters[complete]
        )
    alone = {name: predictions[frozenset((name,))] for name in streams}
    words: list[WordSimilarity] = []
    matching: Matching | None = None
    if joint and split.texts and "text" in embeddings and len(embeddings) > 1:
        image = np.mean([rows for name, rows in embeddings.items() if name != "text"], axis=0)
        paired = np.flatnonzero(complete[split.text_sample])
        owner = split.text_sample[paired]
        similarity = _cosine(image, embeddings["text"])[owner]
        texts = [split.texts[row] for row in paired.tolist()]
        words = word_similarities(similarity, texts, split.clusters[owner], config)
        named = np.flatnonzero(complete & np.isin(np.arange(len(split)), split.text_sample))
        if len(named):
            all_texts: dict[int, list[str]] = {}
            for sample, text in zip(split.text_sample.tolist(), split.texts, strict=True):
                all_texts.setdefault(sample, []).append(text)
            names = ["\n".join(all_texts[row]) for row in named.tolist()]
            matching = match_people(
                image[named], embeddings["text"][named], names, config, split.clusters[named]
            )
    contribution = stream_contributions(
        predictions, split.labels, trained.spec.labels, config, split.clusters
    )
    return found.model_copy(
        update={
            "contribution": contribution,
            "agreement": tuple(stream_agreement(alone, trained.decisions, trained.spec.labels)),
            "words": tuple(words),
            "matching": matching,
        }
    )


@threadpool_limits.wrap(limits=1)
def analyse_retrieval(
    images: npt.NDArray[np.float32],
    texts: npt.NDArray[np.float32],
    others: Mapping[str, npt.NDArray[np.float32]],
    split: PreparedSplit,
    config: EvaluationConfig,
) -> Analyses:
    """The analyses of an image-text model: spaces, pairs and words; none for fewer than `FEWEST` photos with texts.

    Args:
        images: ``(N, D)`` in the retrieval space.
        texts: ``(T, D)`` in the retrieval space.
        others: Further spaces of the images by name, ``(N, D)``.
    """
    if len(set(split.text_sample.tolist())) < FEWEST:
        return Analyses()
    found = retrieval_spaces(images, texts, split.text_sample, others)
    similarity = _cosine(images[split.text_sample], texts)
    words = word_similarities(similarity, split.texts, split.clusters[split.text_sample], config)
    contribution = caption_contribution(images, texts, split.text_sample, config, split.clusters)
    return found.model_copy(update={"words": tuple(words), "caption_contribution": contribution})


def _cosine(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return F.cosine_similarity(torch.from_numpy(first), torch.from_numpy(second)).numpy()
