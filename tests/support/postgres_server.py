"""A real PostgreSQL server on this machine, with a cluster of its own that is gone afterwards."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any

from flows.local_server import free_port

USER = "prefect"
_START_SECONDS = 60
# Nothing here outlives a crash of the machine, so nothing waits for its disks.
_HASTY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@cache
def postgres_folder() -> Path | None:
    """Where ``initdb``, ``postgres`` and ``pg_isready`` are; None where PostgreSQL is not installed."""
    if config := shutil.which("pg_config"):
        found = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True)
        folders = [Path(found.stdout.strip())]
    else:
        folders = []
    if initdb := shutil.which("initdb"):
        folders.append(Path(initdb).resolve().parent)
    wanted = ("initdb", "postgres", "pg_isready")
    return next((folder for folder in folders if all((folder / name).exists() for name in wanted)), None)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server until the block ends; gives the address of its database as Prefect takes it."""
    binaries = postgres_folder()
    if binaries is None:
        raise FileNotFoundError("there is no PostgreSQL: install its server (initdb, postgres, pg_isready)")
    # Not below pytest's folders: only their owner may look into those, and root is not who runs the server.
    with tempfile.TemporaryDirectory(prefix="mmer-postgres-") as name:
        folder, password = Path(name), token_hex(16)
        (folder / "password").write_text(password)
        owner = _owner(folder)
        data, port = folder / "data", free_port()
        _made(binaries, data, folder / "password", owner)
        settings = _HASTY | {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": ""}
        flags = [flag for key, value in settings.items() for flag in ("-c", f"{key}={value}")]
        with (folder / "log.txt").open("wb") as log:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", data, *flags], cwd=folder, stdout=log, stderr=log, **owner
            )
        try:
            _wait_until_ready(binaries, port, server, folder / "log.txt")
            yield f"postgresql+asyncpg://{USER}:{password}@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()  # "smart": waits for connections, which an ended Prefect server has closed
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _owner(folder: Path) -> dict[str, Any]:
    """As whom the server runs, for `subprocess`: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return {}
    for user in ("postgres", "nobody"):
        try:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, user)
        except LookupError:
            continue
        return {"user": user, "extra_groups": ()}
    raise RuntimeError("root cannot run PostgreSQL, and there is no user postgres or nobody that could")


def _made(binaries: Path, data: Path, password: Path, owner: dict[str, Any]) -> None:
    command = [binaries / "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"]
    subprocess.run(
        [*command, f"--pwfile={password}"],
        cwd=data.parent,
        stdout=subprocess.DEVNULL,
        check=True,
        **owner,
    )


def _wait_until_ready(binaries: Path, port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    ready = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", USER]
    while subprocess.run(ready, check=False).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}")
        time.sleep(0.05)
