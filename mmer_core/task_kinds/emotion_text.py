"""What reports and cards say about emotion models."""

from mmer_core.datasets.prepared import DatasetSummary
from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.models import ModelSpec
from mmer_core.reporting.estimates import number
from mmer_core.reporting.table import plain
from mmer_core.reporting.task_text import TaskText
from mmer_core.taxonomy import PUBLISHED_EMOTIC_MAP


def _measured_on(evaluation: EvaluationRecord) -> str:
    return f"{evaluation.n:,} people"


def _uses(spec: ModelSpec, data: DatasetSummary) -> list[str]:
    rated = f", and ratings of {', '.join(spec.dimensions)} from 1 to 10" if spec.dimensions else ""
    return [
        f"Gives, for a person in an image, calibrated probabilities of {len(spec.labels)} categories{rated}, "
        f"as the annotators of {data.name} assigned them: what others see in a person, not what the person feels.",
        f"Comparing modalities and model families, and measuring robustness, on {data.name}.",
    ]


TEXT = TaskText(
    model="emotion",
    samples="people",
    headline="map",
    headline_label="mAP",
    skill=("read emotion", "reads emotion"),
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
    measured_on=_measured_on,
    uses=_uses,
)
