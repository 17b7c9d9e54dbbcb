"""The faults. Each harms one run at a random moment and tells what the run made of it.

A moment is a number of artifacts that are published and a fraction of a second more, so that a busy machine does
not move all faults to the beginning.
"""

import random
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
from support.s3_server import client_of
from support.small_disk import small_disk
from support.tcp_proxy import Harmed

from mmer_core.store import ArtifactKey
from tools.chaos.arena import Arena, Place, last_words, wait_for, wait_until

_DAMAGED = re.compile(
    r"of ([\w-]+/[0-9a-f]{32}) is (?:damaged|missing)|artifact ([\w-]+/[0-9a-f]{32}) is damaged"
)


@dataclass(frozen=True)
class Harm:
    """What a fault did, what the run that it met came to, and where the next run is to go on."""

    what: str
    met: str
    place: Place


Fault = Callable[[Arena, str, random.Random], Harm]
"""Harms a run in the arena, in a place of a name."""


def flow_killed(arena: Arena, name: str, rng: random.Random) -> Harm:
    """SIGKILL of the process that runs the pipeline."""
    place = rng.choice((arena.local, arena.on_s3))(name)
    process = place.start("--workers", "2")
    when = wait_for_a_moment(arena, place, rng, process)
    process.kill()
    return Harm(f"{when}, {_store(place)}", ended(process, place), place)


def worker_killed(arena: Arena, name: str, rng: random.Random) -> Harm:
    """SIGKILL of a process that does shards for the pipeline's."""
    place = arena.local(name)
    process = place.start("--engine", "processes", "--workers", "2")
    root = psutil.Process(process.pid)
    wait_until(lambda: len(_workers(root)) == 2, process)
    when = wait_for_a_moment(arena, place, rng, process)
    workers = _workers(root) if process.is_alive() else []
    for victim in rng.sample(workers, min(1, len(workers))):
        victim.kill()
    return Harm(when, ended(process, place), place)


def dask_worker_killed(arena: Arena, name: str, rng: random.Random) -> Harm:
    """SIGKILL of a worker of a Dask cluster; another one joins some time later."""
    place = arena.local(name)
    arena.dask.expect(1)
    arena.dask.start_missing(2)
    process = place.start("--engine", "dask", "--address", arena.dask.address, "--workers", "2")
    when = wait_for_a_moment(arena, place, rng, process)
    victim = rng.choice(sorted(arena.dask.alive()))
    arena.dask.workers[victim].kill()
    arena.dask.workers[victim].wait()
    arena.dask.start_missing(2)
    return Harm(when, ended(process, place), place)


def s3_server_killed(arena: Arena, name: str, rng: random.Random) -> Harm:
    """SIGKILL of the server that holds the store; it is started again a little later."""
    place = arena.on_s3(name)
    process = place.start("--workers", "2")
    when = wait_for_a_moment(arena, place, rng, process)
    arena.s3.kill()
    away = rng.uniform(0, 5)
    time.sleep(away)
    if not arena.s3.start():
        raise AssertionError("the S3 server does not start again")
    return Harm(f"{when}, gone for {away:.1f} s and its start", ended(process, place), place)


def disk_full(arena: Arena, name: str, rng: random.Random) -> Harm:
    """A disk with room for a part of what comes; it grows before the next run."""
    share = rng.uniform(0.05, 0.95)
    place = arena.local(name, disk := arena.folder / f"{name}-disk")
    small = arena.enter(small_disk(disk, int(share * arena.kibibytes)))
    if small is None:
        raise NotPossibleHere("a small disk cannot be mounted here (it takes root)")
    met = ended(place.start("--workers", "2"), place)
    small.grow(10 * arena.kibibytes)
    return Harm(f"room for {share:.0%}", met, place)


def connections_reset(arena: Arena, name: str, rng: random.Random) -> Harm:
    """Connections to the S3 server are reset or closed after a random number of bytes, again and again."""
    place = arena.on_s3(name)
    process = place.start("--workers", "2")
    when = wait_for_a_moment(arena, place, rng, process)
    done = arena.proxy.done
    for _ in range(rng.randint(1, 8)):
        harm, direction = rng.choice(("reset", "close")), rng.choice(("up", "down"))
        after = int(10 ** rng.uniform(1, 5))
        arena.proxy.harms.append(Harmed(harm, direction, after, times=rng.randint(1, 4)))
    arena.proxy.drop()
    try:
        met = ended(process, place)
    finally:
        arena.proxy.harms.clear()
    return Harm(f"{when}, {arena.proxy.done - done} connections", met, place)


