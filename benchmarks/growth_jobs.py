"""The jobs that `benchmarks.growth` runs, and what their manifests say of the cost of every stage."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from flows.jobs import index, pipeline
from flows.poisoning import poison
from mmer_core.config import (
    AttackConfig,
    EncoderConfig,
    EvaluationConfig,
    IndexJob,
    IngestConfig,
    ModelConfig,
    PipelineJob,
    PoisonConfig,
    PoisonJob,
    ReportConfig,
    RuntimeConfig,
    SyntheticConfig,
    TrainingConfig,
)
from mmer_core.stages import Context


def run_jobs(folder: Path, photos: int) -> dict[str, tuple[float, float]]:
    """By kind of artifact, CPU seconds of all of that kind together and MiB that one of them held at most.

    A study of both kinds of task, an index and a poisoning, of so many photos each.
    """
    runtime = RuntimeConfig(
        store=str(folder / "store"), work=folder / "work", workers=1, checkpoint_seconds=1e6
    )
    shared: dict[str, Any] = {
        "encoders": EncoderConfig(image="packaged:efficientnet_lite0", image_size=32),
        "model": ModelConfig(embedding=32, hidden=32),
        "training": TrainingConfig(epochs=4, tries=1),
        "evaluation": EvaluationConfig(resamples=50),
        "runtime": runtime,
    }
    datasets = {
        name: IngestConfig.model_validate(
            {
                "dataset": name,
                "context_size": 64,
                "body_size": 64,
                "synthetic": SyntheticConfig(images=photos),
            }
        )
        for name in ("emotic", "flickr8k")
    }
    attack = AttackConfig(pixels=(1,), images=24, budget=40)
    report = ReportConfig(points=50, gallery=2, examples=1)
    pipeline.fn(PipelineJob(datasets=datasets, attack=attack, report=report, **shared))
    index.fn(IndexJob(dataset=datasets["flickr8k"], **shared))
    poisons = PoisonConfig.model_validate(
        {
            "counts": (2,),
            "seeds": 1,
            "collision": {"iterations": 4},
            "bullseye": {"iterations": 4},
            "targets": 1,
        }
    )
    poison.fn(PoisonJob(dataset=datasets["emotic"], poison=poisons, **shared))
    seconds: dict[str, float] = defaultdict(float)
    memory: dict[str, float] = defaultdict(float)
    for manifest in Context(runtime).store.list():
        assert manifest.usage is not None
        seconds[manifest.kind] += manifest.usage.cpu_seconds
        memory[manifest.kind] = max(memory[manifest.kind], manifest.usage.peak_memory / 2**20)
    return {kind: (seconds[kind], memory[kind]) for kind in seconds}
