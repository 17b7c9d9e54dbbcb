"""Workers of a Ray cluster."""

import inspect
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from mmer_core.config import RuntimeConfig
from mmer_core.errors import EngineError
from tasks.engines.engine import optional_package
from tasks.engines.gpus import own_gpus

# Of processes that die under a shard, as many as Dask allows.
_DEATHS = 4

_CONNECT_SECONDS = 5

_opening = threading.Lock()


@dataclass(frozen=True)
class RayEngine:
    """Hands work to Ray, one piece a core of the cluster.

    Attributes:
        runtime: With local paths made absolute; a process of Ray does one piece of work at a time.
        waiting: How much work waits beyond the cores of the cluster, so that none idles and a cluster can grow.
        gpu: Whether work goes to the GPUs of the cluster, one each, where it has some.
    """

    runtime: RuntimeConfig
    ray: ModuleType
    waiting: int
    gpu: bool

    @classmethod
    def open(cls, runtime: RuntimeConfig) -> "RayEngine":
        """Connect to the cluster at the address; a process has one connection.

        Raises:
            ConfigError: Ray is not installed.
            EngineError: No cluster answers at the address.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray = optional_package("ray", "ray")
        optional_package("prefect_ray", "ray")
        with _opening:
            if not ray.is_initialized():
                try:
                    _knock(str(runtime.address))
                    ray.init(address=runtime.address, log_to_driver=False)
                except (OSError, ValueError, RuntimeError) as error:
                    reason = next(iter(str(error).strip().splitlines()), "no reason given")
                    raise EngineError(
                        f"no Ray cluster answers at {runtime.address} ({type(error).__name__}: {reason}): start ray "
                        "start --head there, or give the --address that it prints, like HOST:6379"
                    ) from None
        return cls(runtime.for_worker(1), ray, runtime.workers, own_gpus(runtime))

    @property
    def places(self) -> int:
        return int(self._resource("GPU") or self._resource("CPU")) + self.waiting

    def _resource(self, name: str) -> float:
        wanted = self.gpu or name != "GPU"
        return float(self.ray.cluster_resources().get(name, 0)) if wanted else 0.0

    @property
    def _options(self) -> dict[str, int]:
        """Of each piece of work. By default Ray ends a process after one piece of work with a GPU, and its models with it;
        ``max_calls=0`` keeps it."""
        gpu = {"num_gpus": 1, "max_calls": 0} if self._resource("GPU") else {}
        return {"max_retries": _DEATHS - 1, **gpu}

    def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        from prefect import Task

        errors = self.ray.exceptions
        try:
            return self._run_task(work, arguments) if isinstance(work, Task) else self._call(work, arguments)
        except errors.RayTaskError as error:
            raise error.cause from None  # what was raised, without the traceback of another process as its message
        except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError):
            raise EngineError(
                f"a shard ended {_DEATHS} processes of Ray one after another, most often for want of memory: lower "
                "--batch-size or --workers, and look into the logs of Ray"
            ) from None

    def _call(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        remote = self.ray.remote(**self._options)(work)
        return self.ray.get(remote.remote(*arguments))

    def _run_task(self, task: Any, arguments: tuple[Any, ...]) -> Any:
        from prefect_ray import RayTaskRunner
        from prefect_ray.context import remote_options

        parameters = inspect.signature(task.fn).bind(*arguments).arguments
        with RayTaskRunner() as runner, remote_options(**self._options):
            return runner.submit(task, parameters).result()


def _knock(address: str) -> None:
    """Raises `OSError` when nobody listens there: Ray itself tries for minutes before it says so."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname and parts.port:  # auto and local name no host
        socket.create_connection((parts.hostname, parts.port), timeout=_CONNECT_SECONDS).close()
