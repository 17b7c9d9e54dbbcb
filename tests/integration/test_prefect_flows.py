"""The jobs as Prefect flows against a real server."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from prefect import State
from prefect.artifacts import Artifact
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.context import get_run_context
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from support import captioner_folders
from support.otlp_collector import collector
from support.small_pipeline import OUTCOMES, Study, attack_elsewhere, created, digests, poison_job

import mmer_core.progress
import tasks.running
from flows import jobs
from flows.poisoning import poison
from mmer_core.config import (
    CaptionConfig,
    IngestConfig,
    IngestJob,
    RuntimeConfig,
    SyntheticConfig,
    TrainingConfig,
)
from mmer_core.datasets.synthetic import CAPTIONS_FILE, write_emotic
from mmer_core.errors import DatasetError, EngineError, StoreError
from mmer_core.progress import silent
from mmer_core.stages import Context
from mmer_core.stages import ingest as ingest_stage
from mmer_core.store import ArtifactKey
from tasks.decorators import Orchestrated, flow, task
from tasks.engines import ThreadsEngine, open_engine
from tasks.progress import progress_for
from tasks.running import call, call_flow, fan_out
from tasks.stages import task_of

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("prefect_api")]


def watched(job_flow: Orchestrated) -> tuple[Orchestrated, list[FlowRun]]:
    """A flow, and a list that gets its run when that ends.

    What a flow returned is asked of the call, not of the final state: when the server's database is locked for
    a minute the state is proposed twice, and what comes back then is the server's copy, which has no result.
    """
    ended: list[FlowRun] = []

    def note(of: Any, run: FlowRun, state: State) -> None:
        ended.append(run)

    return job_flow.with_options(on_completion=[note], on_failure=[note]), ended


def stored_state(client: SyncPrefectClient, run: FlowRun) -> State:
    """The state of a run as the server has it."""
    state = client.read_flow_run(run.id).state
    assert state is not None
    return state


def below(client: SyncPrefectClient, parent: FlowRun) -> list[tuple[str, str]]:
    """Flow and state of all runs that a run started, directly or not."""
    runs = client.read_flow_runs()
    names = {one.id: one.name for one in client.read_flows()}
    # Whatever ran since and has a parent is below it: one flow runs at a time here.
    found = [
        one for one in runs if one.parent_task_run_id is not None and one.start_time >= parent.start_time
    ]
    return sorted((names[one.flow_id], str(one.state_type and one.state_type.value)) for one in found)


def test_pipeline_run(study: Study, client: SyncPrefectClient) -> None:
    before = created(study.store)
    config = study.config.model_copy(
        update={
            "datasets": {"flickr8k": study.config.datasets["flickr8k"]},
            "families": ("joint",),
        }
    )
    pipeline, ended = watched(jobs.pipeline)
    report = ArtifactKey.parse(pipeline(config))
    try:
        # Another selection is another report; all that it shows was there.
        assert created(study.store).keys() - before.keys() == {report}
        (run,) = ended
        assert stored_state(client, run).is_completed()
        assert run.parameters["config"]["training"]["epochs"] == config.training.epochs
        children = below(client, run)
        assert children == [(name, "COMPLETED") for name in ("index", "ingest", "robustness", "train")]
        names = {one.name for one in client.read_flow_runs()}
        assert {
            f"{what} flickr8k" for what in ("ingest", "train joint", "attack joint", "index joint")
        } <= names
        left = {artifact.key: artifact for artifact in client.read_artifacts()}
        assert "](data:image/jpeg;base64," in left["dataset-samples"].data
        assert {"dataset-card-summary", "dataset-table"} <= left.keys()
        assert {"prepared-summary", "model-summary", "evaluation-summary", "index-summary"} <= left.keys()
        assert str(report) in left["report-summary"].data
        assert all(
            kind in left["report-lineage"].data for kind in ("prepared/", "model/", "data:image/svg+xml;")
        )
        assert "Found in the store" in left["model-summary"].data
        verdict = left["verdict"].data.splitlines()
        assert [line.count(" | ") for line in verdict if line.startswith("|")] == [5] * 3
        assert verdict[-1].startswith(
            "| Does sparse-rs fool the joint model more often than random pixels in corner colours? | "
        )
        curves = json.loads(left["robustness-table"].data)
        assert {row["attack"] for row in curves} == {"sparse-rs", "random-corners"}
        assert all(0 <= row["success %"] <= 100 for row in curves)
    finally:
        study.store.delete(report)


def test_poisoning_run_starts_a_subflow_for_every_training_set(
    study: Study, client: SyncPrefectClient, tmp_path: Path
) -> None:
    job = poison_job(study, "flickr8k", tmp_path, target="dog", counts=(1,))
    two_at_once = job.runtime.model_copy(update={"workers": 2})
    flow, ended = watched(poison)
    result = ArtifactKey.parse(flow(job.model_copy(update={"families": ("joint",), "runtime": two_at_once})))
    assert {row["attack"] for row in Context(job.runtime).store.manifest(result).summary["means"]} == {
        "backdoor",
        "clean",
        "trigger-only",
    }
    (run,) = ended
    arms = [child for child in below(client, run) if child[0] == "poison arm"]
    assert arms == [("poison arm", "COMPLETED")] * 3


def test_train_run_makes_a_model(study: Study) -> None:
    before = created(study.store)
    job = study.train_job("flickr8k")
    training = TrainingConfig.model_validate(dict(job.training) | {"seed": 1, "epochs": 2})
    trained = jobs.train(job.model_copy(update={"training": training}))
    made = {ArtifactKey.parse(trained.model), ArtifactKey.parse(trained.evaluation)}
    new = created(study.store).keys() - before.keys()
    try:
        assert {key.kind for key in new - made} == {"model-card"}
        assert len(new) == 3
        card = Artifact.get("model-card")
        assert card is not None
        assert "with seed 1" in card.data
        assert "## Limits" in card.data
        note = Artifact.get("model-summary")
        assert note is not None
        assert trained.model in note.data
        assert "Made and stored in" in note.data
        assert "| epochs | 2 |" in note.data
    finally:
        for key in new:
            study.store.delete(key)


def test_command_line_runs_a_flow_where_asked(study: Study, mmer: Callable, client) -> None:
    before = len(client.read_flow_runs())
    settings = json.dumps({"dataset": "emotic", "context_size": 64, "body_size": 64})
    path = study.config.runtime.work / "ingest.json"
    path.write_text(settings)
    images = study.config.datasets["emotic"].synthetic.images
    command = ["ingest", "--config", path, "--synthetic.images", images, *study.flags()]
    try:
        assert "EMOTIC (synthetic)" in mmer(*command).out
        assert len(client.read_flow_runs()) == before
        assert "EMOTIC (synthetic)" in mmer(*command, "--prefect").out
        assert len(client.read_flow_runs()) == before + 1
    finally:
        path.unlink()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[IngestConfig]:
    """Every time that the stage behind the task `ingest` is called."""
    seen: list[IngestConfig] = []
    real = ingest_stage.identity

    def identity(config):
        seen.append(config)
        return real(config)

    monkeypatch.setattr(ingest_stage, "identity", identity)
    return seen


def test_bad_input_fails_at_once(
    study: Study, client: SyncPrefectClient, tmp_path, calls: list[IngestConfig]
) -> None:
    job = IngestJob(dataset=IngestConfig(root=tmp_path / "missing"), runtime=study.config.runtime)
    ingest, ended = watched(jobs.ingest)
    with pytest.raises(DatasetError, match="missing does not exist"):
        ingest(job)
    assert len(calls) == 1, "bad input was tried again"
    stored = stored_state(client, *ended)
    assert stored.is_failed()
    assert "missing does not exist" in stored.message


def test_captions_are_tasks_of_their_own(client: SyncPrefectClient, tmp_path) -> None:
    tree = write_emotic(tmp_path / "tree", SyntheticConfig(images=30))
    (tree / CAPTIONS_FILE).unlink()
    dataset = IngestConfig(
        root=tree,
        captioner=f"hf:{captioner_folders.build('blip', tmp_path / 'tiny-blip')}",
        caption=CaptionConfig(max_tokens=8, shard_size=10),
        context_size=16,
        body_size=16,
    )
    runtime = RuntimeConfig(store=str(tmp_path / "store"), work=tmp_path / "work", device="cpu")
    ingested = jobs.ingest(IngestJob(dataset=dataset, runtime=runtime))
    store = Context(runtime).store
    (prepared,) = store.list("prepared")
    assert ingested.prepared == str(prepared.key)
    assert prepared.summary["text_provenance"]["model:tiny-blip"] > 0
    (captions,) = store.list("captions")
    left = {artifact.key: artifact for artifact in client.read_artifacts()}
    assert str(captions.key) in left["captions-summary"].data


def test_store_failure_is_tried_again(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []
    real = ingest_stage.identity

    def shaky(config):
        attempts.append(config)
        if len(attempts) < 3:
            raise StoreError("the store does not answer")
        return real(config)

    monkeypatch.setattr(ingest_stage, "identity", shaky)
    patient = task_of(ingest_stage).with_options(retry_delay_seconds=0)

    @flow(name="shaky")
    def run() -> str:
        return str(call(patient, study.config.runtime, study.config.datasets["emotic"]))

    assert run().startswith("prepared/")
    assert len(attempts) == 3


def test_progress_is_in_the_log_and_in_the_ui(
    client: SyncPrefectClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmer_core.progress, "SECONDS_TO_FIRST_LINE", 0.0)

    @flow(name="long")
    def run(job: None) -> None:
        progress_for("encode")(1, 4)
        progress_for("silently", quiet=True)(3, 4)

    job_flow, ended = watched(run)
    records = logging.getLogger("mmer")  # Prefect and MMER_LOG hand them on from here
    records.addHandler(caplog.handler)
    try:
        with caplog.at_level("INFO", "mmer"):
            job_flow(None)
    finally:
        records.removeHandler(caplog.handler)
    assert {one.getMessage() for one in caplog.records if one.name == "mmer"} == {"encode: 1 of 4 (25 %)"}
    left = [one.data for one in client.read_artifacts() if one.flow_run_id == ended[0].id]
    assert sorted(left) == [25.0, 75.0]


@pytest.mark.parametrize(("device", "tags"), [("auto", set()), ("cpu", set()), ("elsewhere", {"gpu"})])
def test_only_what_may_use_a_gpu_waits_for_one(device: str, tags: set[str], monkeypatch) -> None:
    """On a machine without one a limit of GPUs holds nobody up; what a cluster has is not known here."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    seen = []

    @task(name="uses a GPU where there is one", tags=["gpu"])
    def work(runtime: RuntimeConfig) -> None:
        seen.append(set(get_run_context().task_run.tags))

    @flow(name="tags")
    def run() -> None:
        if device == "elsewhere":
            runtime = RuntimeConfig(engine="dask", address="tcp://127.0.0.1:1")
            monkeypatch.setattr(tasks.running, "open_engine", lambda _: ThreadsEngine(runtime))
            fan_out(work, [1], lambda runtime, _: (runtime,), runtime, silent)
        else:
            call(work, RuntimeConfig(device=device))

    run()
    assert seen == [tags]


