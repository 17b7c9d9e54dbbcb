"""A Prefect server and a worker as processes on this machine."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from urllib.error import URLError
from urllib.request import urlopen

from mmer_core.errors import EngineError

KEEPING = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "true",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(30 * 24 * 3600),
}
"""Settings of a server that deletes runs which ended 30 days ago; its default keeps all for ever."""

_START_SECONDS = 180
_STOP_SECONDS = 30


@contextmanager
def prefect_server(
    port: int, host: str = "127.0.0.1", settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """Run a server until the block ends; yields the URL of its API.

    Args:
        settings: Environment variables for the server only, such as the address of its database.

    Raises:
        EngineError: The port is taken, or the server does not start.
    """
    with socket.socket() as trial:
        if trial.connect_ex((host, port)) == 0:
            raise EngineError(f"port {port} of {host} is in use: give another --port")
    api = f"http://{host}:{port}/api"
    # On another port than the default, the UI needs the API's address.
    places = {"PREFECT_API_URL": api, "PREFECT_UI_API_URL": api, "PREFECT_SERVER_API_PORT": str(port)}
    with _process(server_arguments(host, port), {**settings, **places}) as server:
        deadline = time.monotonic() + _START_SECONDS
        while not _is_healthy(api):
            if server.poll() is not None or time.monotonic() > deadline:
                raise EngineError(
                    f"the Prefect server did not start at {api}: run prefect server start to see why"
                )
            time.sleep(0.2)
        yield api


def server_arguments(host: str, port: int) -> list[str]:
    """Arguments of the command `prefect`."""
    return ["server", "start", "--host", host, "--port", str(port)]


def free_port() -> int:
    """A port of this machine that is free at the moment."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@contextmanager
def prefect_worker(api: str, pool: str, limit: int = 4) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker of a process pool until the block ends; its runs end with it."""
    arguments = ["worker", "start", "--pool", pool, "--limit", str(limit)]
    with _process(arguments, {"PREFECT_API_URL": api}) as worker:
        yield worker


@contextmanager
def _process(arguments: Sequence[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", *arguments], env=os.environ | env, stdout=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_healthy(api: str) -> bool:
    try:
        with urlopen(f"{api}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
