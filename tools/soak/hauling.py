"""The haul itself: a Prefect server, a worker that runs the pipeline, the service under load, and what is collected beside them."""

import os
import random
import sqlite3
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings
from support.served import Served, serving
from support.small_pipeline import Study, start_mmer

from flows.deploying import Plan, deploy
from flows.local_server import free_port, prefect_server, prefect_worker
from mmer_core.config import PipelineJob, RuntimeConfig
from mmer_core.store import ArtifactKey
from tools.soak.sampling import Watched

_SETTINGS = Path(__file__).parents[1] / "chaos" / "tiny.toml"
_PERIOD = timedelta(hours=2)
"""For which the server keeps runs; Prefect refuses an hour or less. Runs here are made older, see `Haul.age_runs`."""
_RUN_SECONDS = 900.0


class Broken(Exception):
    """The haul cannot go on."""


@dataclass
class Haul:
    """The parts of a haul, and what it has done so far.

    Attributes:
        kept: Minutes for which results and runs are kept.
        made: What each run has made and no other had, with when it ended.
        runs: How many runs ended well.
        answers: How many requests the service answered.
        troubles: What went wrong, in sentences.
    """

    client: SyncPrefectClient
    runtime: RuntimeConfig
    database: Path
    kept: float
    watched: Watched
    service: Served | None = None
    made: list[tuple[float, set[ArtifactKey]]] = field(default_factory=list)
    runs: int = 0
    collections: int = 0
    answers: int = 0
    troubles: list[str] = field(default_factory=list)

    def go_on(self, until: float, every: float) -> None:
        """Runs, one after the other, and after each what is old is deleted.

        Args:
            until: By `time.monotonic`.
            every: Seconds from the start of one to that of the next, at least.
        """
        next_start = time.monotonic()
        while max(next_start, time.monotonic()) < until and not self.troubles:
            time.sleep(max(0.0, next_start - time.monotonic()))
            next_start = time.monotonic() + every
            before = set(self.runtime.open_store().keys())
            self.run(seed=self.runs + 1)
            self.made.append((time.monotonic(), set(self.runtime.open_store().keys()) - before))
            self.runs += 1
            self._delete_old()
            self.age_runs()

    def run(self, seed: int) -> None:
        """One study, to its end."""
        settings = pipeline_settings(seed) | {"runtime": self.runtime.model_dump(mode="json")}
        started = run_deployment("pipeline/pipeline", parameters={"config": settings}, timeout=0)
        deadline = time.monotonic() + _RUN_SECONDS
        while True:
            run = self.client.read_flow_run(started.id)
            if run.state is not None and run.state.is_final():
                break
            if time.monotonic() > deadline:
                raise Broken(f"run {seed} is {run.state and run.state.name} after {_RUN_SECONDS:.0f} s")
            time.sleep(0.5)
        if not _completed(run):
            self.troubles.append(
                f"run {seed} is {run.state and run.state.name}: {run.state and run.state.message}"
            )

    def _delete_old(self) -> None:
        """The results of runs that ended long ago, as a team does that keeps the last ones."""
        store = self.runtime.open_store()
        while self.made and self.made[0][0] < time.monotonic() - 60 * self.kept:
            for key in self.made.pop(0)[1]:
                store.delete(key)

    def age_runs(self) -> None:
        """Runs that ended a few minutes ago ended hours ago: so the server's own cleaning finds them too old."""
        old = datetime.now(UTC) - timedelta(minutes=self.kept)
        with closing(sqlite3.connect(self.database, timeout=60)) as connection, connection:
            connection.execute(
                "UPDATE flow_run SET end_time = datetime(end_time, ?) WHERE end_time < ? AND end_time > ?",
                (f"-{2 * _PERIOD.total_seconds():.0f} seconds", _as_stored(old), _as_stored(old - _PERIOD)),
            )

    def collect(self, every: float, over: threading.Event) -> None:
        """``mmer artifacts gc``, again and again, in processes of its own."""
        log = self.watched.work.parent / "gc.txt"
        flags = [
            "--older-than",
            f"{self.kept / 60:g}",
            "--store",
            self.runtime.store,
            "--work",
            str(self.runtime.work),
        ]
        while not over.wait(every):
            process = start_mmer(["artifacts", "gc", *flags, "--cache-gb", f"{self.runtime.cache_gb:g}"], log)
            process.join(300)
            if process.exitcode:
                self.troubles.append(
                    f"a collection ended with code {process.exitcode}: {log.read_text()[-500:]}"
                )
            self.collections += 1

    def ask(self, a_second: float, over: threading.Event) -> None:
        """Questions to the service, so many a second at most."""
        assert self.service is not None
        words, rng = ("dog", "snow", "a man smiles", "red", "two children", "a tree"), random.Random(0)
        while not over.wait(1 / a_second):
            try:
                with urlopen(
                    f"{self.service.url}/api/search?{urlencode({'text': rng.choice(words)})}", timeout=60
                ) as answer:
                    answer.read()
                self.answers += 1
            except (URLError, OSError) as error:
                self.troubles.append(f"the service did not answer: {error}")
                return


