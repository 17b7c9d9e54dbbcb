"""What tests of tuning share: a context on the CPU that keeps every checkpoint, and small drawn datasets."""

from pathlib import Path

from mmer_core.config import IngestConfig, RuntimeConfig
from mmer_core.stages import Context


class Killed(Exception):
    pass


def context(folder: Path, **fields: object) -> Context:
    runtime = RuntimeConfig(
        store=str(folder / "store"), work=folder / "work", checkpoint_seconds=0, device="cpu"
    )
    return Context(runtime, **fields)


def small(dataset: str) -> IngestConfig:
    fields = {"dataset": dataset, "context_size": 32, "body_size": 32, "synthetic": {"images": 40}}
    return IngestConfig.model_validate(fields)
