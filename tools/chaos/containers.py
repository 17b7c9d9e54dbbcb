"""Faults of containers: the pipeline runs in one, and keeps its store on the compose file's storage, in another."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from uuid import uuid4

from support.small_disk import small_disk

from tools.chaos.arena import CONFIGURATION, Arena, Place
from tools.chaos.faults import Fault, Harm, NotPossibleHere, ended, wait_for_a_moment
from tools.images.build import IMAGE
from tools.images.engine import CONFINED, Engine
from tools.images.services import BUCKET, NETWORK, Services, container_of, shut_in

FAULTS = (
    "container killed",
    "container's volume full",
    "container's network cut",
    "storage's container killed",
)
_SECONDS = 600
"""For a container to start on a busy machine."""


@dataclass(frozen=True)
class Containers:
    """The storage, and what a run needs to reach it."""

    engine: Engine
    services: Services

    @classmethod
    def started(cls, folder: Path) -> "Containers":
        """Shut this process in with its containers, and start the storage.

        Args:
            folder: Where `tools.images` keeps its images.
        """
        engine = Engine(folder)
        shut_in(engine)
        services = Services(engine)
        services.make("storage")
        self = cls(engine, services)
        self.start_storage()
        return self

    def start_storage(self) -> None:
        self.engine.run("podman", "start", container_of("storage"))
        self.engine.wait_until_healthy(container_of("storage"), _SECONDS)

    def place(self, arena: Arena, name: str, disk: Path | None = None) -> "ContainerPlace":
        """A place whose runs are containers.

        Args:
            arena: Keeps its folder.
            name: Its name.
            disk: Folder that is the container's volume; by default one without a limit.
        """
        folder = arena.folder / name
        folder.mkdir(exist_ok=True)
        work = disk or folder / "work"
        work.mkdir(exist_ok=True)
        work.chmod(0o777)
        direct = self.services.store_env
        env = direct | {"AWS_ENDPOINT_URL_S3": "http://storage:8333"}
        return ContainerPlace(folder, f"s3://{BUCKET}/{uuid4().hex}", work, env, direct, engine=self.engine)


@dataclass(frozen=True)
class ContainerPlace(Place):
    """Runs are containers, as nobody, with a read-only root and the work folder as their volume."""

    engine: Engine = field(kw_only=True)

    @property
    def container(self) -> str:
        return f"chaos-{self.folder.name}"

    def start(self, *flags: str) -> BaseProcess:
        """Start the pipeline in a container; the process ends as the container does."""
        given = {"OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1", "AWS_EC2_METADATA_DISABLED": "true"}
        command = [
            *("podman", "run", "--rm", "--replace", "--name", self.container, *CONFINED),
            *(f"--network={NETWORK}", "--user=1000", f"--volume={self.work}:/work"),
            f"--volume={CONFIGURATION}:/tiny.toml:ro",
            *(f"--env={name}={value}" for name, value in (given | dict(self.env)).items()),
            *(IMAGE, "mmer", "pipeline", "--config", "/tiny.toml"),
            *("--store", self.store, "--work", "/work", "--checkpoint-seconds", "0", *flags),
        ]
        process = get_context("fork").Process(
            target=_run, args=(command, self.container, self.engine, self.log)
        )
        process.start()
        return process


def _run(command: list[str], container: str, engine: Engine, log: Path) -> None:
    def stop(*_: object) -> None:  # sent to what hangs: it prints where
        engine.tried("podman", "kill", "--signal", "ABRT", container)

    signal.signal(signal.SIGABRT, stop)
    with log.open("a") as output:
        code = subprocess.run(command, env=engine.env, stdout=output, stderr=output, check=False).returncode
    if code == 128 + signal.SIGKILL:
        os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit(code)


def faults_of(containers: Containers) -> dict[str, Fault]:
    """The faults, by name."""
    podman = containers.engine.run

    def container_killed(arena: Arena, name: str, rng: random.Random) -> Harm:
        """SIGKILL of the container that runs the pipeline."""
        place = containers.place(arena, name)
        process = place.start("--workers", "2")
        when = wait_for_a_moment(arena, place, rng, process)
        with suppress(AssertionError):  # it may have ended in this moment
            podman("podman", "kill", place.container)
        return Harm(when, ended(process, place), place)

    def volume_full(arena: Arena, name: str, rng: random.Random) -> Harm:
        """A volume with room for a part of what comes; it grows before the next run."""
        share = rng.uniform(0.02, 0.6)
        small = arena.enter(small_disk(disk := arena.folder / f"{name}-volume", int(share * arena.kibibytes)))
        if small is None:
            raise NotPossibleHere("a small disk cannot be mounted here (it takes root)")
        place = containers.place(arena, name, disk)
        met = ended(place.start("--workers", "2"), place)
        small.grow(10 * arena.kibibytes)
        return Harm(f"room for {share:.0%} of a store and its work", met, place)

    def network_cut(arena: Arena, name: str, rng: random.Random) -> Harm:
        """The container is taken off the network, and connected again a little later."""
        place = containers.place(arena, name)
        process = place.start("--workers", "2")
        when = wait_for_a_moment(arena, place, rng, process)
        away = rng.uniform(0, 10)
        with suppress(AssertionError):
            podman("podman", "network", "disconnect", "--force", NETWORK, place.container)
            time.sleep(away)
            podman("podman", "network", "connect", NETWORK, place.container)
        return Harm(f"{when}, cut off for {away:.1f} s", ended(process, place), place)

    def storage_killed(arena: Arena, name: str, rng: random.Random) -> Harm:
        """SIGKILL of the storage's container, which is started again."""
        place = containers.place(arena, name)
        process = place.start("--workers", "2")
        when = wait_for_a_moment(arena, place, rng, process)
        podman("podman", "kill", container_of("storage"))
        away = rng.uniform(0, 5)
        time.sleep(away)
        containers.start_storage()
        return Harm(f"{when}, gone for {away:.1f} s and its start", ended(process, place), place)

    return dict(zip(FAULTS, (container_killed, volume_full, network_cut, storage_killed), strict=True))
