"""What helps the joint model against pixel attacks, and what ablation certifies of it: the study of `mmer robustness --defence`.

    python -m benchmarks.defences --flickr8k DIR

First the model is trained, measured and attacked as it is, and again with each of some defences, on the same photos of dev; right
means that one of a photo's own captions is first. Then the model behind ablation is certified on fewer photos. Differences are defended
less undefended, with intervals of 95 %.

One head and two captions a step, everything else by default, one training of each. It goes on where it was stopped, given the same
``--store``. Without a folder (or with ``--quick``) mmer draws the photos, and the figures only show that it runs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from benchmarks.result import Row, finish, rows_of, run_app
from benchmarks.retrieval_figures import measure
from flows.defences import defences
from flows.terminal import progress_bars
from mmer_core.config import (
    ADVERSARIAL,
    AblationConfig,
    AdversarialConfig,
    AttackConfig,
    DefencesJob,
    EncoderConfig,
    EvaluationConfig,
    IngestConfig,
    ModelConfig,
    RuntimeConfig,
    TrainingConfig,
    TrainJob,
)
from mmer_core.reporting.sections.defences import DefencesSummary, certified_table, short_table
from mmer_core.reporting.table import cell
from mmer_core.stages import Context
from mmer_core.store import ArtifactKey
from tasks.running import call_flow

app = App(name="benchmarks.defences", help=__doc__)
ABLATION = "ablation"


@app.default
def main(
    *,
    flickr8k: Path | None = None,
    defence: Sequence[str] = ("median", "jpeg:75", ADVERSARIAL),
    images: int = 100,
    certified: int = 30,
    pixels: tuple[int, ...] = (1, 5),
    budget: int = 100,
    quick: bool = False,
    json: Path | None = None,
    adversarial: AdversarialConfig = AdversarialConfig(),
    ablation: AblationConfig = AblationConfig(),
    runtime: Annotated[RuntimeConfig, Parameter(name="*")] = RuntimeConfig(),
) -> None:
    """Attack the model with and without defences, certify it, and print both tables.

    Parameters
    ----------
    flickr8k:
        Folder of a Flickr8k download; without it a miniature is drawn.
    defence:
        Defences to attack.
    images:
        Photos of dev to attack.
    certified:
        Photos of dev to certify behind ablation.
    pixels:
        Numbers of changed pixels (K).
    budget:
        Queries of a photo, for each attack and K.
    quick:
        A smoke test: short trainings on a drawn miniature, and a few queries and drawings.
    json:
        File for the figures of the defences; those that are certified stand beside it, as ``NAME-certified.json``.
    """
    encoders, training = EncoderConfig(image="packaged:efficientnet_lite0"), TrainingConfig(captions=2)
    if quick:
        flickr8k, images, certified, budget = None, 8, 2, 10
        encoders = encoders.model_copy(update={"image_size": 64})
        training = training.model_copy(update={"epochs": 3})
        adversarial = AdversarialConfig(images=8, budget=10)
        ablation = AblationConfig(draws=20, guesses=5, confidence=0.9)
    base = DefencesJob(
        dataset=IngestConfig(dataset="flickr8k", root=flickr8k),
        encoders=encoders,
        model=ModelConfig(heads=1),
        training=training,
        evaluation=EvaluationConfig(split="val"),
        attack=AttackConfig(
            split="val", pixels=pixels, budget=budget, match_criterion="image-to-text", top=1, images=images
        ),
        adversarial=adversarial,
        ablation=ablation,
        runtime=runtime,
    )
    table = short_table(_compared(base, defence=tuple(defence)))
    assert table is not None  # attacks were compared
    finish("defences", rows_of(table), {}, json)
    fewer = base.attack.model_copy(update={"images": certified})
    rows = _certified(base, _compared(base, defence=(ABLATION,), attack=fewer))
    finish("defences, certified", rows, {}, json and json.with_stem(f"{json.stem}-certified"))


def _compared(base: DefencesJob, **fields: Any) -> DefencesSummary:
    job = base.model_copy(update=fields)
    with progress_bars():
        key = ArtifactKey.parse(call_flow(defences, job))
    return Context(job.runtime).store.manifest(key).summary_as(DefencesSummary)


def _certified(base: DefencesJob, found: DefencesSummary) -> list[Row]:
    """What is certified, and beside it the mean recall of the model's single drawings, of all photos."""
    (row,) = rows_of(certified_table(found))
    head, *others = row.items()
    job = TrainJob(**{name: getattr(base, name) for name in TrainJob.model_fields})
    encoders = job.encoders.model_copy(update={"image": f"{ABLATION}:{job.encoders.image}"})
    (evaluation,) = measure(job.model_copy(update={"encoders": encoders}), seeds=1)
    recall = cell(evaluation.metrics["mean_recall"])
    return [dict([head, ("mean recall, %", f"{recall.text} ({recall.note})"), *others])]


if __name__ == "__main__":
    run_app(app)
