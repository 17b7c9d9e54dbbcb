"""What reports and cards say about models of emotions, and of any other labels of which a sample may have several."""

from dataclasses import replace

from mmer_core.datasets.prepared import DatasetSummary
from mmer_core.models import ModelSpec
from mmer_core.reporting.estimates import number
from mmer_core.reporting.table import plain
from mmer_core.reporting.task_text import TaskText
from mmer_core.taxonomy import PUBLISHED_EMOTIC_MAP


def comparing(data: DatasetSummary) -> str:
    """The use that models of every labelled dataset have."""
    return f"Comparing modalities and model families, and measuring robustness, on {data.name}."


def _rated(spec: ModelSpec) -> str:
    return f", and ratings of {', '.join(spec.dimensions)} from 1 to 10" if spec.dimensions else ""


def _uses(spec: ModelSpec, data: DatasetSummary) -> list[str]:
    return [
        f"Gives, for a person in an image, calibrated probabilities of {len(spec.labels)} categories{_rated(spec)}, "
        f"as the annotators of {data.name} assigned them: what others see in a person, not what the person feels.",
        comparing(data),
    ]


TEXT = TaskText(
    model="emotion",
    samples="people",
    category="emotion",
    headline="map",
    headline_label="mAP",
    skill=("read emotion", "reads emotion"),
    right="the emotion read first is one of the person’s own",
    criterion="dominant",
    fools="changes the dominant emotion",
    poison_success="A success is a triggered image of a person without the label {target} whose calibrated probability "
    "of it reaches the threshold.",
    published_on="EMOTIC",
    published=plain(
        "EMOTIC, test split",
        ("Work", "mAP, %"),
        [(name, number(score, 2)) for name, score in PUBLISHED_EMOTIC_MAP.items()],
    ),
    uses=_uses,
)


def _uses_of_labels(spec: ModelSpec, data: DatasetSummary) -> list[str]:
    return [
        f"Gives, for a sample, calibrated probabilities of {len(spec.labels)} labels{_rated(spec)}, as the annotators of "
        f"{data.name} assigned them.",
        comparing(data),
    ]


LABELS = replace(
    TEXT,
    model="multi-label",
    samples="samples",
    category="label",
    skill=("find the labels", "finds the labels"),
    right="the label found first is one of the sample’s own",
    fools="changes the dominant label",
    poison_success="A success is a triggered sample without the label {target} whose calibrated probability of it reaches "
    "the threshold.",
    published_on="",
    published=plain("", ("",), ()),
    uses=_uses_of_labels,
)
