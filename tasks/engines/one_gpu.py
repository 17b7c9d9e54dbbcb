"""One GPU for each worker of Dask on this machine."""

import os
from dataclasses import dataclass
from typing import Any

from distributed import WorkerPlugin

from tasks.engines.gpus import VISIBLE


@dataclass(frozen=True)
class OneGpu(WorkerPlugin):
    """Shows each worker one GPU, before it uses any, and again when it is started again.

    The workers are named 0, 1, …; where they are more than the GPUs, several share one.
    """

    gpus: tuple[str, ...]

    def setup(self, worker: Any) -> None:
        os.environ[VISIBLE] = self.gpus[int(worker.name) % len(self.gpus)]
