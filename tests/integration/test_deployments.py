"""Everything deployed on a real Prefect server; a real worker runs a deployment, with its artifacts on real S3.

The server keeps its state in PostgreSQL where that is installed. What it then shows is looked at in a real browser;
MMER_SCREENSHOTS names a folder for the pictures of it.
"""

import asyncio
import re
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from prefect import tags
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Running
from support import compose, scraped
from support.browser import Tab, page
from support.faulty_proxy import Fault, faulty_proxy
from support.postgres_server import Database, postgres_folder
from support.prefect_place import prefect_place
from support.receiver import Receiver, receiver
from support.s3_server import S3Server

from flows import jobs
from flows.cli import main
from flows.job_table import JOBS
from flows.local_server import free_port
from flows.monitoring import app
from mmer_core.config import IngestConfig, IngestJob, RuntimeConfig
from mmer_core.errors import DatasetError
from mmer_core.store import open_store

pytestmark = pytest.mark.integration

NAMES = {job.name for job in JOBS}


@dataclass(frozen=True)
class Server:
    """Address of the API, and the database where it is PostgreSQL."""

    api: str
    database: Database | None

    @property
    def ui(self) -> str:
        return self.api.removesuffix("/api")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, s3: S3Server) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch, prefect_place(tmp_path_factory.mktemp("prefect")) as place:
        for name, value in s3.env.items():
            patch.setenv(name, value)
        yield Server(*place)


@pytest.fixture
def client(server: Server) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as connected:
        yield connected


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def store_url(s3: S3Server) -> str:
    return f"s3://{s3.bucket}/deployed"


@pytest.fixture(scope="module")
def somebody() -> Iterator[Receiver]:
    """Who is notified of failures."""
    with receiver() as hearing:
        yield hearing


@pytest.fixture(scope="module")
def deployed(server: Server, store_url: str, work: Path, somebody: Receiver) -> Callable:
    """Deploy everything with a store on S3."""

    words = compose.command("deploy", {"s3://artifacts/mmer": store_url, "/work": str(work)})

    def run(*flags: object) -> None:
        with pytest.raises(SystemExit) as end:
            main([*words[1:], *map(str, flags)])
        assert not end.value.code

    run("--gpus", 1, "--notify-url", somebody.url)
    return run


@pytest.fixture(scope="module")
def vision(deployed: Callable, s3: S3Server, work: Path) -> str:
    """Another team on the same server; the address of its store."""
    store = f"s3://{s3.bucket}/vision"
    with pytest.raises(SystemExit) as end:
        main(["deploy", "--team", "vision", "--store", store, "--work", str(work)])
    assert not end.value.code
    return store


@contextmanager
def composed_worker() -> Iterator[dict[str, str]]:
    """The compose file's worker; gives what its health check has to know."""
    port = str(free_port())
    worker = compose.start("worker", {}, {"PREFECT_WORKER_WEBSERVER_PORT": port})
    try:
        yield {"8080": port}
    finally:
        worker.terminate()
        worker.wait(60)


@pytest.fixture(scope="module")
def ran(deployed: Callable, server: Server, store_url: str, work: Path) -> FlowRun:
    """A run of a deployment with a parameter, which a worker executed."""
    dataset = {"dataset": "flickr8k", "context_size": 32, "synthetic": {"images": 30}}
    runtime = {"store": store_url, "work": str(work)}
    with get_client(sync_client=True) as client, composed_worker() as health:
        assert not compose.is_healthy("worker", {"8080": str(free_port())}), "nobody listens there"
        started = run_deployment(
            "ingest/ingest", parameters={"job": {"dataset": dataset, "runtime": runtime}}, timeout=0
        )
        run = ended(client, started.id)
        assert compose.is_healthy("worker", health)
        # Ending the worker takes away what it has not sent.
        logged(client, started.id, "Finished in state Completed")
    return run


def ended(client: SyncPrefectClient, run: UUID) -> FlowRun:
    """A run when it has ended."""
    deadline = time.monotonic() + 200
    while not (state := (found := client.read_flow_run(run)).state) or not state.is_final():
        assert time.monotonic() < deadline, f"the run is still {state and state.name}"
        time.sleep(0.2)
    return found


def logged(client: SyncPrefectClient, run: UUID, message: str) -> None:
    """Wait until the server has a line of a run's log."""
    deadline = time.monotonic() + 60
    logs = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
    while not any(message in record.message for record in client.read_logs(logs)):
        assert time.monotonic() < deadline, f"nobody logged {message!r}"
        time.sleep(0.2)


