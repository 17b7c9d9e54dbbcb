"""A real PostgreSQL server on this machine, with a cluster of its own that is gone afterwards."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote

from flows.local_server import free_port

USER = "prefect"
DATABASE = "postgres"
_START_SECONDS = 60
# Nothing here outlives a crash of the machine, so nothing waits for its disks.
_HASTY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Database:
    """A database that a server offers.

    Attributes:
        folder: Where the server writes its log, and where its socket is.
    """

    port: int
    password: str
    folder: Path
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """As asyncpg takes it."""
        return f"postgresql://{USER}:{quote(self.password, safe='')}@{self.host}:{self.port}/{DATABASE}"

    @property
    def settings(self) -> dict[str, str]:
        """As Prefect's server takes it, in the settings that docker/compose.yaml gives its server, too."""
        return {
            "PREFECT_SERVER_DATABASE_DRIVER": "postgresql+asyncpg",
            "PREFECT_SERVER_DATABASE_HOST": self.host,
            "PREFECT_SERVER_DATABASE_PORT": str(self.port),
            "PREFECT_SERVER_DATABASE_USER": USER,
            "PREFECT_SERVER_DATABASE_NAME": DATABASE,
            "PREFECT_SERVER_DATABASE_PASSWORD": self.password,
        }


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
def postgres_server(*, over_tcp: bool = True) -> Iterator[Database]:
    """Run a server until the block ends; its password has every character that an address would have to escape.

    Args:
        over_tcp: Without, it listens on a socket in its folder only, as PostgreSQL's image does while it sets itself up.
    """
    binaries = postgres_folder()
    if binaries is None:
        raise FileNotFoundError("there is no PostgreSQL: install its server (initdb, postgres, pg_isready)")
    # Not below pytest's folders: only their owner may look into those, and root is not who runs the server.
    with tempfile.TemporaryDirectory(prefix="mmer-postgres-") as name:
        folder, password = Path(name), f"@/#%:? {token_hex(16)}"
        (folder / "password").write_text(password)
        owner = _owner(folder)
        data, port = folder / "data", free_port()
        _made(binaries, data, folder / "password", owner)
        addresses = "127.0.0.1" if over_tcp else ""
        sockets = {"unix_socket_directories": str(folder)}
        settings = _HASTY | {"listen_addresses": addresses, "port": port} | sockets
        flags = [flag for key, value in settings.items() for flag in ("-c", f"{key}={value}")]
        with (folder / "log.txt").open("wb") as log:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", data, *flags], cwd=folder, stdout=log, stderr=log, **owner
            )
        try:
            where = "127.0.0.1" if over_tcp else str(folder)
            _wait_until_ready(binaries, where, port, server, folder / "log.txt")
            yield Database(port, password, folder)
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


def _wait_until_ready(
    binaries: Path, where: str, port: int, server: "subprocess.Popen[bytes]", log: Path
) -> None:
    deadline = time.monotonic() + _START_SECONDS
    ready = [binaries / "pg_isready", "-q", "-h", where, "-p", str(port), "-U", USER]
    while subprocess.run(ready, check=False).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}")
        time.sleep(0.05)
