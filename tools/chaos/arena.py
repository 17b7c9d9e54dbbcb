"""Where chaos happens: a place for every run, the servers that all of them use, and what has to come out."""

import os
import re
import signal
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch
from uuid import uuid4

from support.dask_cluster import DaskCluster, dask_cluster
from support.s3_server import S3Server, s3_server
from support.small_pipeline import digests, start_mmer
from support.tcp_proxy import TcpProxy, tcp_proxy

from mmer_core.store import ArtifactKey, Store, open_store

T = TypeVar("T")

CONFIGURATION = Path(__file__).with_name("tiny.toml")
_NO_RESULT = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d UTC|<td>[\d.,]+ s</td>")
DEADLINE = 300.0
"""Seconds after which a run hangs."""


@dataclass(frozen=True)
class Place:
    """Store, work folder and log of one run.

    Attributes:
        env: With which the store is reached through a proxy, where one is.
        direct: With which it is looked at, past the proxy.
    """

    folder: Path
    store: str
    work: Path
    env: Mapping[str, str] = field(default_factory=dict)
    direct: Mapping[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def start(self, *flags: str) -> BaseProcess:
        """Start the pipeline; what is printed is added to the log."""
        command = [
            "pipeline",
            "--config",
            str(CONFIGURATION),
            "--store",
            self.store,
            "--work",
            str(self.work),
        ]
        command += ["--checkpoint-seconds", "0", *flags]
        return start_mmer(command, self.log, self.env, parent=True)

    def open(self) -> Store:
        """The store, without what a run has fetched from it."""
        with patch.dict("os.environ", self.direct):
            return open_store(self.store, self.folder / "seen")

    @cached_property
    def seen(self) -> Store:
        """For looking at the store again and again."""
        return self.open()

    def published(self) -> int:
        """Number of artifacts that are there."""
        return sum(1 for _ in self.seen.keys())


@dataclass(frozen=True)
class Outcome:
    """What a finished study left.

    Attributes:
        files: SHA-256 of every file, by artifact and path.
        joined: Shards that a whole was made of: no run makes them again once the whole is there.
        report: The page, without when and where it was written, and without how long trainings took.
    """

    files: dict[ArtifactKey, dict[str, str]]
    joined: frozenset[ArtifactKey]
    report: bytes

    @classmethod
    def of(cls, store: Store) -> "Outcome":
        made = list(store.list())
        (report,) = (manifest.key for manifest in made if manifest.kind == "report")
        page = (store.fetch(report) / "report.html").read_bytes()
        files = {manifest.key: digests(manifest) for manifest in made}
        del files[report]["report.html"]
        joined = frozenset(ArtifactKey.parse(shard) for manifest in made for shard in manifest.shards)
        return cls(files, joined, _NO_RESULT.sub(b"", page.replace(store.place.encode(), b"")))

    def differences(self, calm: "Outcome") -> list[str]:
        """What is not the same as in an undisturbed run, by key. Shards of a whole that is there may be gone."""
        keys = sorted((self.files.keys() | calm.files.keys()) - (self.joined - self.files.keys()), key=str)
        found = [str(key) for key in keys if self.files.get(key) != calm.files.get(key)]
        return found if self.report == calm.report else [*found, "the report's page"]


@dataclass
class Arena:
    """Servers that are started when a fault first needs them, and the undisturbed run."""

    folder: Path
    _stack: ExitStack
    elsewhere: "dict[type[Place], Outcome]" = field(default_factory=dict)
    """What an undisturbed run makes where other versions of libraries may be installed."""

    @cached_property
    def calm(self) -> Outcome:
        """What comes out when nothing happens."""
        place = self.local("calm")
        finish(place.start(), place)
        return Outcome.of(place.open())

    def calm_of(self, place: Place) -> Outcome:
        """What comes out when nothing happens in such a place."""
        return self.elsewhere.get(type(place)) or self.calm

    @cached_property
    def artifacts(self) -> int:
        """Artifacts of a finished run."""
        return len(self.calm.files)

    @cached_property
    def kibibytes(self) -> int:
        """Disk that a finished run takes, its store and what it works with."""
        files = (path.stat() for path in (self.folder / "calm").rglob("*") if path.is_file())
        return sum({status.st_ino: status.st_blocks for status in files}.values()) // 2

    @cached_property
    def s3(self) -> S3Server:
        return self._stack.enter_context(s3_server(self.folder / "s3"))

    @cached_property
    def proxy(self) -> TcpProxy:
        return self._stack.enter_context(tcp_proxy(self.s3.endpoint))

    @cached_property
    def dask(self) -> DaskCluster:
        folder = self.folder / "dask"
        folder.mkdir()
        return self._stack.enter_context(dask_cluster(folder))

    def enter(self, context: AbstractContextManager[T]) -> T:
        """Have something until the end."""
        return self._stack.enter_context(context)

    def local(self, name: str, disk: Path | None = None) -> Place:
        """A store in a folder, on the disk that has the work folder too."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        root = disk or folder
        return Place(folder, str(root / "store"), root / "work")

    def on_s3(self, name: str) -> Place:
        """A store on the S3 server, behind the proxy."""
        folder = self.folder / name
        folder.mkdir()
        env = self.s3.env | {"AWS_ENDPOINT_URL_S3": self.proxy.endpoint}
        return Place(folder, f"s3://{self.s3.bucket}/{uuid4().hex}", folder / "work", env, self.s3.env)


@contextmanager
def arena(folder: Path) -> Iterator[Arena]:
    """Everything that was started is gone afterwards."""
    with ExitStack() as stack:
        yield Arena(folder, stack)


def finish(process: BaseProcess, place: Place) -> None:
    """Wait for a run that must succeed."""
    code = wait_for(process, place)
    if code:
        raise AssertionError(f"ended with exit code {code}: {last_words(place)}")


def wait_for(process: BaseProcess, place: Place) -> int:
    """Exit code of a run, which is negative for a signal."""
    process.join(DEADLINE)
    if process.exitcode is None:
        os.kill(process.pid, signal.SIGABRT)  # it prints where it stands
        process.join()
        raise AssertionError(f"hung for {DEADLINE:.0f} s; its log is {place.log}")
    return process.exitcode


def last_words(place: Place) -> str:
    """The last line that a run printed."""
    lines = place.log.read_text().strip().splitlines() if place.log.exists() else []
    return lines[-1] if lines else "(nothing was printed)"


def wait_until(happened: Callable[[], bool], process: BaseProcess) -> bool:
    """Whether it happened before the run ended."""
    deadline = time.monotonic() + DEADLINE
    while process.is_alive() and time.monotonic() < deadline:
        if happened():
            return True
        time.sleep(0.02)
    return False


def settings() -> dict[str, Any]:
    """The configuration of the runs, but for where they keep things."""
    return tomllib.loads(CONFIGURATION.read_text())