def test_the_server_keeps_its_state_in_postgresql(deployed: Callable, server: Server) -> None:
    if not (database := server.database):
        pytest.skip("PostgreSQL is not installed: the server runs on SQLite")

    async def names() -> list[str]:
        connection = await asyncpg.connect(database.url)
        try:
            return [row["name"] for row in await connection.fetch("SELECT name FROM deployment")]
        finally:
            await connection.close()

    assert set(asyncio.run(names())) == NAMES


def test_servers_are_well_by_the_health_checks_of_the_compose_file(server: Server) -> None:
    assert compose.is_healthy("server", {"4200": str(urlsplit(server.api).port)})
    assert not compose.is_healthy("server", {"4200": str(free_port())})
    if (folder := postgres_folder()) and server.database:
        ready = {"pg_isready": str(folder / "pg_isready")}
        assert compose.is_healthy("database", ready, {"PGPORT": str(server.database.port)})
        assert not compose.is_healthy("database", ready, {"PGPORT": str(free_port())})


def test_deploying_twice_is_deploying_once(
    deployed: Callable, client: SyncPrefectClient, somebody: Receiver
) -> None:
    for again in (False, True):
        if again:
            deployed("--gpus", 1, "--notify-url", somebody.url)
        found = {one.name: one for one in client.read_deployments()}
        assert found.keys() == NAMES
        assert [pool.name for pool in client.read_work_pools()] == ["mmer"]
        automations = client.request("POST", "/automations/filter", json={}).json()
        assert len({one["name"] for one in automations}) == len(automations) == 7
        assert client.read_concurrency_limit_by_tag("gpu").concurrency_limit == 1
    nightly = found["robustness"]
    client.update_deployment_schedule(nightly.id, nightly.schedules[0].id, active=True)
    deployed()
    (kept,) = client.read_deployment_by_name("robustness/robustness").schedules
    assert kept.active, "what somebody switched on was switched off"
    client.update_deployment_schedule(nightly.id, kept.id, active=False)
    scheduled = {name for name, one in found.items() if one.schedules}
    assert scheduled == {"nightly", "pipeline", "robustness"}
    assert not any(schedule.active for one in found.values() for schedule in one.schedules)
    form = str(found["train"].parameter_openapi_schema)
    assert "Artifact store: a folder" in form, "the form in the UI has no descriptions"
    notifying = [one for one in automations if "notify" in one["name"]]
    assert len(notifying) == 3
    assert somebody.url not in str(notifying), "the address is a secret"


