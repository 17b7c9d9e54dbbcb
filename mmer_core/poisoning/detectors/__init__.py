"""Detectors of poisons: each gives every training sample a score, higher being more suspicious.

scores = deep_knn(features, labels)
print(judge(scores, scores > 0, poisons))
"""

from mmer_core.poisoning.detectors.clustering import activation_clustering, clustering_flags
from mmer_core.poisoning.detectors.deep_knn import deep_knn, deep_knn_texts
from mmer_core.poisoning.detectors.judging import Detection, flag_at, judge
from mmer_core.poisoning.detectors.similarity import pair_dissimilarity
from mmer_core.poisoning.detectors.spectral import spectral_flags, spectral_signatures

__all__ = [
    "Detection",
    "activation_clustering",
    "clustering_flags",
    "deep_knn",
    "deep_knn_texts",
    "flag_at",
    "judge",
    "pair_dissimilarity",
    "spectral_flags",
    "spectral_signatures",
]
