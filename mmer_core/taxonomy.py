"""The label spaces, and published results for comparison."""

from typing import Final

EMOTIC_CATEGORIES: Final[tuple[str, ...]] = (
    "Affection", "Anger", "Annoyance", "Anticipation", "Aversion", "Confidence", "Disapproval",
    "Disconnection", "Disquietment", "Doubt/Confusion", "Embarrassment", "Engagement", "Esteem",
    "Excitement", "Fatigue", "Fear", "Happiness", "Pain", "Peace", "Pleasure", "Sadness",
    "Sensitivity", "Suffering", "Surprise", "Sympathy", "Yearning",
)  # fmt: skip
"""The 26 categories of EMOTIC in the order of the reference converter (alphabetical)."""

VAD: Final[tuple[str, ...]] = ("valence", "arousal", "dominance")
"""The continuous dimensions, each rated in 1..10."""

VAD_RANGE: Final[tuple[float, float]] = (1.0, 10.0)

SPLITS: Final[tuple[str, ...]] = ("train", "val", "test")

PUBLISHED_EMOTIC_MAP: Final[dict[str, float]] = {
    "Notebooks that mmer replaces, body": 23.17,
    "Notebooks that mmer replaces, context": 25.05,
    "Notebooks that mmer replaces, joint": 24.85,
    "Kosti et al. 2020": 27.38,
    "EmotiCon, Mittal et al. 2020": 35.48,
    "Xenos et al. 2024": 38.52,
}
"""mAP in percent on the test split of EMOTIC."""

PUBLISHED_FLICKR8K: Final[dict[str, tuple[float, float, float, float, float, float]]] = {
    "DeViSE": (4.8, 16.5, 27.3, 5.9, 20.1, 29.6),
    "DVSA": (16.5, 40.6, 54.2, 11.8, 32.1, 44.7),
    "Kiros et al. 2014": (18.0, 40.9, 55.0, 12.5, 37.0, 51.5),
    "HGLMM Fisher vectors": (31.0, 59.3, 73.7, 21.2, 50.0, 64.8),
    "ResNet NAA": (37.2, 68.1, 79.1, 27.7, 59.6, 71.8),
}
"""Image-to-text R@1, R@5, R@10, then text-to-image R@1, R@5, R@10, in percent on the test split."""
