"""The same pipeline runs twice at the same moment on two workers of one pool, each as if on a machine of its own."""

import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli import main
from flows.local_server import free_port, prefect_server, prefect_worker
from mmer_core.store import open_store
from tools.chaos.arena import settings

pytestmark = [pytest.mark.integration, pytest.mark.long]


@pytest.mark.timeout(600)  # a server, two workers and two runs import everything, at the same time
def test_two_workers_make_one_set_of_artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    url = str(tmp_path / "store")
    with ExitStack() as stack:
        api = stack.enter_context(prefect_server(free_port()))
        stack.enter_context(temporary_settings({PREFECT_API_URL: api}))
        monkeypatch.setenv("PREFECT_API_URL", api)
        with pytest.raises(SystemExit) as end:
            main(["deploy", "--store", url, "--work", str(tmp_path / "work")])
        assert not end.value.code
        client = stack.enter_context(get_client(sync_client=True))
        deployment = client.read_deployment_by_name("pipeline/pipeline")
        _allow_two(client, deployment.id)
        runs = [
            run_deployment(
                "pipeline/pipeline", parameters={"config": _config(url, tmp_path / machine)}, timeout=0
            )
            for machine in ("one", "other")
        ]
        # Of one run at a time each, so that neither takes both.
        workers = [stack.enter_context(prefect_worker(api, "mmer", limit=1)) for _ in range(2)]
        ended = [_end_of(client, run.id) for run in runs]
        assert [run.state.name for run in ended] == ["Completed"] * 2, [run.state.message for run in ended]
        assert all(worker.poll() is None for worker in workers)
        first, second = sorted(ended, key=lambda run: run.start_time)
        assert second.start_time < first.end_time, "they did not run at the same time"
    store = open_store(url)
    made = Counter(key.kind for key in store.keys())
    assert {kind: made[kind] for kind in ("prepared", "features", "model", "evaluation", "robustness", "report")} == {
        "prepared": 1, "features": 1, "model": 1, "evaluation": 1, "robustness": 1, "report": 1,
    }  # fmt: skip
    assert [problem for key in store.keys() for problem in store.verify(key)] == []
    for machine in ("one", "other"):
        assert [path.name for path in (tmp_path / machine).iterdir() if path.name != "fetched"] == []


def _config(store: str, work: Path) -> dict[str, Any]:
    work.mkdir()
    return settings() | {"runtime": {"store": store, "work": str(work)}}


def _allow_two(client: Any, deployment: Any) -> None:
    """The pipeline's own limit of one run at a time is lifted."""
    client.update_deployment(deployment, DeploymentUpdate(concurrency_limit=2))


def _end_of(client: Any, run: Any) -> Any:
    deadline = time.monotonic() + 200
    while not (found := client.read_flow_run(run)).state.is_final():
        assert time.monotonic() < deadline, f"the run is still {found.state.name}"
        time.sleep(0.5)
    return found
