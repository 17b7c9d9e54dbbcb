"""Everything deployed on a real Prefect server; a real worker runs a deployment, with its artifacts on real S3."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.deployments import run_deployment
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli import main
from flows.local_server import free_port, prefect_server, prefect_worker
from mmer_core.store import open_store

pytestmark = pytest.mark.integration

JOBS = {
    "pipeline", "ingest", "train", "seeds", "finetune", "evaluate", "index", "update-index", "robustness", "poison",
    "report",
}  # fmt: skip


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        with prefect_server(free_port()) as url, temporary_settings({PREFECT_API_URL: url}):
            yield url


@pytest.fixture
def client(api: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as connected:
        yield connected


@pytest.fixture
def deployed(api: str, s3_url: str, monkeypatch, tmp_path) -> Callable:
    """Deploy everything with a store on S3."""

    def run(*flags: object) -> None:
        with pytest.raises(SystemExit) as end:
            main(["deploy", "--store", s3_url, "--work", str(tmp_path / "work"), *map(str, flags)])
        assert not end.value.code

    monkeypatch.setenv("PREFECT_API_URL", api)
    return run


def test_deploying_twice_is_deploying_once(deployed: Callable, client: SyncPrefectClient) -> None:
    for _ in range(2):
        deployed("--gpus", 1, "--notify-url", "json://127.0.0.1:9/never")
        found = {one.name: one for one in client.read_deployments()}
        assert found.keys() == JOBS
        assert [pool.name for pool in client.read_work_pools()] == ["mmer"]
        automations = client.request("POST", "/automations/filter", json={}).json()
        assert len({one["name"] for one in automations}) == len(automations) == 5
        assert client.read_concurrency_limit_by_tag("gpu").concurrency_limit == 1
    nightly = found["robustness"]
    client.update_deployment_schedule(nightly.id, nightly.schedules[0].id, active=True)
    deployed()
    (kept,) = client.read_deployment_by_name("robustness/robustness").schedules
    assert kept.active, "what somebody switched on was switched off"
    client.update_deployment_schedule(nightly.id, kept.id, active=False)
    scheduled = {name for name, one in found.items() if one.schedules}
    assert scheduled == {"pipeline", "robustness"}
    assert not any(schedule.active for one in found.values() for schedule in one.schedules)
    form = str(found["train"].parameter_openapi_schema)
    assert "Artifact store: a folder" in form, "the form in the UI has no descriptions"
    notifying = next(one for one in automations if "notify" in one["name"])
    assert "127.0.0.1:9" not in str(notifying), "the address is a secret"


def test_a_parameter_that_cannot_work_is_refused(deployed: Callable, client: SyncPrefectClient) -> None:
    deployed()
    with pytest.raises(PrefectHTTPStatusError, match=r"409|422"):
        run_deployment("train/train", parameters={"job": {"training": {"epochs": -1}}}, timeout=0)


def test_a_worker_runs_a_deployment_and_its_artifact_is_on_s3(
    deployed: Callable, client: SyncPrefectClient, api: str, s3_url: str, tmp_path: Path
) -> None:
    deployed()
    runtime = {"store": s3_url, "work": str(tmp_path / "work")}
    dataset = {"dataset": "flickr8k", "context_size": 32, "synthetic": {"images": 30}}
    with prefect_worker(api, "mmer"):
        started = run_deployment(
            "ingest/ingest", parameters={"job": {"dataset": dataset, "runtime": runtime}}, timeout=0
        )
        deadline = time.monotonic() + 200
        while not (state := client.read_flow_run(started.id).state).is_final():
            assert time.monotonic() < deadline, f"the run is still {state.name}"
            time.sleep(0.5)
    assert state.is_completed(), state.message
    store = open_store(s3_url, tmp_path / "cache")
    (prepared,) = store.keys("prepared")
    assert store.verify(prepared) == []
    assert (store.fetch(prepared) / "train_context_arr.npy").is_file()
    left = {one.key: one.data for one in client.read_artifacts()}
    assert str(prepared) in left["prepared-summary"]
