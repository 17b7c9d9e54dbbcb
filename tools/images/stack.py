"""What must hold of the image and of the compose file's services, in a network and a process space of their own.

Run by `tools.images` inside ``unshare``: whatever goes wrong, all containers end with this process.
"""

import json
import os
import re
import secrets
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmer_core.store import ArtifactKey, Store, open_store
from tools.images.build import IMAGE
from tools.images.engine import Engine
from tools.images.table import Table

ROOT = Path(__file__).parents[2]
API = "http://127.0.0.1:4200/api"
STORE = "s3://artifacts/mmer"
# In the order in which they start, by what they depend on.
_STAYING = ("database", "storage", "server", "worker")
_CONFINED = (
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--network=none",
    "--tmpfs=/tmp",
)
# podman 4 starts nothing that depends on a container that has ended, as deploy has: here they are started in order.
_APART = "services:\n" + "".join(
    f"  {service}: {{depends_on: !reset null}}\n" for service in ("server", "deploy", "worker")
)
_SECONDS = 1800
"""For whatever a busy machine does; nothing here is a measurement that fails."""


def main(folder: Path, study: str) -> None:
    engine, table = Engine(folder), Table(folder / "table.jsonl")
    _shut_in(engine)
    with table.row("demo in the image: no network, read-only root, no capabilities") as seen:
        seen.append(_demo(engine, study))
    with table.row("the image as a user that it does not know") as seen:
        seen.append(_foreign(engine))
    keys = _secrets(folder / "secrets")
    os.environ |= {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:8333", "AWS_DEFAULT_REGION": "us-east-1", **keys}
    apart = folder / "apart.yaml"
    apart.write_text(_APART)
    compose = [
        sys.executable,
        str(folder / "compose/bin/podman-compose"),
        *("-f", str(ROOT / "docker/compose.yaml")),
        *("-f", str(apart)),
    ]
    os.environ |= {
        "MMER_SECRETS": str(folder / "secrets"),
        "PYTHONPATH": f"{folder / 'compose'}:{ROOT}:{ROOT / 'tests'}",
    }
    with table.row("compose: containers made") as seen:
        engine.run(*compose, "up", "--no-start", "--no-build")
        seen.append(f"{len(engine.run('podman', 'ps', '-aq').split())} containers")
    _start(engine, table)
    store = open_store(STORE, folder / "cache")
    with table.row("pipeline triggered through the API") as seen:
        first = _trigger(study, seed=0)
        _wait(first, "COMPLETED")
        seen.append(f"run {first} completed")
    with table.row("its report fetched from S3") as seen:
        report = _newest(store, "report")
        assert store.verify(report) == []
        files = [file for file in store.fetch(report).rglob("*") if file.is_file()]
        seen.append(
            f"{report}, {len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB"
        )
    with table.row("worker killed in the middle, replaced, and the run goes on") as seen:
        seen.append(_killed(engine, store, study))
    with table.row("every service stopped by SIGTERM") as seen:
        seen.append(_stop(engine))
    with table.row("everything started again, and kept") as seen:
        _again(engine)
        assert _state(first) == "COMPLETED"
        assert store.verify(report) == []
        seen.append(f"run {first} and {report} are there")


def _shut_in(engine: Engine) -> None:
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


def _demo(engine: Engine, study: str) -> str:
    status = "import re; print(*(line.strip() for line in open('/proc/self/status') if re.match('Uid|Cap[EPB]|NoNew', line)))"
    how = ("podman", "run", "--rm", *_CONFINED, "--user=1000")
    process_status = engine.run(*how, IMAGE, "python", "-c", status)
    assert "Uid:\t1000\t1000" in process_status, process_status
    assert "NoNewPrivs:\t1" in process_status, process_status
    assert not re.search(r"Cap\w+:\s0*[1-9a-f]", process_status), process_status
    refused = engine.tried(*how, IMAGE, "touch", "/opt/mmer/new")
    assert "Read-only file system" in refused.stderr, refused
    work = ("--tmpfs=/work:mode=1777", f"--volume={ROOT / 'tests/support/small.toml'}:/small.toml:ro")
    config = "demo" if study == "demo" else "/small.toml"
    done = engine.run(*how, *work, IMAGE, "mmer", "pipeline", "--config", config, seconds=3 * _SECONDS)
    return f"{' '.join(process_status.split())}; {done.strip().splitlines()[-1]}"


def _foreign(engine: Engine) -> str:
    program = "import getpass, matplotlib.pyplot, prefect, torch, transformers; print(getpass.getuser())"
    return engine.run(
        "podman", "run", "--rm", *_CONFINED, "--user=54321:54321", IMAGE, "python", "-c", program
    ).strip()


def _secrets(folder: Path) -> dict[str, str]:
    """Write the compose file's secrets, with all that an address would have to escape; the keys of the storage."""
    folder.mkdir(mode=0o700, exist_ok=True)
    values = {
        name: f'{secrets.token_hex(8)}@/#%:?"\\+' for name in ("postgres_password", "aws_secret_access_key")
    }
    values["aws_access_key_id"] = "tester"
    for name, value in values.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_text(f"{value}\n")
        (folder / name).chmod(0o444)
    return {name.upper(): value for name, value in values.items() if name.startswith("aws")}


def _name(service: str) -> str:
    return f"mmer_{service}_1"


def _start(engine: Engine, table: Table) -> None:
    for service in _STAYING:
        if service == "worker":
            with table.row("deploy") as seen:
                names = engine.run("podman", "start", "--attach", _name("deploy"), seconds=_SECONDS)
                assert "pipeline/pipeline" in names.split(), names
                seen.append(f"{len(names.split())} deployments")
        with table.row(f"{service} started, and well") as seen:
            engine.run("podman", "start", _name(service))
            engine.wait_until_healthy(_name(service), _SECONDS)
            if service == "server":
                with urllib.request.urlopen(API.removesuffix("/api"), timeout=30) as answer:
                    assert b"<title>" in answer.read(), "the server has no pages"
                seen.append("its pages are there")


def _again(engine: Engine) -> None:
    for service in _STAYING:
        engine.run("podman", "start", _name(service))
        engine.wait_until_healthy(_name(service), _SECONDS)


def _ask(path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{API}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def _trigger(study: str, seed: int) -> str:
    """Start a run of the deployment `pipeline`; its id."""
    file = "flows/configurations/demo.toml" if study == "demo" else "tests/support/small.toml"
    job = tomllib.loads((ROOT / file).read_text("utf-8"))
    job["training"] = {**job["training"], "seed": seed}
    deployment = _ask("/deployments/name/pipeline/pipeline")
    ((parameter, given),) = deployment["parameters"].items()
    job["runtime"] = given["runtime"]  # what `mmer deploy` set
    made = _ask(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": {parameter: job}})
    return str(made["id"])


def _state(run: str) -> str:
    return str(_ask(f"/flow_runs/{run}")["state"]["type"])


def _wait(run: str, wanted: str) -> None:
    def there() -> bool:
        state = _ask(f"/flow_runs/{run}")["state"]
        assert state["type"] == wanted or state["type"] not in ("COMPLETED", "FAILED", "CRASHED"), state
        return bool(state["type"] == wanted)

    _until(there, f"the run is not {wanted}")


def _until(there: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not there():
        assert time.monotonic() < deadline, otherwise
        time.sleep(2)


def _newest(store: Store, kind: str) -> ArtifactKey:
    return max(store.keys(kind), key=lambda key: store.manifest(key).created)


def _killed(engine: Engine, store: Store, study: str) -> str:
    """SIGKILL to all of the worker in the middle of a run."""
    before = set(map(str, store.keys()))
    run = _trigger(study, seed=1)
    _until(lambda: bool(set(map(str, store.keys())) - before), "the run has made nothing")
    assert _state(run) == "RUNNING", "the run ended before it could be killed"
    made = len(set(map(str, store.keys())) - before)
    process = int(engine.run("podman", "inspect", "--format", "{{.State.Pid}}", _name("worker")))
    os.kill(process, 9)  # the first process of the container: the others end with it
    _until(lambda: _replaced(engine, process), "no other worker took the place of the one that was killed")
    engine.wait_until_healthy(_name("worker"), _SECONDS)
    _wait(run, "CRASHED")  # an automation of `mmer deploy` notices
    _ask(
        f"/flow_runs/{run}/set_state",
        {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True},
    )
    _wait(run, "COMPLETED")
    return f"killed after {made} artifacts; the same run completed"


def _replaced(engine: Engine, process: int) -> bool:
    running_and_pid = engine.run(
        "podman", "inspect", "--format", "{{.State.Running}} {{.State.Pid}}", _name("worker")
    ).split()
    return running_and_pid[0] == "true" and int(running_and_pid[1]) not in (0, process)


def _stop(engine: Engine) -> str:
    took = []
    for service in reversed(_STAYING):
        began = time.monotonic()
        engine.run("podman", "stop", "--time", "10", _name(service))
        code = engine.run("podman", "inspect", "--format", "{{.State.ExitCode}}", _name(service)).strip()
        took.append(f"{service} {time.monotonic() - began:.1f} s, exit code {code}")
        assert code != "137", f"{service} did not end within 10 s of SIGTERM"
    return ", ".join(took)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
