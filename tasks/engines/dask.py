"""Processes of this machine and workers of a Dask cluster: both are Dask, which starts a dead process again.

A pool of the standard library breaks whole when one child dies. Here the work of a dead process goes to another,
where the store already has what had been finished.
"""

import atexit
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmer_core.config import RuntimeConfig
from mmer_core.errors import EngineError
from mmer_core.threads import share
from tasks.engines.engine import optional_package
from tasks.engines.gpus import gpus_here, own_gpus

if TYPE_CHECKING:
    from prefect_dask.client import PrefectDaskClient

# What a shard raised is raised here: workers need not print it as well. Must be set before Dask is imported.
os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")

_CONNECT_SECONDS = 5
_CHECK_SECONDS = 5.0
# A cluster that grows on demand starts its first worker when there is work.
_NO_WORKER_SECONDS = 300.0

# A pipeline fans out a dozen times: its processes start once, and keep the models that they have loaded.
_clients: dict[tuple[str | None, int], "PrefectDaskClient"] = {}
_opening = threading.Lock()


@dataclass(frozen=True)
class DaskEngine:
    """Hands work to a Dask scheduler.

    Attributes:
        runtime: With local paths made absolute, and as many workers as share the cores of a process.
        waiting: How much work waits at the scheduler beyond its threads, so that none idles and a cluster can grow.
        gpu: Whether work goes to a GPU where workers of the cluster have declared some.
    """

    runtime: RuntimeConfig
    client: "PrefectDaskClient"
    waiting: int
    gpu: bool

    @classmethod
    def open(cls, runtime: RuntimeConfig) -> "DaskEngine":
        """Connect to the scheduler at the address, or start processes here when there is none.

        Raises:
            ConfigError: Dask is not installed.
            EngineError: No scheduler answers at the address, or the processes here do not start.
        """
        require_dask()
        with _opening:
            place = (runtime.address, 0 if runtime.address else runtime.workers)
            client = _clients.get(place)
            if client is None or client.status != "running":
                client = _connect(runtime.address) if runtime.address else _start(runtime.workers)
                _clients[place] = client
            if not runtime.address and own_gpus(runtime) and (gpus := gpus_here()):
                from tasks.engines.one_gpu import OneGpu

                client.register_plugin(OneGpu(gpus), name="mmer-one-gpu")
        waiting = runtime.workers if runtime.address else 0
        gpu = bool(runtime.address) and own_gpus(runtime)
        return cls(runtime.for_worker(max([1, *client.nthreads().values()])), client, waiting, gpu)

    @property
    def places(self) -> int:
        return max(1, (self._gpus() or sum(self.client.nthreads().values())) + self.waiting)

    def _gpus(self) -> int:
        """GPUs that the workers have declared, as ``dask worker --resources GPU=1`` does; work takes one each."""
        if not self.gpu:
            return 0
        workers = self.client.scheduler_info()["workers"].values()
        return int(sum(worker["resources"].get("GPU", 0) for worker in workers))

    def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        from distributed import CancelledError, KilledWorker

        # Not pure: asked for twice, it is done twice; the store decides what is there, and not Dask's memory.
        resources = {"GPU": 1} if self._gpus() else None
        future = self.client.submit(work, *arguments, pure=False, resources=resources)
        self._wait(future)
        try:
            return future.result()
        except KilledWorker as killed:
            raise EngineError(
                f"a shard ended {killed.allowed_failures + 1} worker processes one after another, most often for "
                "want of memory: lower --batch-size or --workers, and look into the log of the workers"
            ) from None
        except CancelledError:
            raise EngineError(
                f"{self._name} went away: start it, and run the same again to go on where this stopped"
            ) from None

    def _wait(self, future: Any) -> None:
        """Until it is done, as long as there is a worker to do it."""
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        alone = 0.0
        while not done.wait(_CHECK_SECONDS):
            alone = 0.0 if self.client.scheduler_info(0)["n_workers"] else alone + _CHECK_SECONDS
            if alone >= _NO_WORKER_SECONDS:
                future.cancel()
                raise EngineError(
                    f"{self._name} has had no worker for {alone:.0f} s: start some with dask worker ADDRESS"
                )

    @property
    def _name(self) -> str:
        return f"the Dask scheduler {self.client.scheduler.address}"


def require_dask() -> None:
    """Raises `ConfigError` when Dask, or Prefect's client of it, is not installed."""
    optional_package("distributed", "dask")
    optional_package("prefect_dask", "dask")


def _connect(address: str) -> "PrefectDaskClient":
    from prefect_dask.client import PrefectDaskClient

    try:
        return PrefectDaskClient(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"no Dask scheduler answers at {address} ({type(error).__name__}): start dask scheduler there, or give "
            "the --address that it prints, like tcp://HOST:8786"
        ) from None


def _start(workers: int) -> "PrefectDaskClient":
    """Processes of one thread each, which a nanny starts again when they die."""
    import dask
    from distributed import LocalCluster
    from prefect_dask.client import PrefectDaskClient

    # A process that dies again and again while it imports torch would be given up, and its place with it.
    dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})
    logging.getLogger("distributed.nanny").setLevel(logging.WARNING)  # says that it starts one again
    threads = str(share(workers))
    try:
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            security=True,  # whoever may talk to a scheduler may run code: on this machine, only this process
            dashboard_address="127.0.0.1:0",
            memory_limit=None,  # mapped files count as memory there, and a worker would be ended for reading
            silence_logs=False,
            env={"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
        )
    except RuntimeError as error:
        raise EngineError(
            f"the worker processes did not start ({str(error).rstrip('.')}): run the same again; if it stays so, something "
            "on this machine ends them, a limit on memory perhaps: lower --workers"
        ) from None
    return PrefectDaskClient(cluster, set_as_default=False)


def close() -> None:
    """End the processes and connections of this process; the next `open_engine` makes new ones."""
    logging.getLogger("distributed.nanny").setLevel(logging.CRITICAL)  # nobody waits for these any more
    while _clients:
        _, client = _clients.popitem()
        cluster = client.cluster
        client.close()
        if cluster is not None:
            cluster.close()


atexit.register(close)