def object_corrupted(arena: Arena, name: str, rng: random.Random) -> Harm:
    """A run is killed, and a bit flips in something that it had stored."""
    place = rng.choice((arena.local, arena.on_s3))(name)
    process = place.start("--workers", "2")
    when = wait_for_a_moment(arena, place, rng, process, least=1)
    process.kill()
    process.join()
    what = _flip_on_s3(arena, place, rng) if place.env else _flip_in_folder(Path(place.store), rng)
    return Harm(f"{what} {when}, {_store(place)}", _cured(place), place)


FAULTS: dict[str, Fault] = {
    "flow killed": flow_killed,
    "worker process killed": worker_killed,
    "Dask worker killed": dask_worker_killed,
    "S3 server killed": s3_server_killed,
    "disk full": disk_full,
    "connections reset": connections_reset,
    "object corrupted": object_corrupted,
}


class NotPossibleHere(Exception):
    """The fault needs something that this machine does not allow."""


def wait_for_a_moment(
    arena: Arena, place: Place, rng: random.Random, process: BaseProcess, least: int = 0
) -> str:
    wanted = rng.randint(least, arena.artifacts - 1)
    more = rng.uniform(0, 0.5)
    reached = wait_until(lambda: place.published() >= wanted, process)
    process.join(more)
    return f"after {place.published()} of {arena.artifacts} artifacts" if reached else "after the end"


def _store(place: Place) -> str:
    return "store on S3" if place.env else "store in a folder"


def ended(process: BaseProcess, place: Place) -> str:
    """What became of a run; an error must be one sentence."""
    code = wait_for(process, place)
    if code == 0:
        return "went on to the end"
    if code == -signal.SIGKILL:
        return "died"
    if code != 1 or not last_words(place).startswith("mmer: "):
        raise AssertionError(
            f"exit code {code} without a clear error: {last_words(place)}; its log is {place.log}"
        )
    return f"said: {last_words(place).removeprefix('mmer: ')}"


def _workers(root: psutil.Process) -> list[psutil.Process]:
    """Processes that do shards, and neither their helpers nor the keepers of shared resources."""
    with suppress(psutil.NoSuchProcess):
        return [one for one in root.children(recursive=True) if "spawn_main" in " ".join(one.cmdline())]
    return []


def _flip_in_folder(store: Path, rng: random.Random) -> str:
    blob = rng.choice(
        sorted(path for path in (store / "blobs").rglob("*") if path.stat().st_size and path.is_file())
    )
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        position = rng.randrange(blob.stat().st_size)
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1 << rng.randrange(8)]))
    blob.chmod(0o444)
    return "a file"


def _flip_on_s3(arena: Arena, place: Place, rng: random.Random) -> str:
    client = client_of(arena.s3)
    prefix = f"{place.store.rpartition('/')[2]}/blobs/"
    found = client.list_objects_v2(Bucket=arena.s3.bucket, Prefix=prefix).get("Contents", [])
    key = rng.choice(sorted(one["Key"] for one in found if one["Size"]))
    body = bytearray(client.get_object(Bucket=arena.s3.bucket, Key=key)["Body"].read())
    body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    client.put_object(Bucket=arena.s3.bucket, Key=key, Body=bytes(body))
    return "an object"


def _cured(place: Place) -> str:
    """Run again, and do what the error says, and what ``verify`` says of what no run has read."""
    cures = 0
    while code := wait_for(place.start("--workers", "2"), place):
        named = _DAMAGED.search(last_words(place))
        if code != 1 or named is None or cures == 5:
            raise AssertionError(
                f"exit code {code}, and no cure: {last_words(place)}; its log is {place.log}"
            )
        place.open().delete(ArtifactKey.parse(named.group(1) or named.group(2)))
        cures += 1
    found = [key for key in place.open().keys() if place.open().verify(key)]
    for key in found:
        place.open().delete(key)
    if cures:
        return f"said what is damaged and what to do, {cures} times"
    return f"found by verify, {len(found)} artifacts" if found else "made again without having been read"