def test_the_nightly_study_is_what_was_deployed_last(
    deployed: Callable, client: SyncPrefectClient, work: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study.toml"
    study.write_text('series = "flickr"\n[datasets.flickr8k]\ndataset = "flickr8k"\n[training]\nepochs = 3\n')

    def job() -> dict[str, Any]:
        return client.read_deployment_by_name("nightly/nightly").parameters["job"]

    deployed("--nightly", study)
    first = job()
    runtime = first.pop("runtime")
    datasets = {"flickr8k": {"dataset": "flickr8k"}}
    assert first == {"series": "flickr", "datasets": datasets, "training": {"epochs": 3}}
    assert runtime["work"] == str(work)
    deployed()
    assert job() == {**first, "runtime": runtime}, "another mmer deploy forgot the study"


def test_the_monitor_tells_of_the_queue(deployed: Callable, client: SyncPrefectClient) -> None:
    def figures() -> scraped.Figures:
        with TestClient(app(prefect=True)) as monitor:
            return scraped.figures(monitor.get("/metrics").text)

    nothing = figures()
    assert nothing["mmer_prefect_up",] == 1
    assert nothing["mmer_queue_workers", "mmer"] == 0
    waiting = nothing["mmer_queue_runs", "mmer", "waiting"]
    assert not any(name[0].startswith("mmer_deployment") for name in nothing)
    nightly = client.read_deployment_by_name("nightly/nightly")
    run = run_deployment("ingest/ingest", parameters={"job": {}}, timeout=0)
    before = time.time()
    client.update_deployment_schedule(nightly.id, nightly.schedules[0].id, active=True)
    try:
        found = figures()
        assert found["mmer_queue_runs", "mmer", "waiting"] == waiting + 1
        assert found["mmer_queue_waiting_seconds", "mmer"] > 0
        since = found["mmer_deployment_completed_timestamp_seconds", "nightly"]
        assert before - 5 < since < time.time() + 5
        client.set_flow_run_state(run.id, Running(), force=True)
        assert figures()["mmer_queue_runs", "mmer", "running"] == 1
    finally:
        client.update_deployment_schedule(nightly.id, nightly.schedules[0].id, active=False)
        client.delete_flow_run(run.id)
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        gone = figures()
    assert gone["mmer_prefect_up",] == 0
    assert not any(name[0].startswith("mmer_queue") for name in gone)


def test_deploying_waits_for_a_server_that_is_busy(
    deployed: Callable,
    server: Server,
    s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with faulty_proxy(server.ui, s3.certificate) as proxy:
        monkeypatch.setenv("PREFECT_API_URL", f"{proxy.endpoint}/api")
        proxy.faults += [
            Fault("busy", "GET", "/work_pools/mmer"),
            Fault("broken", "GET", "/deployments/name/"),
        ]
        with temporary_settings({PREFECT_API_URL: f"{proxy.endpoint}/api"}):
            deployed("--gpus", 1)
        assert all(fault.times == 0 for fault in proxy.faults)
    printed = capsys.readouterr().err
    assert "which answers 503" in printed
    assert "which answers 500" in printed


def test_a_parameter_that_cannot_work_is_refused(deployed: Callable, client: SyncPrefectClient) -> None:
    with pytest.raises(PrefectHTTPStatusError, match=r"409|422"):
        run_deployment("train/train", parameters={"job": {"training": {"epochs": -1}}}, timeout=0)


def test_a_worker_runs_a_deployment_and_its_artifact_is_on_s3(
    ran: FlowRun, client: SyncPrefectClient, store_url: str, tmp_path: Path
) -> None:
    assert ran.state is not None
    assert ran.state.is_completed(), ran.state.message
    store = open_store(store_url, tmp_path / "cache")
    (prepared,) = store.keys("prepared")
    assert store.verify(prepared) == []
    assert (store.fetch(prepared) / "train_context_arr.npy").is_file()
    left = {one.key: one.data for one in client.read_artifacts()}
    assert str(prepared) in left["prepared-summary"]


@pytest.fixture
def tab(server: Server, tmp_path: Path) -> Iterator[Tab]:
    """A page that asks nobody but this machine for anything."""
    with page(tmp_path / "screenshots", width=1400, height=1100) as opened:
        opened.page.set_default_timeout(30_000)
        yield opened


@pytest.mark.long
def test_the_page_of_a_run_tells_what_it_did(ran: FlowRun, server: Server, tab: Tab) -> None:
    tab.page.goto(f"{server.ui}/runs/flow-run/{ran.id}")
    tab.page.get_by_text("Completed", exact=True).first.wait_for()
    tab.page.get_by_text("2 Task runs").wait_for()
    assert ran.name in tab.page.title() or tab.page.get_by_text(ran.name).first.is_visible()
    tab.page.get_by_text("Beginning flow run").wait_for()
    tab.page.get_by_text(re.compile("Made and stored prepared/")).wait_for()  # our own log of the stage
    tab.page.wait_for_load_state("networkidle")
    tab.shot("flow-run", full=False)
    tab.page.get_by_role("tab", name="Task Runs").or_(tab.page.get_by_text("Task Runs", exact=True)).click()
    for name in ("ingest flickr8k", "dataset card"):
        tab.page.get_by_role("link", name=name, exact=True).wait_for()
    tab.shot("flow-run-tasks", full=False)
    tab.page.get_by_text("Parameters", exact=True).click()
    tab.page.get_by_text("context_size").first.wait_for()
    tab.shot("flow-run-parameters", full=False)


def test_the_form_of_a_deployment_is_described_and_refuses_nonsense(
    deployed: Callable, client: SyncPrefectClient, server: Server, tab: Tab
) -> None:
    deployment = client.read_deployment_by_name("ingest/ingest")
    before = len(client.read_flow_runs())
    tab.page.goto(f"{server.ui}/deployments/deployment/{deployment.id}/run")
    tab.page.get_by_text("Folder of the raw dataset").wait_for()
    tab.page.wait_for_load_state("networkidle")
    tab.shot("form", full=False)
    text = tab.page.inner_text("body")
    fields = ["The dataset.", "Samples shown on the dataset card", "Artifact store: a folder"]
    assert sorted(fields, key=text.index) == fields, "the order of the fields is not that of the job"
    samples = tab.page.locator(".schema-form-property", has_text="Samples shown on the dataset card").last
    samples.locator("input[type=number]").fill("-3")
    tab.page.get_by_role("button", name="Submit").click()
    tab.page.get_by_text("-3 is less than the minimum of 0").first.wait_for()
    tab.page.wait_for_timeout(500)  # the message slides in
    tab.shot("form-refused", full=False)
    assert len(client.read_flow_runs()) == before, "a run was made of it"


@pytest.mark.long
def test_the_pages_of_artifacts_show_what_they_hold(
    ran: FlowRun, client: SyncPrefectClient, server: Server, tab: Tab
) -> None:
    left = {one.key: one.id for one in client.read_artifacts()}

    def show(key: str, text: str) -> str:
        tab.page.goto(f"{server.ui}/artifacts/artifact/{left[key]}")
        tab.page.get_by_text(text).first.wait_for()
        tab.page.wait_for_load_state("networkidle")
        tab.shot(f"artifact-{key}", full=False)
        return tab.page.inner_text("body")

    summary = show("prepared-summary", "mmer artifacts fetch prepared/")
    assert "train 20" in summary
    assert "{" not in summary, "figures as Python prints them"
    cells = show("dataset-table", "Samples and texts by split").split()
    assert {"train", "20", "100"} <= set(cells)
    show("dataset-samples", "Samples")
    (sheet,) = (one.data for one in client.read_artifacts() if one.key == "dataset-samples")
    with Image.open(BytesIO(b64decode(sheet.partition(",")[2].partition(")")[0]))) as picture:
        assert widths(tab) == [picture.width], "the contact sheet is not drawn"
    tree = show("dataset-card-lineage", "prepared: prepared/")
    assert "raw: synthetic-flickr8k" in tree
    (wide,) = widths(tab)
    assert wide > 300, "the graph is not drawn"


def widths(tab: Tab) -> list[int]:
    """Of the pictures that came from data: addresses; 0 for one that could not be drawn."""
    script = "[...document.images].filter(i => i.src.startsWith('data:')).map(i => i.naturalWidth)"
    return tab.page.evaluate(script)


def test_a_failed_run_is_told(deployed: Callable, somebody: Receiver, tmp_path: Path) -> None:
    runtime = RuntimeConfig(store=str(tmp_path / "store"), work=tmp_path / "work")
    job = IngestJob(dataset=IngestConfig(root=tmp_path / "gone"), runtime=runtime)
    with pytest.raises(DatasetError, match="gone does not exist"), tags("mmer"):
        jobs.ingest.with_options(flow_run_name="a run that fails")(job)
    event = somebody.wait_for("a run that fails", 60)
    assert event["title"] == "mmer: ingest Failed"
    assert "gone does not exist" in event["message"]


def test_teams_have_deployments_stores_and_pools_of_their_own(
    vision: str, deployed: Callable, client: SyncPrefectClient, store_url: str
) -> None:
    stores = {}
    for team in ("", "vision-"):
        for job in NAMES:
            (one,) = (
                found
                for found in client.read_deployments()
                if found.name == f"{team}{job}" and found.entrypoint.startswith("flows.deployed.")
            )
            (given,) = one.parameters.values()
            stores.setdefault(team, set()).add((given["runtime"]["store"], one.work_pool_name))
            assert one.tags[0] == ("mmer-vision" if team else "mmer")
    assert stores == {"": {(store_url, "mmer")}, "vision-": {(vision, "vision")}}
    automations = client.request("POST", "/automations/filter", json={}).json()
    of_team = {one["name"]: one for one in automations if one["name"].endswith("(vision)")}
    assert len(of_team) == len(automations) - len(of_team) - 3, "no address to notify was given"
    assert all("vision" in str(one["trigger"]["match_related"]) for one in of_team.values())


@pytest.mark.parametrize("team", ["", "vision-"])
def test_a_training_is_followed_by_robustness_and_an_index(
    team: str, vision: str, deployed: Callable, client: SyncPrefectClient
) -> None:
    """As far as the server does it: `make watch` lets a worker run all three."""
    job = {"dataset": {"dataset": "flickr8k", "context_size": 32}, "training": {"epochs": 3}}
    training = run_deployment(f"train/{team}train", parameters={"job": job}, timeout=0)
    before = {run.id for run in client.read_flow_runs()}
    for state in (Running(), Completed()):
        client.set_flow_run_state(training.id, state, force=True)
    wanted = {
        str(client.read_deployment_by_name(f"{name}/{team}{name}").id) for name in ("robustness", "index")
    }
    deadline = time.monotonic() + 60
    while len(found := [run for run in client.read_flow_runs() if run.id not in before]) < len(wanted):
        assert time.monotonic() < deadline, f"only {found}"
        time.sleep(0.1)
    try:
        assert {str(run.deployment_id) for run in found} == wanted
        for run in found:
            assert run.parameters["job"]["dataset"] == job["dataset"]
            assert run.parameters["job"]["training"] == job["training"]
            assert run.state is not None
            assert run.state.is_scheduled()
    finally:
        for run in found:
            client.delete_flow_run(run.id)
