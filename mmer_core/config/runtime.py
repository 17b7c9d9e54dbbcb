"""Where and how fast."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mmer_core.base_config import SPEED, Config
from mmer_core.paths import Place, given
from mmer_core.store import Store, open_store


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError(
            f"{name!r} is no device: give auto, cpu, mps, cuda, or one GPU of several, like cuda:1"
        )
    return name


class RuntimeConfig(Config):
    """Where and how fast; nothing here changes a result beyond floating-point rounding."""

    store: Annotated[str, BeforeValidator(given)] = Field(
        ".mmer/store", description="Artifact store: a folder, file:///…, or s3://bucket/prefix."
    )
    work: Place = Field(
        default_factory=lambda given: _beside(given.get("store", "")),
        description="Folder for unfinished work and fetched artifacts; by default the folder 'work' beside a store that "
        "is a folder, else .mmer/work.",
    )
    cache_gb: float = Field(
        20.0,
        ge=0,
        le=1e9,
        description="Space for artifacts fetched from S3, in GB; beyond it unused ones are removed, least recently used "
        "first.",
    )
    device: Annotated[str, AfterValidator(_device)] = Field(
        "auto",
        description="Device for tensors: auto (CUDA, else MPS, else the CPU), cpu, mps, cuda, or one GPU of several, like "
        "cuda:1. Processes of --engine processes, dask and ray get a GPU each.",
    )
    engine: Literal["threads", "processes", "dask", "ray"] = Field(
        "threads",
        description="What runs shards: threads of this process, processes of this machine, or the workers of a Dask or "
        "Ray cluster (pip install 'mmer[dask]' for processes and dask, 'mmer[ray]' for ray).",
    )
    address: str | None = Field(
        None,
        description="The cluster: tcp://HOST:8786 of a Dask scheduler; HOST:6379 or ray://HOST:10001 of Ray.",
    )
    workers: int = Field(
        2,
        ge=1,
        description="Shards that run at the same time; a cluster gets as many as it has threads (Dask) or cores (Ray), and "
        "so many more that wait there.",
    )
    batch_size: int = Field(64, ge=1, description="Images in one forward pass of an encoder.")
    features_gb: float = Field(
        8.0,
        ge=0,
        le=1e9,
        description="Memory for the features of a training, in GB; larger ones stay on disk and are read batch by batch, for "
        "the same model.",
    )
    compile: bool = Field(
        False,
        description="Compile training steps with torch.compile; without a compiler a warning is printed and training continues.",
    )
    logs: Place | None = Field(
        None,
        description="Folder for training curves and throughput in TensorBoard's format, one subfolder per training; not "
        "written by default (history.csv in the model always has the curves).",
    )
    quiet: bool = Field(False, description="Print results and errors only, no progress.")
    checkpoint_seconds: float = Field(
        10.0,
        ge=0,
        description="Minimum time between two checkpoints of a training; 0 writes one after every epoch.",
    )

    @model_validator(mode="after")
    def _clusters_have_an_address(self) -> Self:
        cluster = self.engine in ("dask", "ray")
        if cluster and self.address is None:
            example = "tcp://HOST:8786" if self.engine == "dask" else "HOST:6379"
            raise ValueError(
                f"the engine {self.engine} needs the address of a cluster: give --address {example}, or use the "
                "engine processes on this machine"
            )
        if self.address is not None and not cluster:
            raise ValueError(
                f"the engine {self.engine} takes no address: give --engine dask or ray for the cluster at {self.address}"
            )
        return self

    def open_store(self) -> Store:
        """The store, with the folder of what is fetched from it."""
        room = int(self.cache_gb * 1e9)
        return open_store(self.store, cache=self.work / "fetched", cache_bytes=room)

    def for_worker(self, sharing: int) -> Self:
        """The settings for a shard in another process, where ``sharing`` shards run at the same time.

        Local paths are absolute, since that process may work in another folder.
        """
        here = {
            name: value.expanduser().absolute()
            for name, value in (("work", self.work), ("logs", self.logs))
            if value is not None
        }
        store = self.store if "://" in self.store else str(Path(self.store).expanduser().absolute())
        return self.model_copy(update={"store": store, "workers": sharing, **here})


def _beside(store: str) -> Path:
    folder = Path(store)
    return folder.parent / "work" if folder.name and "://" not in store else Path(".mmer/work")


Runtime = Annotated[RuntimeConfig, SPEED]
