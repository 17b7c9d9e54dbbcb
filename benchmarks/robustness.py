"""Both families of image-text matching under attack, and which is better: the study that `mmer pipeline` makes, of Flickr8k.

    python -m benchmarks.robustness --flickr8k DIR --json robustness.json

Every question is one that the report answers, of as many trainings of either family, with the interval of the paired difference.
What is in the store of an earlier run is used again.
"""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from benchmarks.result import finish, run_app
from flows.jobs import pipeline
from flows.terminal import progress_bars
from mmer_core.config import (
    AttackConfig,
    EncoderConfig,
    EvaluationConfig,
    IndexConfig,
    IngestConfig,
    PipelineJob,
    RuntimeConfig,
    TrainingConfig,
)
from mmer_core.reporting.comparison_table import difference_cells
from mmer_core.stages import Context
from mmer_core.stages.report import COMPARISONS_FILE
from mmer_core.statistics.comparison import Comparison, Comparisons
from mmer_core.store import ArtifactKey

app = App(name="benchmarks.robustness", help=__doc__)


@app.default
def main(
    *,
    flickr8k: Path | None = None,
    seeds: int = 3,
    epochs: int = 15,
    images: int = 200,
    pixels: tuple[int, ...] = (1, 5, 20),
    budget: int = 50,
    quick: bool = False,
    json: Path | None = None,
    runtime: Annotated[RuntimeConfig, Parameter(name="*")] = RuntimeConfig(),
) -> None:
    """Train, attack and compare.

    Parameters
    ----------
    flickr8k:
        Folder of a Flickr8k download; without it a miniature is drawn.
    seeds:
        Trainings of every family.
    epochs:
        Of each training.
    images:
        Photos of val to attack.
    pixels:
        Numbers of changed pixels (K).
    budget:
        Queries of a photo, for each attack and K.
    quick:
        A smoke test: two short trainings on a drawn miniature, and a few queries.
    json:
        File for the figures.
    """
    if quick:
        flickr8k, seeds, epochs, images, pixels, budget = None, 2, 2, 8, (5,), 10
    study = PipelineJob(
        datasets={"flickr8k": IngestConfig(dataset="flickr8k", root=flickr8k)},
        seeds=seeds,
        encoders=EncoderConfig(image="packaged:efficientnet_lite0"),
        training=TrainingConfig(epochs=epochs),
        evaluation=EvaluationConfig(split="val"),
        index=IndexConfig(split="val"),
        attack=AttackConfig(split="val", images=images, pixels=pixels, budget=budget),
        runtime=runtime,
    )
    with progress_bars():
        report = ArtifactKey.parse(pipeline.fn(study))
    answered = Comparisons.read(Context(runtime).folder(report) / COMPARISONS_FILE)
    finish("robustness", [_row(one) for one in answered.datasets["flickr8k"]], {}, json)


def _row(one: Comparison) -> dict[str, Any]:
    answer, difference, first, second, p, n = difference_cells(one)
    return {
        "figure": one.quantity,
        "of": f"{one.first}, {one.second}",
        "percent": f"{first.text}, {second.text}",
        "difference, points": f"{difference.text} ({difference.note})",
        "p": p.text,
        "n": n.text,
        "answer": answer.text,
    }


if __name__ == "__main__":
    run_app(app)
