"""Captions that both families write: trains each with a decoder and prints the metrics of what it writes.

    python -m benchmarks.captions --flickr8k DIR

One training of each family, judged on dev; intervals are those of the photos, of 95 %. It goes on where it was stopped, given the
same ``--store``. Without a folder (or with ``--quick``) mmer draws the dataset, and the figures only show that it runs.
"""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from benchmarks.result import finish, interval, run_app
from benchmarks.retrieval_figures import measure
from mmer_core.config import (
    FAMILIES,
    EncoderConfig,
    EvaluationConfig,
    IngestConfig,
    ModelConfig,
    RuntimeConfig,
    TrainingConfig,
    TrainJob,
)
from mmer_core.evaluation.caption_metrics import METRICS
from mmer_core.reporting.labels import METRICS as LABELS

app = App(name="benchmarks.captions", help=__doc__)
MATCHING = "mean_recall"


@app.default
def main(
    *,
    flickr8k: Path | None = None,
    quick: bool = False,
    json: Path | None = None,
    encoders: EncoderConfig = EncoderConfig(),
    model: ModelConfig = ModelConfig(heads=1),
    training: TrainingConfig = TrainingConfig(captions=1, epochs=20, decoder="gru"),
    runtime: Annotated[RuntimeConfig, Parameter(name="*")] = RuntimeConfig(),
) -> None:
    """Train both families with a decoder and print the metrics.

    Parameters
    ----------
    flickr8k:
        Folder of a Flickr8k download; without it a miniature is drawn.
    quick:
        A smoke test: a few epochs on a drawn miniature with a small encoder.
    json:
        File for the figures.
    """
    if quick:
        flickr8k = None
        encoders = EncoderConfig(image="packaged:efficientnet_lite0", image_size=96)
        training = training.model_copy(update={"epochs": 3})
    rows: list[dict[str, Any]] = []
    best: dict[str, float] = {}
    for family in FAMILIES:
        job = TrainJob(
            dataset=IngestConfig(dataset="flickr8k", root=flickr8k),
            encoders=encoders,
            model=model.model_copy(update={"family": family}),
            training=training,
            evaluation=EvaluationConfig(split="val"),
            runtime=runtime,
        )
        (found,) = measure(job, seeds=1)
        shown = {_title(name): interval(found.metrics[name]) for name in (MATCHING, *METRICS)}
        rows.append({"family": family, **shown})
        best[family] = found.metrics["cider"].value or 0.0
    what = f"{flickr8k.name if flickr8k else 'synthetic Flickr8k'} train -> val, {training.decoder}"
    finish(
        "captions",
        rows,
        {f"CIDEr-D, joint / separate, {what}": best["joint"] / (best["separate"] or 1.0)},
        json,
    )


def _title(metric: str) -> str:
    """As in papers: ``BLEU-1``."""
    return LABELS[metric].label.removesuffix(" of written captions")


if __name__ == "__main__":
    run_app(app)
