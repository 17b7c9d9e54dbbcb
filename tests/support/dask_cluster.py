"""A real Dask cluster on this machine: a scheduler and workers, each a process that a test may kill."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client

from tasks.engines.dask import _clients

_LOOPBACK = "tcp://127.0.0.1"


@dataclass
class DaskCluster:
    """A scheduler and the workers that it has been given.

    Attributes:
        address: Of the scheduler.
        folder: Where the processes work, and leave their logs.
        workers: Processes by name, dead ones too.
    """

    address: str
    folder: Path
    client: Client
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def expect(self, count: int) -> None:
        """Have so many workers alive, of one thread each and without a nanny that would start them again."""
        self.start_missing(count)
        self.client.wait_for_workers(count, timeout=60)

    def start_missing(self, count: int) -> None:
        """The same, without waiting until they have joined."""
        for _ in range(count - len(self.alive())):
            name = f"worker-{len(self.workers)}"
            flags = ["--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
            self.workers[name] = start("worker", self.address, *flags, folder=self.folder, log=name)

    def alive(self) -> list[str]:
        """Names of the workers whose processes run."""
        return [name for name, process in self.workers.items() if process.poll() is None]

    def busy(self) -> list[str]:
        """Names of the workers that have something to do."""
        doing = self.client.processing()
        known = self.client.scheduler_info()["workers"]
        return [known[address]["name"] for address, tasks in doing.items() if tasks and address in known]


def start(role: str, *arguments: str, folder: Path, log: str) -> subprocess.Popen[bytes]:
    """``dask scheduler`` or ``dask worker``."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments]
    with (folder / f"{log}.log").open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)


@contextmanager
def dask_cluster(folder: Path) -> Iterator[DaskCluster]:
    """A scheduler without workers yet; all are gone afterwards."""
    address_file = folder / "scheduler.json"
    flags = ["--host", _LOOPBACK, "--port", "0", "--no-dashboard", "--scheduler-file", str(address_file)]
    scheduler = start("scheduler", *flags, folder=folder, log="scheduler")
    workers: dict[str, subprocess.Popen[bytes]] = {}
    try:
        deadline = time.monotonic() + 60
        while not address_file.exists():
            assert scheduler.poll() is None, (folder / "scheduler.log").read_text()
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.05)
        with Client(scheduler_file=str(address_file), set_as_default=False) as client:
            yield DaskCluster(client.scheduler.address, folder, client, workers)
            if connected := _clients.pop((client.scheduler.address, 0), None):
                connected.close()  # or it would look for its scheduler for a while, and say so
    finally:
        for process in (*workers.values(), scheduler):
            process.kill()
            process.wait()
