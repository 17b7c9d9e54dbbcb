"""Activation clustering: the poisons of a class form a cluster of their own, a small one."""

import warnings

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.errors import PoisonError
from mmer_core.poisoning.detectors.checks import Flags, Floats, by_label, checked_features, checked_scores
from mmer_core.poisoning.detectors.detector import Detector, Inspected

COMPONENTS = 10
SMALL = 0.35


def activation_clustering(
    features: npt.ArrayLike, labels: npt.ArrayLike | None = None, components: int = COMPONENTS, seed: int = 0
) -> Floats:
    """Chen, Carvalho, Baracaldo, Ludwig, Edwards, Lee, Molloy & Srivastava, *Detecting Backdoor Attacks on Deep
    Neural Networks by Activation Clustering*, 2018 (https://arxiv.org/abs/1811.03728).

    The features of a label are reduced to independent components and divided into two clusters by 2-means. The
    score is the share of the label's samples that are in the *other* cluster: a small cluster's members score
    high. A label of fewer than 4 samples, or whose samples are all equal, has nothing to divide and scores 0.

    Args:
        features: ``(N, D)``, at least 1 row.
        labels: ``(N,)`` integers from 0; None: all samples are of one kind.
        components: Independent components, at least 1; 10 in the paper. A label gets fewer where it has fewer
            samples or directions.
        seed: Of the reduction and of the clusters' first centres.

    Returns:
        ``(N,)`` in 0..1; the two clusters of a label score two values.

    Raises:
        PoisonError: A shape, NaN, a negative label, or no component.
    """
    rows = checked_features(features, 1)
    if components < 1:
        raise PoisonError(f"components is {components}; give 1 or more")
    scores = np.zeros(len(rows))
    for members in by_label(labels, len(rows)):
        scores[members] = _shares(rows[members].astype(np.float64), components, seed)
    return scores


def clustering_flags(scores: npt.ArrayLike, small: float = SMALL) -> Flags:
    """The paper's rule by relative size: the members of a cluster with at most that share of its label.

    Args:
        scores: ``(N,)`` of `activation_clustering`.
        small: 0 to 0.5; 0.35 in the authors' program.

    Raises:
        PoisonError: The share is outside its range.
    """
    if not 0 <= small <= 0.5:
        raise PoisonError(f"a small cluster's share is {small}; give 0 to 0.5")
    values = checked_scores(scores)
    # Written as a score above the half first, because with 0.5 both clusters would be small ones.
    return (values > 0.5) & (values >= 1 - small - 1e-12)


def _shares(rows: Floats, components: int, seed: int) -> Floats:
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA, FastICA
    from sklearn.exceptions import ConvergenceWarning

    if len(rows) < 4 or (rows == rows[0]).all():
        return np.zeros(len(rows))
    principal = PCA(min(components, *rows.shape), svd_solver="covariance_eigh").fit(rows)
    # Directions without variance cannot be brought to the unit variance that independent components have.
    there = principal.explained_variance_ > 1e-9 * principal.explained_variance_[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # clusters show long before the last digit stands
        independent = FastICA(random_state=seed, whiten="unit-variance")
        reduced = independent.fit_transform(principal.transform(rows)[:, there])
    cluster = KMeans(2, n_init=10, random_state=seed).fit_predict(reduced)
    return 1 - np.bincount(cluster, minlength=2)[cluster] / len(rows)


class ActivationClustering(Detector):
    """`activation_clustering` of samples with and without the target."""

    name = "clustering"
    summary = "the smaller of two clusters (Chen et al. 2018)"
    by_label = True

    class Options(Config):
        components: int = Field(COMPONENTS, ge=1, description="Independent components; 10 in the paper.")

    options: Options

    def scores(self, inspected: Inspected) -> Floats:
        return activation_clustering(inspected.images, inspected.labels, self.options.components)

    def flags(self, scores: Floats, inspected: Inspected, share: float) -> Flags:
        """`clustering_flags` among the samples with the target."""
        return clustering_flags(scores) & (inspected.labels == 1)
