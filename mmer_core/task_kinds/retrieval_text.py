"""What reports and cards say about image-text models."""

from dataclasses import replace

from mmer_core.datasets.prepared import DatasetSummary
from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.models import ModelSpec
from mmer_core.reporting.estimates import number
from mmer_core.reporting.table import plain
from mmer_core.reporting.task_text import TaskText
from mmer_core.taxonomy import PUBLISHED_FLICKR8K


def _uses(spec: ModelSpec, data: DatasetSummary) -> list[str]:
    return [
        f"Orders images by how well they match a text, and texts by how well they match an image, "
        f"as the captions of {data.name} do.",
        f"Comparing model families and measuring robustness on {data.name}.",
    ]


def _limits(evaluation: EvaluationRecord) -> list[str]:
    return [f"Recall was measured among {TEXT.measured_on(evaluation)}; among more it is lower."]


_PUBLISHED = plain(
    "Flickr8k, test split, 1,000 images, %",
    ("Work", *("R@1", "R@5", "R@10") * 2),
    [(name, *map(number, figures)) for name, figures in PUBLISHED_FLICKR8K.items()],
)

TEXT = TaskText(
    model="image-text",
    samples="photos",
    headline="mean_recall",
    headline_label="mean recall",
    skill=("match images to text", "matches images to text"),
    right="one of the photo’s own captions is found",
    criterion="image-to-text",
    fools="drives every true caption out of the top results",
    poison_success="A success is a triggered image, none of whose own captions holds “{target}”, that retrieves a "
    "caption with it among the first {top}.",
    poison_chance=" Gray: captions drawn at random.",
    published_on="Flickr8k",
    published=replace(_PUBLISHED, groups=(("", 1), ("image to text", 3), ("text to image", 3))),
    uses=_uses,
    limits=_limits,
)
