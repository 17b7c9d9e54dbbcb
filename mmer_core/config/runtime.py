"""Where and how fast."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from mmer_core.config.base import Config


class RuntimeConfig(Config):
    """Where and how fast; nothing here changes a result beyond floating-point rounding."""

    store: str = Field(
        ".mmer/store", description="Artifact store: a folder, file:///…, or s3://bucket/prefix."
    )
    work: Path = Field(Path(".mmer/work"), description="Folder for unfinished work and fetched artifacts.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Device for tensors.")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Precision of training on CUDA (autocast); attacks always judge in float32."
    )
    workers: int = Field(2, ge=1, description="Shards that run at the same time.")
    batch_size: int = Field(64, ge=1, description="Images in one forward pass of an encoder.")
    compile: bool = Field(
        False,
        description="Compile training steps with torch.compile; without a compiler mmer says so and goes on.",
    )
    logs: Path | None = Field(
        None,
        description="Folder for training curves and throughput as TensorBoard reads them, one folder in it a "
        "training; none are kept without it (history.csv in the model has the curves in any case).",
    )
    checkpoint_seconds: float = Field(
        10.0,
        ge=0,
        description="Least time between two checkpoints of a training; 0 for one after every epoch.",
    )


# On the command line these are --store, --device, ...: not worth a prefix.


Runtime = Annotated[RuntimeConfig, Parameter(name="*")]
