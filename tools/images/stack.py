"""What must hold of the image and of the compose file's services, in a network and a process space of their own.

Run by `tools.images` inside ``unshare``: whatever goes wrong, all containers end with this process.
"""

import json
import os
import re
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from mmer_core.store import ArtifactKey, Store, open_store
from tools.images.build import IMAGE
from tools.images.engine import CONFINED, Engine
from tools.images.services import BUCKET, Services, container_of, settings, shut_in
from tools.images.table import Table

ROOT = Path(__file__).parents[2]
API = "http://127.0.0.1:4200/api"
METRICS = "http://127.0.0.1:9464/metrics"
STORE = f"s3://{BUCKET}/mmer"
# In the order in which they start, by what they depend on.
_STAYING = ("database", "storage", "server", "monitor", "worker")
_SECONDS = 1800
"""For whatever a busy machine does; nothing here is a measurement that fails."""


def main(folder: Path, study: str) -> None:
    engine, table = Engine(folder), Table(folder / "table.jsonl")
    shut_in(engine)
    with table.row("demo in the image: no network, read-only root, no capabilities") as seen:
        seen.append(_demo(engine, study))
    with table.row("the image as a user that it does not know") as seen:
        seen.append(_foreign(engine))
    services = Services(engine)
    os.environ |= services.store_env
    with table.row("compose: containers made") as seen:
        services.make()
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
    with table.row("counters of the run, read from the monitor") as seen:
        seen.append(_counted())
    with table.row("worker killed in the middle, replaced, and the run goes on") as seen:
        seen.append(_killed(engine, store, study))
    with table.row("every service stopped by SIGTERM") as seen:
        seen.append(_stop(engine))
    with table.row("everything started again, and kept") as seen:
        _again(engine)
        assert _state(first) == "COMPLETED"
        assert store.verify(report) == []
        seen.append(f"run {first} and {report} are there")


def _demo(engine: Engine, study: str) -> str:
    status = "import re; print(*(line.strip() for line in open('/proc/self/status') if re.match('Uid|Cap[EPB]|NoNew', line)))"
    how = ("podman", "run", "--rm", *CONFINED, "--network=none", "--user=1000")
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
        "podman",
        "run",
        "--rm",
        *CONFINED,
        "--network=none",
        "--user=54321:54321",
        IMAGE,
        "python",
        "-c",
        program,
    ).strip()


def _start(engine: Engine, table: Table) -> None:
    for service in _STAYING:
        if service == "worker":
            with table.row("deploy") as seen:
                names = engine.run("podman", "start", "--attach", container_of("deploy"), seconds=_SECONDS)
                assert "pipeline/pipeline" in names.split(), names
                seen.append(f"{len(names.split())} deployments")
        with table.row(f"{service} started, and well") as seen:
            engine.run("podman", "start", container_of(service))
            engine.wait_until_healthy(container_of(service), _SECONDS)
            if service == "server":
                with urllib.request.urlopen(API.removesuffix("/api"), timeout=30) as answer:
                    assert b"<title>" in answer.read(), "the server has no pages"
                seen.append("its pages are there")


def _again(engine: Engine) -> None:
    for service in _STAYING:
        engine.run("podman", "start", container_of(service))
        engine.wait_until_healthy(container_of(service), _SECONDS)


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


def _counted() -> str:
    """The counters of the run, which its processes have pushed."""

    def there() -> bool:
        return _metric("mmer_job_runs_total", job="pipeline", outcome="completed") == 1

    _until(there, "the run has pushed nothing to the monitor")
    assert _metric("mmer_prefect_up") == 1
    assert _metric("mmer_job_runs_total", outcome="failed") == 0
    made, written = (
        _metric("mmer_stage_runs_total", outcome="made"),
        _metric("mmer_store_written_bytes_total"),
    )
    assert made > 0
    assert written > 0
    return f"{made:.0f} stages, {written / 1e6:.1f} MB written to the store, 1 pipeline, none failed"


def _metric(name: str, **labels: str) -> float:
    """The sum of all its series with these labels."""
    with urllib.request.urlopen(METRICS, timeout=60) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        series = [one for family in families for one in family.samples if one.name == name]
    return sum(one.value for one in series if labels.items() <= one.labels.items())


def _killed(engine: Engine, store: Store, study: str) -> str:
    """SIGKILL to all of the worker in the middle of a run."""
    before = set(map(str, store.keys()))
    run = _trigger(study, seed=1)
    _until(lambda: bool(set(map(str, store.keys())) - before), "the run has made nothing")
    assert _state(run) == "RUNNING", "the run ended before it could be killed"
    made = len(set(map(str, store.keys())) - before)
    process = int(engine.run("podman", "inspect", "--format", "{{.State.Pid}}", container_of("worker")))
    os.kill(process, 9)  # the first process of the container: the others end with it
    _until(lambda: _replaced(engine, process), "no other worker took the place of the one that was killed")
    engine.wait_until_healthy(container_of("worker"), _SECONDS)
    _wait(run, "CRASHED")  # an automation of `mmer deploy` notices
    _ask(
        f"/flow_runs/{run}/set_state",
        {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True},
    )
    _wait(run, "COMPLETED")
    return f"killed after {made} artifacts; the same run completed"


def _replaced(engine: Engine, process: int) -> bool:
    running_and_pid = engine.run(
        "podman", "inspect", "--format", "{{.State.Running}} {{.State.Pid}}", container_of("worker")
    ).split()
    return running_and_pid[0] == "true" and int(running_and_pid[1]) not in (0, process)


def _stop(engine: Engine) -> str:
    """SIGTERM, and SIGKILL after what the compose file allows."""
    services = settings()
    took = []
    for service in reversed(_STAYING):
        seconds = services[service].get("stop_grace_period", "10s").removesuffix("s")
        began = time.monotonic()
        engine.run("podman", "stop", "--time", seconds, container_of(service))
        code = engine.run(
            "podman", "inspect", "--format", "{{.State.ExitCode}}", container_of(service)
        ).strip()
        took.append(f"{service} {time.monotonic() - began:.1f} s, exit code {code}")
        assert code != "137", f"{service} did not end within {seconds} s of SIGTERM"
    return ", ".join(took)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
