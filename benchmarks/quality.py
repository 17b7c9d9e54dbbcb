"""Quality of image-text matching: trains both families and prints the retrieval metrics.

    python -m benchmarks.quality --flickr8k DIR --eval val --seeds 3

Without a folder (or with ``--quick``) mmer draws the dataset, and the figures only show that it runs.
"""

import re
import statistics
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from benchmarks.result import finish, run_app
from benchmarks.retrieval_figures import figures, measure, spread
from mmer_core.config import (
    FAMILIES,
    EncoderConfig,
    EvaluationConfig,
    IngestConfig,
    ModelConfig,
    RuntimeConfig,
    Split,
    TrainingConfig,
    TrainJob,
)
from mmer_core.evaluation.retrieval_metrics import METRICS

app = App(name="benchmarks.quality", help=__doc__)
Flags = Parameter(name="*")


@app.default
def main(
    *,
    flickr8k: Path | None = None,
    eval: Split = "val",
    seeds: int = 3,
    quick: bool = False,
    json: Path | None = None,
    encoders: EncoderConfig = EncoderConfig(),
    model: ModelConfig = ModelConfig(),
    training: TrainingConfig = TrainingConfig(),
    runtime: Annotated[RuntimeConfig, Flags] = RuntimeConfig(),
) -> None:
    """Train both families and print the retrieval metrics.

    Parameters
    ----------
    flickr8k:
        Folder of a Flickr8k download; without it a miniature is drawn.
    eval:
        Split to evaluate.
    seeds:
        Number of trainings per family; the table shows mean and standard deviation.
    quick:
        A smoke test: one seed on a drawn miniature with a small encoder.
    json:
        File for the figures.
    """
    if quick:
        flickr8k, seeds = None, 1
        encoders = EncoderConfig(image="packaged:efficientnet_lite0", image_size=96)
    dataset = IngestConfig(dataset="flickr8k", root=flickr8k)
    rows: list[dict[str, Any]] = []
    means: dict[str, float] = {}
    for family in FAMILIES:
        job = TrainJob(
            dataset=dataset,
            encoders=encoders,
            model=model.model_copy(update={"family": family}),
            training=training,
            evaluation=EvaluationConfig(split=eval),
            runtime=runtime,
        )
        results = measure(job, seeds)
        values = figures(results)
        rows.append({"model": family, **{_title(name): spread(seen) for name, seen in values.items()}})
        means[family] = statistics.mean(values["mean_recall"])
    chance = results[-1].baselines
    rows.append({"model": "chance", **{_title(name): f"{chance[name]:.2f}" for name in METRICS}})
    what = f"{flickr8k.name if flickr8k else 'synthetic Flickr8k'} train -> {eval}, {seeds} seeds"
    ratios = {f"mean recall, joint / separate, {what}": means["joint"] / means["separate"]}
    finish("quality", rows, ratios, json)


def _title(metric: str) -> str:
    """As in papers: ``i2t_r1`` is i2t R@1."""
    return re.sub(r"_r(\d+)$", r" R@\1", metric).replace("_", " ")


if __name__ == "__main__":
    run_app(app)
