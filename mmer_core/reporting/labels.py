"""What the short names in the records are called on the page."""

from dataclasses import dataclass

from mmer_core.attacks import ATTACKS, WhiteBoxAttack

WHITE_BOX = frozenset(name for name, attack in ATTACKS.items() if issubclass(attack, WhiteBoxAttack))
"""The attacks that know more than the others: the victim's gradients."""

FOOLED = {
    "dominant": "the dominant {word} changes",
    "target": "{category} becomes the dominant {word}",
    "top": "any of its first {top_emotions} {word}s changes",
    "labels": "any {word} appears or disappears",
    "misclassified": "the dominant {word} is not the annotated one",
    "suppress": "{category} is no longer found",
    "appear": "{category} is found",
    "shift": "{dimension} moves by {tau:g} points or more",
    "image-to-text": "every true caption leaves the top results",
    "text-to-image": "it leaves the top results of every true caption",
    "both": "every true caption leaves its top results and it leaves theirs",
    "caption-rises": "a false caption enters the top results",
    "image-rises": "it enters the top results of a false caption",
}
"""By criterion of the attack: an image counts as fooled when ...; in braces, parameters of the attack and the ``word``
for a category."""


@dataclass(frozen=True)
class Metric:
    """How a metric is printed."""

    label: str
    unit: str = " %"
    digits: int = 1
    lower_is_better: bool = False
    hint: str = ""


METRICS = (
    {
        "map": Metric("Mean average precision", hint="mAP, %"),
        "vad_mae": Metric(
            "Valence, arousal, dominance error",
            unit=" points",
            digits=3,
            lower_is_better=True,
            hint="mean absolute error, points of 1–10; lower is better",
        ),
        "f1_macro": Metric("F1 at tuned thresholds", hint="mean over categories, thresholds set on val, %"),
        "precision_macro": Metric("Precision at tuned thresholds", hint="mean over categories, %"),
        "recall_macro": Metric("Recall at tuned thresholds", hint="mean over categories, %"),
        "accuracy": Metric("Accuracy", hint="beside the most frequent class, %"),
        "balanced_accuracy": Metric("Balanced accuracy", hint="mean recall of the classes, %"),
        "macro_f1": Metric("Macro-F1", hint="mean F1 of the classes, one predicted for each sample, %"),
        "weighted_f1": Metric("Weighted F1", hint="mean F1, each class by its samples, %"),
        "mean_recall": Metric("Mean recall", hint="mean of the six recalls, %"),
        "bleu1": Metric("BLEU-1 of written captions", hint="words that a person’s caption has, %"),
        "rouge_l": Metric(
            "ROUGE-L of written captions", hint="longest common subsequence with a person’s, %"
        ),
        "cider": Metric(
            "CIDEr-D of written captions", unit="", hint="100 times the paper’s; rare words count more"
        ),
    }
    | {
        f"bleu{n}": Metric(f"BLEU-{n} of written captions", hint=f"the same for up to {n} words in a row, %")
        for n in (2, 3, 4)
    }
    | {
        f"{way}_{short}": Metric(
            f"{direction}, {long}",
            unit=unit,
            lower_is_better=short == "median_rank",
            hint=hint,
        )
        for way, direction in (("i2t", "Image to text"), ("t2i", "Text to image"))
        for short, long, unit, hint in (
            ("r1", "R@1", " %", "true match first, %"),
            ("r5", "R@5", " %", "true match in the first five, %"),
            ("r10", "R@10", " %", "true match in the first ten, %"),
            ("median_rank", "median rank", "", "1 is perfect; lower is better"),
        )
    }
)


def attack_name(attack: str) -> str:
    return ATTACKS[attack].title if attack in ATTACKS else attack


def metric(name: str) -> Metric:
    """How to print a metric; an unknown one is printed under its own name."""
    return METRICS.get(name, Metric(name, unit=""))


def pixels(count: int) -> str:
    return "1 pixel" if count == 1 else f"{count} pixels"
