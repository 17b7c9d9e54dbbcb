"""Deep k-NN: a poison's neighbours carry another label than it does."""

from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.errors import PoisonError
from mmer_core.poisoning.detectors.checks import Flags, Floats, checked_features, checked_labels
from mmer_core.poisoning.detectors.detector import Detector, Inspected
from mmer_core.poisoning.detectors.neighbours import nearest

NEIGHBOURS = 50


def deep_knn(features: npt.ArrayLike, labels: npt.ArrayLike, k: int = NEIGHBOURS) -> Floats:
    """Peri, Gupta, Huang, Fowl, Zhu, Feizi, Goldstein & Dickerson, *Deep k-NN Defense Against Clean-Label Data
    Poisoning Attacks*, 2020 (https://arxiv.org/abs/1909.13374).

    The paper removes a sample whose label is not the plurality of its ``k`` nearest neighbours' (Euclidean, in
    feature space, itself left out). The score says by how many votes it is not: those of the best other
    label minus those of its own, divided by ``k``. So the paper's rule is a score above 0; a tie is kept.

    The paper advises a ``k`` above twice the number of poisons of a target, and well above a class's share of
    noise. Fewer samples than ``k + 1`` have fewer neighbours.

    Args:
        features: ``(N, D)``, at least 2 rows.
        labels: ``(N,)`` integers, from 0, of any number of classes.
        k: Neighbours that vote, at least 1.

    Returns:
        ``(N,)`` in -1..1, higher is more suspicious.

    Raises:
        PoisonError: A shape, NaN, a negative label, or ``k`` below 1.
    """
    rows = checked_features(features, 2)
    label = checked_labels(labels, len(rows))
    scores = np.empty(len(rows))
    for start, neighbours in nearest(rows, k):
        part = slice(start, start + len(neighbours))
        votes = np.stack([(label[neighbours] == c).sum(axis=1) for c in range(label.max() + 1)], axis=1)
        own = np.take_along_axis(votes, label[part, None], axis=1)[:, 0]
        np.put_along_axis(votes, label[part, None], -1, axis=1)
        scores[part] = (np.maximum(votes.max(axis=1), 0) - own) / neighbours.shape[1]
    return scores


def deep_knn_texts(images: npt.ArrayLike, texts: npt.ArrayLike, k: int = NEIGHBOURS) -> Floats:
    """The same idea where a sample has a text instead of a label: similar images, other texts.

    Returns:
        ``(N,)``: 1 minus the mean cosine of a sample's text with the texts of its ``k`` nearest images. There is
        no rule in the paper for it.

    Args:
        images: ``(N, D)`` features, at least 2 rows.
        texts: ``(N, D_text)`` features; one row an image, for instance the mean of its captions'.
        k: Neighbours, at least 1.

    Raises:
        PoisonError: A shape, NaN, a text's feature that is zero, or ``k`` below 1.
    """
    rows, text = checked_features(images, 2), checked_features(texts, 2)
    lengths = np.linalg.norm(text, axis=1, keepdims=True)
    if len(text) != len(rows) or not lengths.all():
        raise PoisonError(
            f"{len(text)} texts' features for {len(rows)} images; give one that is not 0 for each"
        )
    unit = text / lengths
    scores = np.empty(len(rows))
    for start, neighbours in nearest(rows, k):
        own = unit[start : start + len(neighbours)]
        # The mean of cosines with unit vectors is the dot product with their mean.
        around = np.stack([unit[row].mean(axis=0) for row in neighbours])
        scores[start : start + len(own)] = 1 - (own * around).sum(axis=1)
    return scores


class DeepKNN(Detector):
    """`deep_knn` of samples with labels, `deep_knn_texts` of captioned ones."""

    name = "deep-knn"
    summary = "neighbours disagree (Peri et al. 2020)"

    class Options(Config):
        neighbours: int | None = Field(
            None,
            ge=1,
            description="Neighbours that vote; by default more than twice the poisons, as the paper advises.",
        )

    options: Options

    def settled(self, poisons: int) -> dict[str, Any]:
        return {"neighbours": self.options.neighbours or 2 * poisons + 1}

    def scores(self, inspected: Inspected) -> Floats:
        k = self.settled(inspected.poisons)["neighbours"]
        if not inspected.captioned:
            return deep_knn(inspected.images, inspected.labels, k)
        assert inspected.texts is not None
        return deep_knn_texts(inspected.images, inspected.texts, k)

    def flags(self, scores: Floats, inspected: Inspected, share: float) -> Flags:
        """Where there are labels, the paper's rule: a score above 0."""
        return super().flags(scores, inspected, share) if inspected.captioned else scores > 0
