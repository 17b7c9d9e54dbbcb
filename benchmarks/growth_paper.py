"""From the cost of one photo, one caption and one query to 10^8 photos and 10^9 queries: hours, machines, bytes, money.

    python -m benchmarks.growth_paper --json FILE

Photos of 640 x 480 pixels are ingested, encoded by the default encoders, trained on, evaluated and attacked by the real jobs, one
thread each; the manifests say what that cost. What has been seen to grow in proportion (`benchmarks.growth`) is multiplied.
Prices and sizes of machines are assumptions, stated above the table, and flags.
"""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from cyclopts import App
from threadpoolctl import threadpool_limits

from benchmarks.raw_trees import natural_emotic
from benchmarks.result import finish, run_app
from flows.jobs import robustness, train
from flows.output import say
from mmer_core.config import (
    AttackConfig,
    EvaluationConfig,
    IngestConfig,
    ModelConfig,
    RobustnessJob,
    RuntimeConfig,
    TrainingConfig,
    TrainJob,
)
from mmer_core.stages import Context
from mmer_core.store import Manifest

app = App(name="benchmarks.growth_paper", help=__doc__)
EPOCHS = 2
IMAGES, QUERIES = 10**8, 10**9


class Step(NamedTuple):
    """What one unit costs: CPU seconds and bytes that are stored."""

    name: str
    unit: str
    seconds: float
    size: float
    units: int


@app.default
@threadpool_limits.wrap(limits=1)
def main(
    *,
    photos: int = 200,
    cores: int = 64,
    core_hour: float = 0.04,
    terabyte_month: float = 23.0,
    days: float = 1.0,
    json: Path | None = None,
) -> None:
    """Measure, and multiply.

    Parameters
    ----------
    photos:
        Photos to measure with.
    cores:
        Cores of a machine.
    core_hour:
        Price of a core for an hour.
    terabyte_month:
        Price of 10^12 bytes on S3 for a month.
    days:
        Days within which each step should be done.
    json:
        File for the figures.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        steps = _measured(Path(folder), photos)
    say(
        f"On paper {IMAGES:.0e} photos of one person and one text each, {QUERIES:.0e} queries; machines of {cores} cores, "
        f"${core_hour:g} a core-hour, ${terabyte_month:g} a TB and month, {days:g} days for each step."
    )
    rows = [_row(one, cores, core_hour, terabyte_month, days) for one in steps]
    finish("growth_paper", rows, {}, json)


def _measured(folder: Path, photos: int) -> list[Step]:
    runtime = RuntimeConfig(store=str(folder / "store"), work=folder / "work", workers=1)
    fields: dict[str, Any] = {
        "dataset": IngestConfig.model_validate(
            {"dataset": "emotic", "root": natural_emotic(folder / "raw", photos)}
        ),
        "model": ModelConfig(),
        "training": TrainingConfig(epochs=EPOCHS, tries=1),
        "evaluation": EvaluationConfig(resamples=10),
        "runtime": runtime,
    }
    train.fn(TrainJob(**fields))
    robustness.fn(
        RobustnessJob(
            **fields, attack=AttackConfig(pixels=(1,), images=16, budget=500, attacks=("sparse-rs",))
        )
    )
    store = Context(runtime).store
    prepared, model = next(store.list("prepared")), next(store.list("model"))
    people = sum(prepared.summary["counts"].values())
    shards = {
        name: [one for one in store.list("feature-shard") if one.config["shard"]["stream"] == name]
        for name in ("context", "body", "text")
    }
    attacks = list(store.list("attack-shard"))
    queries = sum(one.summary["queries"] for one in attacks)
    rows = sum(one.summary["rows"] for one in shards["context"])
    steps = [
        Step(
            "ingest, without the processes that decode",
            "photo of a person",
            _seconds(prepared) / people,
            _bytes(prepared) / people,
            IMAGES,
        )
    ]
    for name, made in shards.items():
        count = sum(one.summary["rows"] for one in made)
        seconds, size = sum(map(_seconds, made)), sum(map(_bytes, made))
        steps.append(Step(f"encode the {name}", name, seconds / count, size / count, IMAGES))
    seen = EPOCHS * prepared.summary["counts"]["train"]
    steps.append(Step("train for 30 epochs", "person", 30 * _seconds(model) / seen, 0, IMAGES))
    steps.append(Step("attack by pixels", "query", sum(map(_seconds, attacks)) / queries, 0, QUERIES))
    assert rows == people
    return steps


def _seconds(manifest: Manifest) -> float:
    assert manifest.usage is not None
    return manifest.usage.cpu_seconds


def _bytes(manifest: Manifest) -> int:
    return sum(entry.size for entry in manifest.files)


def _row(step: Step, cores: int, core_hour: float, terabyte_month: float, days: float) -> dict[str, Any]:
    """What one cost, and what many would."""
    hours = step.seconds * step.units / 3600
    terabytes = step.size * step.units / 1e12
    return {
        "step": step.name,
        "one": step.unit,
        "CPU ms": 1000 * step.seconds,
        "bytes": round(step.size),
        "on paper": f"{step.units:.0e}",
        "core-hours": f"{hours:,.0f}",
        "machines": max(1, -(-int(hours) // int(24 * days * cores))),
        "TB": f"{terabytes:.2f}",
        "money, once": f"${hours * core_hour:,.0f}",
        "money, a month": f"${terabytes * terabyte_month:,.0f}",
    }


if __name__ == "__main__":
    run_app(app)