@contextmanager
def hauling(folder: Path, kept: float, a_second: float, gc_seconds: float) -> Iterator[Haul]:
    """Everything started and a first run made, whose index the service has; collections and questions go on beside."""
    runtime = RuntimeConfig(
        store=str(folder / "store"), work=folder / "work", workers=1, cache_gb=0.02, device="cpu"
    )
    database = folder / "prefect" / "prefect.db"
    settings = {
        "PREFECT_HOME": str(database.parent),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",  # SQLite is locked now and then, and asked again
        "DO_NOT_TRACK": "1",
        # As docs/operations.md says, but every few seconds.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "true",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": f"{_PERIOD.total_seconds():.0f}",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "15",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "30",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"PT{60 * kept:.0f}S",
    }
    with ExitStack() as stack:
        stack.enter_context(
            patch.dict("os.environ", {"PREFECT_HOME": str(database.parent), "DO_NOT_TRACK": "1"})
        )
        api = stack.enter_context(prefect_server(free_port(), settings=settings))
        stack.enter_context(patch.dict("os.environ", {"PREFECT_API_URL": api}))
        stack.enter_context(temporary_settings({PREFECT_API_URL: api}))
        client = stack.enter_context(get_client(sync_client=True))
        deploy(Plan(runtime))
        worker = stack.enter_context(prefect_worker(api, "mmer", limit=1))
        job = PipelineJob.model_validate(pipeline_settings(0) | {"runtime": runtime})
        processes = {"server": _server(), "worker": worker.pid, "loop": os.getpid()}
        place = Watched(processes, frozenset({"worker", "loop"}), Path(runtime.store), runtime.work, database)
        haul = Haul(client, runtime, database, kept, place)
        haul.run(seed=0)
        if haul.troubles:
            raise Broken(haul.troubles[0])
        (report,) = runtime.open_store().keys("report")
        haul.service = stack.enter_context(serving(Study(job, report), folder / "service.txt"))
        processes["service"] = int(haul.service.process.pid or 0)
        over = threading.Event()
        beside = [
            threading.Thread(target=haul.collect, args=(gc_seconds, over)),
            threading.Thread(target=haul.ask, args=(a_second, over)),
        ]
        for thread in beside:
            thread.start()
        try:
            yield haul
        finally:
            over.set()
            for thread in beside:
                thread.join()


def pipeline_settings(seed: int) -> dict[str, Any]:
    """The smallest study; a seed decides all but what is prepared and encoded."""
    settings = tomllib.loads(_SETTINGS.read_text())
    settings["training"] = settings["training"] | {"seed": seed}
    return settings


def _server() -> int:
    """The process of the Prefect server that this one has started."""
    for one in psutil.Process().children():
        if {"server", "start"} <= set(one.cmdline()):
            return one.pid
    raise Broken("the Prefect server has ended")


def _completed(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_completed()


def _as_stored(at: datetime) -> str:
    """A time as Prefect's SQLite has it."""
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")
