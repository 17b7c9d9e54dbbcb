"""Image-text similarity: a poisoned pair does not match."""

import numpy as np
import numpy.typing as npt

from mmer_core.errors import PoisonError
from mmer_core.poisoning.detectors.checks import Floats, checked_features
from mmer_core.poisoning.detectors.detector import Detector, Inspected


def pair_dissimilarity(images: npt.ArrayLike, texts: npt.ArrayLike) -> Floats:
    """How badly image and text of a pair match: minus their cosine in a shared space.

    The filter by which image-text datasets are cleaned, with a model that was not trained on the poisons
    (Schuhmann et al. 2021, *LAION-400M*, https://arxiv.org/abs/2111.02114, which keeps pairs whose cosine in
    CLIP's space is 0.3 or more: ``scores <= -0.3``). What cosine is low depends on the space; `flag_at`
    asks for no number of it.

    Args:
        images: ``(N, D)`` embeddings, at least 1 row.
        texts: ``(N, D)`` embeddings in the same space, pair by pair.

    Returns:
        ``(N,)`` in -1..1, higher is more suspicious.

    Raises:
        PoisonError: A shape, NaN, or an embedding that is zero.
    """
    image, text = checked_features(images, 1), checked_features(texts, 1)
    if image.shape != text.shape:
        raise PoisonError(
            f"images {image.shape} and texts {text.shape} are no pairs; give one of each, of one width"
        )
    lengths = np.linalg.norm(image, axis=1) * np.linalg.norm(text, axis=1)
    if not lengths.all():
        raise PoisonError("an embedding is zero, which has no direction; embed the pair again")
    return -np.einsum("nd,nd->n", image, text, dtype=np.float64) / lengths


class Similarity(Detector):
    """`pair_dissimilarity` in the space of the model."""

    name = "similarity"
    summary = "image and text do not match"
    compares = True

    def scores(self, inspected: Inspected) -> Floats:
        assert inspected.texts is not None
        return pair_dissimilarity(inspected.images, inspected.texts)