def test_of_runs_only_the_outermost_show_signs_of_life(monkeypatch) -> None:
    """Each would cost up to a second when it stops, and no automation watches those inside others."""
    frequency = PREFECT_FLOWS_HEARTBEAT_FREQUENCY

    @flow(name="inner")
    def inner(job: str) -> int | None:
        return frequency.value()

    @flow(name="outer")
    def outer() -> tuple[int | None, int | None]:
        return frequency.value(), call_flow(inner, "job")

    with temporary_settings({frequency: 45}):
        assert outer() == (45, None)


@pytest.mark.long
def test_shards_in_processes(study: Study, client: SyncPrefectClient, tmp_path) -> None:
    """Tasks of a flow that run elsewhere leave the same artifacts under the same keys."""
    job = attack_elsewhere(study, study.config.attack, tmp_path, engine="processes", workers=2)
    robustness, ended = watched(jobs.robustness)
    key = ArtifactKey.parse(robustness(job))
    assert stored_state(client, *ended).is_completed()
    store = Context(job.runtime).store
    made = [manifest for kind in OUTCOMES for manifest in store.list(kind)]
    assert key in {manifest.key for manifest in made}
    assert len(made) > 2
    for manifest in made:
        assert digests(manifest) == digests(study.store.manifest(manifest.key))


