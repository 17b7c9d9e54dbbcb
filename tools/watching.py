"""The automations of a Prefect server, watched while they fire: `make watch`.

Starts a server (on PostgreSQL where that is installed), deploys everything, and has workers run what follows:

1. a training from its deployment, which robustness and indexing must follow;
2. an ingestion of missing data, which must send a notification;
3. a training that is killed together with its worker, so that no process reports its end: it must be marked crashed
   and send a notification;
4. a training that takes too long: it must be cancelled, by the automation that gives runs a day, here a few seconds.

Prints how long each took, and ends with exit code 1 where one did not happen.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.events.schemas.automations import AutomationCore
from support.prefect_place import prefect_place
from support.receiver import Receiver, receiver

from flows.deploying import Plan, deploy
from flows.local_server import prefect_worker
from mmer_core.config import RuntimeConfig

_TOO_LONG = 10  # seconds that stand for a day
_LONG = {"dataset": {"dataset": "emotic", "synthetic": {"images": 5000}}}
_SETTINGS = Path(__file__).with_name("chaos") / "tiny.toml"


@dataclass(frozen=True)
class Place:
    """What the cases share."""

    client: SyncPrefectClient
    api: str
    notices: Receiver
    runtime: dict[str, str]

    def start(self, name: str, job: dict[str, Any]) -> FlowRun:
        return run_deployment(
            f"{name}/{name}", parameters={"job": job | {"runtime": self.runtime}}, timeout=0
        )

    def runs_of(self, name: str) -> list[FlowRun]:
        wanted = self.client.read_deployment_by_name(f"{name}/{name}").id
        return [run for run in self.client.read_flow_runs() if run.deployment_id == wanted]

    def put(self, automation: str, body: dict[str, Any]) -> None:
        self.client.request("PUT", "/automations/{id}", path_params={"id": automation}, json=body)

    def state(self, run: FlowRun) -> str:
        state = self.client.read_flow_run(run.id).state
        return state.name if state else ""


def main() -> int:
    failed = False
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # failures are intended here
    with (
        tempfile.TemporaryDirectory(prefix="mmer-watch-", ignore_cleanup_errors=True) as name,
        receiver() as notices,
    ):
        folder = Path(name)
        runtime = RuntimeConfig(store=str(folder / "store"), work=folder / "work")
        with prefect_place(folder / "prefect") as (api, database), get_client(sync_client=True) as client:
            deploy(Plan(runtime, notify_url=notices.url))
            print(f"Prefect server on {'PostgreSQL' if database else 'SQLite'}", flush=True)
            where = {"store": runtime.store, "work": str(runtime.work)}
            place = Place(client, api, notices, where)
            for case in (followed, failing, zombie, endless):
                try:
                    for line in case(place):
                        print(line, flush=True)
                except AssertionError as error:
                    failed = True
                    print(f"{case.__name__}: DID NOT HAPPEN: {error}", flush=True)
    return int(failed)


def followed(place: Place) -> list[str]:
    settings = tomllib.loads(_SETTINGS.read_text())
    shared = {name: settings[name] for name in ("encoders", "training", "evaluation")}
    lines = []
    with prefect_worker(place.api, "mmer"):
        training = place.start("train", shared | {"dataset": settings["datasets"]["flickr8k"]})
        until(
            lambda: place.state(training) == "Completed",
            240,
            lambda: f"the training is {place.state(training)}",
        )
        ended = time.monotonic()
        for name in ("robustness", "index"):
            until(lambda name=name: bool(place.runs_of(name)), 60, lambda name=name: f"no {name} was started")
        lines.append(f"training completed -> robustness and index scheduled after {since(ended)}")
        for name in ("robustness", "index"):
            (run,) = place.runs_of(name)
            until(
                lambda run=run: place.state(run) == "Completed",
                300,
                lambda run=run: f"it is {place.state(run)}",
            )
            lines.append(f"training completed -> {name} completed after {since(ended)}")
    return lines


def failing(place: Place) -> list[str]:
    with prefect_worker(place.api, "mmer"):
        run = place.start("ingest", {"dataset": {"root": "/no/such/folder"}})
        until(lambda: place.state(run) == "Failed", 120, lambda: f"the ingestion is {place.state(run)}")
        ended = time.monotonic()
        message = place.notices.wait_for(run.name, 60)
    return [
        f"ingestion failed -> notified after {since(ended)}: {message['title']!r}, {message['message']!r}"
    ]


def zombie(place: Place) -> list[str]:
    """A worker of its own, in a session that can be killed whole."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "mmer"]
    worker = subprocess.Popen(
        command, env=os.environ | {"PREFECT_API_URL": place.api}, stdout=subprocess.DEVNULL
    )
    run = place.start("train", _LONG)
    try:
        until(lambda: place.state(run) == "Running", 120, lambda: f"the training is {place.state(run)}")
        until(lambda: heartbeats(place, run) > 0, 60, lambda: "there is no heartbeat")
    finally:
        killed_whole(worker)
    killed = time.monotonic()
    until(lambda: place.state(run) == "Crashed", 300, lambda: f"the killed run is {place.state(run)}")
    lines = [f"run and worker killed -> marked crashed after {since(killed)}"]
    message = place.notices.wait_for(run.name, 60)
    return [
        *lines,
        f"run and worker killed -> notified after {since(killed)}: {message['title']!r}, {message['message']!r}",
    ]


def endless(place: Place) -> list[str]:
    with shortened(place, "mmer runs end within a day", _TOO_LONG), prefect_worker(place.api, "mmer"):
        run = place.start("train", _LONG)
        until(lambda: place.state(run) == "Running", 120, lambda: f"the training is {place.state(run)}")
        running = time.monotonic()
        until(lambda: place.state(run) == "Cancelled", 180, lambda: f"the training is {place.state(run)}")
        return [f"training runs for more than {_TOO_LONG} s -> cancelled after {since(running)}"]


@contextmanager
def shortened(place: Place, name: str, seconds: int) -> Iterator[None]:
    """An automation as it was deployed, but that waits for so long only."""
    named = {"automations": {"name": {"any_": [name]}}}
    (found,) = place.client.request("POST", "/automations/filter", json=named).json()
    whole = AutomationCore.model_validate(found).model_dump(mode="json", exclude={"owner_resource"})
    place.put(found["id"], whole | {"trigger": whole["trigger"] | {"within": seconds}})
    try:
        yield
    finally:
        place.put(found["id"], whole)


def heartbeats(place: Place, run: FlowRun) -> int:
    """How many of the run the server has."""
    wanted = {
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "resource": {"id": [f"prefect.flow-run.{run.id}"]},
    }
    found = place.client.request("POST", "/events/filter", json={"filter": wanted}).json()
    return int(found["total"])


def killed_whole(worker: "subprocess.Popen[bytes]") -> None:
    """SIGKILL, to the worker first: it would tell how its run ended."""
    below = psutil.Process(worker.pid).children(recursive=True)
    worker.kill()
    worker.wait()
    for process in below:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def until(happened: Callable[[], bool], seconds: float, otherwise: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"{otherwise()} after {seconds:.0f} s"
        time.sleep(0.25)


def since(start: float) -> str:
    return f"{time.monotonic() - start:.1f} s"


if __name__ == "__main__":
    raise SystemExit(main())
