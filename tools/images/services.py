"""The compose file's services as containers of podman, in a network and a process space of their own."""

import secrets
import sys
from pathlib import Path
from typing import Any

import yaml

from tools.images.engine import Engine

ROOT = Path(__file__).parents[2]
FILES = (ROOT / "docker/compose.yaml", ROOT / "docker/compose.metrics.yaml")
BUCKET = "artifacts"
NETWORK = "mmer_default"
# podman 4 starts nothing that depends on a container that has ended, as deploy has: here they are started in order.
_APART = "services:\n" + "".join(
    f"  {service}: {{depends_on: !reset null}}\n" for service in ("server", "deploy", "monitor", "worker")
)


def shut_in(engine: Engine) -> None:
    """Bring up the loopback, and hide what belongs to containers outside."""
    engine.run("ip", "link", "set", "lo", "up")
    for folder in ("/run/containers", "/run/netns", "/run/crun", "/run/libpod", str(engine.running)):
        Path(folder).mkdir(parents=True, exist_ok=True)
        engine.run("mount", "-t", "tmpfs", "tmpfs", folder)
    # crun refuses machines with both versions of control groups; these containers have none.
    groups = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if " cgroup" in line]
    for place in sorted(groups, reverse=True):
        engine.tried("umount", "--lazy", place)
    engine.run("mount", "-t", "tmpfs", "tmpfs", "/sys/fs/cgroup")
    for container in engine.run("podman", "ps", "-aq").split():  # of a run that was ended
        engine.tried("podman", "rm", "--force", "--depend", container)
    for volume in engine.run("podman", "volume", "ls", "--quiet").split():
        engine.tried("podman", "volume", "rm", volume)


def settings() -> dict[str, dict[str, Any]]:
    """What the files say of every service, by name, as Compose merges them: variables are added, commands are replaced."""
    found: dict[str, dict[str, Any]] = {}
    for file in FILES:
        for name, more in yaml.safe_load(file.read_text())["services"].items():
            service = found.get(name)
            if service is None:
                found[name] = more
                continue
            assert more.keys() <= {"command", "environment"}, "Compose merges others in ways of their own"
            variables = service.get("environment", {}) | more.get("environment", {})
            found[name] = service | more | {"environment": variables}
    return found


def container_of(service: str) -> str:
    """Name of a service's container."""
    return f"mmer_{service}_1"


class Services:
    """Containers of the services, with new secrets that hold all that an address would have to escape."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        folder = engine.folder / "secrets"
        folder.mkdir(mode=0o700, exist_ok=True)
        values = {
            name: f'{secrets.token_hex(8)}@/#%:?"\\+'
            for name in ("postgres_password", "aws_secret_access_key")
        }
        values["aws_access_key_id"] = "tester"
        for name, value in values.items():
            (folder / name).unlink(missing_ok=True)
            (folder / name).write_text(f"{value}\n")
            (folder / name).chmod(0o444)
        keys = {name.upper(): value for name, value in values.items() if name.startswith("aws")}
        self.store_env = {
            "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:8333",
            "AWS_DEFAULT_REGION": "us-east-1",
            **keys,
        }
        """With which this process reaches the storage."""

    def make(self, *names: str) -> None:
        """Make the containers of some services, or of all; none is started."""
        folder = self._engine.folder
        apart = folder / "apart.yaml"
        apart.write_text(_APART)
        env = [f"MMER_SECRETS={folder / 'secrets'}", f"PYTHONPATH={folder / 'compose'}"]
        compose = [sys.executable, str(folder / "compose/bin/podman-compose")]
        files = [word for file in (*FILES, apart) for word in ("-f", str(file))]
        self._engine.run("env", *env, *compose, *files, "up", "--no-start", "--no-build", *names)
