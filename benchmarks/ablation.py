"""Ablation of joint retrieval: trains the default, the default without each ingredient, and with additional ones.

    python -m benchmarks.ablation --flickr8k DIR --eval val --seeds 1

Without a folder (or with ``--quick``) mmer draws the dataset, and the figures only show that it runs.
"""

import statistics
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from benchmarks.result import finish, run_app
from benchmarks.retrieval_figures import figures, measure, spread
from mmer_core.config import (
    EncoderConfig,
    EvaluationConfig,
    IngestConfig,
    ModelConfig,
    RuntimeConfig,
    Split,
    TrainingConfig,
    TrainJob,
    bare_name,
)
from mmer_core.objectives.grouped_infonce import GroupedInfoNCE

app = App(name="benchmarks.ablation", help=__doc__)
DEFAULT = "the default"


def _changed(job: TrainJob, part: str, **fields: Any) -> TrainJob:
    return job.model_copy(update={part: getattr(job, part).model_copy(update=fields)})


def without(job: TrainJob) -> dict[str, TrainJob]:
    """Variants of the job with one ingredient removed, by the name of that ingredient."""
    less = partial(_changed, job)
    return {
        "mirror image": less("encoders", image=job.encoders.image.removeprefix("mirror:")),
        "token maximum": less("encoders", text=job.encoders.text.removeprefix("meanmax:")),
        "root of the features": less("model", power=1.0),
        "heads (one instead)": less("model", heads=1),
        "hidden layer (linear instead)": less("model", hidden=0),
        "captions (one a step instead)": less("training", captions=1),
        "learned temperature (0.07 instead)": less("training", temperature=0.07),
        "weight average": less("training", average=0.0),
        "all of these": TrainJob(
            dataset=job.dataset,
            encoders=job.encoders.model_copy(
                update={
                    "image": job.encoders.image.removeprefix("mirror:"),
                    "text": job.encoders.text.removeprefix("meanmax:"),
                }
            ),
            model=job.model.model_copy(update={"power": 1.0, "heads": 1, "hidden": 0}),
            training=job.training.model_copy(update={"captions": 1, "average": 0.0}),
            evaluation=job.evaluation,
            runtime=job.runtime,
        ),
    }


def added(job: TrainJob) -> dict[str, TrainJob]:
    """Variants of the job with one ingredient that the default lacks, by the name of that ingredient."""
    more = partial(_changed, job)
    return {
        "hard negatives": more("training", grouped_infonce=GroupedInfoNCE.Options(hardness=0.5)),
        "attention over regions": more("encoders", image=f"regions:{job.encoders.image}"),
        "attention over tokens (in place of mean and maximum)": more(
            "encoders", text=f"tokens:{bare_name(job.encoders.text)}"
        ),
    }


@app.default
def main(
    *,
    flickr8k: Path | None = None,
    eval: Split = "val",
    seeds: int = 1,
    more: bool = True,
    quick: bool = False,
    json: Path | None = None,
    encoders: EncoderConfig = EncoderConfig(),
    model: ModelConfig = ModelConfig(),
    training: TrainingConfig = TrainingConfig(),
    runtime: Annotated[RuntimeConfig, Parameter(name="*")] = RuntimeConfig(),
) -> None:
    """Train the default and its variants, and print the retrieval metrics.

    Parameters
    ----------
    flickr8k:
        Folder of a Flickr8k download; without it a miniature is drawn.
    eval:
        Split to evaluate.
    seeds:
        Number of trainings per row; the table shows mean and standard deviation.
    more:
        Also train with ingredients that the default lacks; regions and tokens require new features.
    quick:
        A smoke test: one seed of a few epochs on a drawn miniature with a small encoder.
    json:
        File for the figures.
    """
    if quick:
        flickr8k, seeds = None, 1
        encoders = EncoderConfig(image="mirror:packaged:efficientnet_lite0", image_size=96)
        training = training.model_copy(update={"epochs": 3})
    job = TrainJob(
        dataset=IngestConfig(dataset="flickr8k", root=flickr8k),
        encoders=encoders,
        model=model.model_copy(update={"family": "joint"}),
        training=training,
        evaluation=EvaluationConfig(split=eval),
        runtime=runtime,
    )
    rows: list[dict[str, Any]] = []
    means: dict[str, float] = {}
    variants = {
        DEFAULT: job,
        **{f"without {name}": variant for name, variant in without(job).items()},
        **{f"with {name}": variant for name, variant in (added(job) if more else {}).items()},
    }
    for name, variant in variants.items():
        values = figures(measure(variant, seeds))
        rows.append({"variant": name, **{metric: spread(seen) for metric, seen in values.items()}})
        means[name] = statistics.mean(values["mean_recall"])
    what = f"{flickr8k.name if flickr8k else 'synthetic Flickr8k'} train -> {eval}, {seeds} seeds"
    default = means.pop(DEFAULT)
    ratios = {f"mean recall, default / {name}, {what}": default / mean for name, mean in means.items()}
    finish("ablation", rows, ratios, json)


if __name__ == "__main__":
    run_app(app)