@pytest.mark.parametrize("engine", ["threads", "processes"])
def test_fan_out_in_a_flow(engine: str) -> None:
    runtime = RuntimeConfig(engine=engine, workers=2)

    @task(name="slow first")
    def work(number: int) -> int:
        if number < 0:
            raise DatasetError(f"cannot do {number}")
        return number * number

    done: list[tuple[int, int]] = []

    @flow(name="fan out")
    def run(numbers: list[int]) -> list[int]:
        return fan_out(
            work,
            numbers,
            lambda _, n: (n,),
            runtime,
            lambda i, of, note="": done.append((i, of)),
        )

    numbers = [5, 3, 8, 1, 9, 2]
    assert run(numbers) == [number * number for number in numbers]
    assert done[-1] == (6, 6)

    with pytest.raises(DatasetError, match="cannot do -2"):
        run([1, -2, 3, -4])


def test_a_shard_that_ends_every_process_fails_its_flow(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    @task(name="deadly")
    def work(number: int) -> None:
        os._exit(1)

    runtime = RuntimeConfig(engine="processes", workers=2)

    @flow(name="deadly fan out")
    def run() -> None:
        fan_out(work, [1], lambda _, n: (n,), runtime, silent)

    monkeypatch.setattr(open_engine(runtime).client.cluster.scheduler, "allowed_failures", 1)
    deadly, ended = watched(run)
    with pytest.raises(EngineError, match="ended 2 worker processes one after another"):
        deadly()
    assert stored_state(client, *ended).is_failed()


@pytest.mark.long
def test_flow_and_tasks_are_spans_of_one_trace(prefect_api: str, tmp_path: Path) -> None:
    """Sent to a collector as OpenTelemetry's own launcher sends them."""
    folder = Path(sys.executable).parent
    command = [folder / "opentelemetry-instrument", "--", folder / "mmer", "ingest", "flickr8k"]
    command += ["--synthetic.images", "30", "--context-size", "32", "--prefect"]
    command += ["--store", str(tmp_path / "store"), "--work", str(tmp_path / "work")]
    with collector() as (address, spans):
        env = {
            "PREFECT_API_URL": prefect_api,
            "OTEL_SERVICE_NAME": "mmer",
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_METRICS_EXPORTER": "none",
        }
        ended = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    named = {span.name: span for span in spans}
    run = next(span for span in spans if not span.parent_span_id)
    attributes = {one.key: one.value.string_value for one in run.attributes}
    assert attributes["prefect.run.parameter.job"] == "IngestJob"
    for name in ("ingest flickr8k", "dataset card"):
        assert named[name].trace_id == run.trace_id
        assert run.start_time_unix_nano <= named[name].start_time_unix_nano
        assert named[name].end_time_unix_nano <= run.end_time_unix_nano
