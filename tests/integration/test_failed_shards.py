"""What the page of a failed run says, and that the command which stands there tries again and reuses what is done."""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.deployments import run_deployment
from prefect.states import Scheduled
from support.dask_cluster import dask_cluster
from support.hf_folders import build
from support.small_disk import small_disk
from support.small_pipeline import OUTCOMES, Study, attack_elsewhere, copy_artifact, created

import tasks.stages
from flows import deployed, jobs
from flows.deploying import Plan, deploy
from flows.local_server import prefect_worker
from mmer_core.config import (
    EncoderConfig,
    FinetuneConfig,
    FinetuneJob,
    IndexJob,
    RobustnessJob,
    RuntimeConfig,
)
from mmer_core.datasets.prepared import Prepared
from mmer_core.errors import AttackError, MmerError, StoreError
from mmer_core.stages import Context
from mmer_core.stages.photos import attacked_rows
from mmer_core.store import ArtifactKey, Draft, Store
from tasks.decorators import Orchestrated

STUDY = Path(__file__).parents[2] / "tools" / "chaos" / "tiny.toml"

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("prefect_api")]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that failed is asked again without a pause."""
    real = tasks.stages.task_of
    patient = {"retry_delay_seconds": 0}
    monkeypatch.setattr(tasks.stages, "task_of", lambda stage: real(stage).with_options(**patient))


@dataclass(frozen=True)
class Failed:
    """A run that failed: what its page says, and what it left under *Artifacts*."""

    run: FlowRun
    message: str
    note: str

    @property
    def command(self) -> str:
        """The command that stands on the page."""
        found = re.search(r"try again with: (.+)$", self.message)
        assert found, self.message
        assert f"```console\n{found[1]}\n```" in self.note, "the note has another one"
        return found[1]


def failing(
    client: SyncPrefectClient, flow: Orchestrated, job: object, kind: type[MmerError] = StoreError
) -> Failed:
    ended: list[FlowRun] = []
    watched = flow.with_options(on_failure=[lambda of, run, state: ended.append(run)])
    with pytest.raises(kind):
        watched(job)
    run = client.read_flow_run(ended[0].id)
    assert run.state is not None
    assert run.state.is_failed()
    (note,) = (
        one.data for one in client.read_artifacts() if one.key == "failure" and one.flow_run_id == run.id
    )
    return Failed(run, run.state.message or "", note)


def in_a_shell(client: SyncPrefectClient, failed: Failed) -> None:
    """Copy the command into a shell: the same run goes on, and completes."""
    shell(failed.command)
    completed_again(client, failed)


def shell(command: str) -> None:
    env = os.environ | {"PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=250, env=env)
    assert done.returncode == 0, done.stdout + done.stderr


def in_this_process(client: SyncPrefectClient, failed: Failed) -> None:
    """What the command does, without a process that imports everything anew."""
    words = failed.command.split()
    assert words[:4] == ["prefect", "flow-run", "retry", str(failed.run.id)]
    assert words[4] == "--entrypoint"
    module, _, name = words[5].rpartition(".")
    assert module == deployed.__name__
    client.set_flow_run_state(failed.run.id, Scheduled(), force=True)
    from prefect.flow_engine import run_flow

    run = client.read_flow_run(failed.run.id)
    run_flow(getattr(deployed, name), flow_run=run, parameters=run.parameters)
    completed_again(client, failed)


def completed_again(client: SyncPrefectClient, failed: Failed) -> None:
    run = client.read_flow_run(failed.run.id)
    assert run.state is not None
    assert run.state.is_completed()
    assert run.run_count == 2


@contextmanager
def damaged(runtime: RuntimeConfig, key: ArtifactKey, name: str) -> Iterator[None]:
    """The last bit of a stored file is another until the block ends."""
    (entry,) = (one for one in Context(runtime).store.manifest(key).files if one.path == name)
    (blob,) = (Path(runtime.store) / "blobs").rglob(f"{entry.sha256}*")
    good = blob.read_bytes()
    blob.chmod(0o644)
    blob.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    try:
        yield
    finally:
        blob.write_bytes(good)
        blob.chmod(0o444)


def copied(study: Study, folder: Path, *but: str) -> RuntimeConfig:
    """A store with all of the study's but some kinds."""
    runtime = RuntimeConfig(store=str(folder / "store"), work=folder / "work", device="cpu")
    # Without what is checked out, which nobody reads from the store again.
    shutil.copytree(study.config.runtime.store, folder / "store", ignore=shutil.ignore_patterns("checkout"))
    store = Context(runtime).store
    for key in [one for one in store.keys() if one.kind in but]:
        store.delete(key)
    return runtime


def unchanged(before: dict[ArtifactKey, str], after: dict[ArtifactKey, str]) -> None:
    assert {key: after[key] for key in before} == before, "what was done was done again"


@dataclass(frozen=True)
class Attacked:
    """An attack of three shards on a model, and features of which those of the last sample are no numbers."""

    study: Study
    job: RobustnessJob

    @property
    def store(self) -> Store:
        return Context(self.job.runtime).store

    @property
    def features(self) -> ArtifactKey:
        return ArtifactKey.parse(
            self.study.store.manifest(ArtifactKey.parse(str(self.job.trained))).inputs["features"]
        )

    def break_last_sample(self, folder: Path) -> str:
        """The id of the sample."""
        manifest = self.study.store.manifest(self.features)
        model = self.study.store.manifest(ArtifactKey.parse(str(self.job.trained)))
        name = self.job.attack.split
        split = Prepared.open(self.study.store.fetch(ArtifactKey.parse(model.inputs["prepared"]))).split(name)
        row = attacked_rows(self.job.attack, split)[-1]
        shutil.copytree(self.study.store.fetch(self.features), folder)
        texts = np.load(folder / f"{name}_text.npy")
        texts[split.text_sample == row] = np.nan
        (folder / f"{name}_text.npy").chmod(0o644)
        np.save(folder / f"{name}_text.npy", texts)
        self.store.delete(self.features)
        self.store.publish(folder, Draft(**{field: getattr(manifest, field) for field in Draft.model_fields}))
        return split.ids[row]

    def mend(self) -> None:
        self.store.delete(self.features)
        shutil.rmtree(self.job.runtime.work, ignore_errors=True)
        copy_artifact(self.study.store.manifest(self.features), self.study.store, self.store)


@pytest.mark.parametrize(
    ("engine", "again"),
    [
        ("threads", in_a_shell),
        ("processes", in_this_process),
        pytest.param("dask", in_this_process, marks=pytest.mark.long),
    ],
)
def test_an_attack_shard(
    engine: str, again: Callable, study: Study, client: SyncPrefectClient, tmp_path: Path
) -> None:
    """By an attack on a sample whose features are no numbers."""
    with ExitStack() as stack:
        where: dict[str, object] = {"engine": engine, "workers": 2}
        if engine == "dask":
            (tmp_path / "dask").mkdir()
            cluster = stack.enter_context(dask_cluster(tmp_path / "dask"))
            cluster.expect(2)
            where["address"] = cluster.address
        attack = study.config.attack.model_copy(
            update={"shard_size": 1, "images": 3, "attacks": ("sparse-rs",)}
        )
        job = attack_elsewhere(study, attack, tmp_path, **where)
        trained = str(study.only("model", task="emotion", family="joint").key)
        attacked = Attacked(study, RobustnessJob(trained=trained, attack=attack, runtime=job.runtime))
        sample = attacked.break_last_sample(tmp_path / "broken")
        failed = failing(client, jobs.robustness, attacked.job, AttackError)
        assert f"for sample {sample!r} hold NaN" in failed.message
        assert f"in sparse-rs K=1 seed=0, sample {sample!r} of {attack.split}" in failed.message
        before = created(attacked.store)
        assert [key.kind for key in before if key.kind in OUTCOMES] == ["attack-shard"] * 2
        attacked.mend()
        again(client, failed)
        after = created(attacked.store)
    del before[attacked.features]
    unchanged(before, after)
    assert sorted(key.kind for key in after if key.kind in OUTCOMES) == ["attack-shard"] * 3 + ["robustness"]


def test_a_feature_shard(study: Study, client: SyncPrefectClient, tmp_path: Path, at_once: None) -> None:
    """By a disk that is full."""
    runtime = copied(study, tmp_path, "feature-shard", "features", "model", "evaluation", "model-card")
    (prepared,) = (
        one.key for one in Context(runtime).store.list("prepared") if one.summary["task"] == "retrieval"
    )
    with small_disk(tmp_path / "work", 250) as disk:
        if disk is None:
            pytest.skip("a small disk cannot be mounted here (it takes root)")
        own = runtime.model_copy(update={"workers": 1})
        job = study.train_job("flickr8k").model_copy(update={"runtime": own, "prepared": str(prepared)})
        failed = failing(client, jobs.train, job)
        assert "the disk is full" in failed.message
        shard = r"\(in encode train text 0, samples '.+', '.+', '.+' and \d+ more of train\)"
        assert re.search(shard, failed.message)
        before = created(Context(runtime).store)
        assert any(key.kind == "feature-shard" for key in before)
        disk.grow(1_000_000)
        in_this_process(client, failed)
    unchanged(before, created(Context(runtime).store))


def test_an_index_shard(study: Study, client: SyncPrefectClient, tmp_path: Path, at_once: None) -> None:
    """By features that are damaged after the index was planned."""
    runtime = copied(study, tmp_path, "index", "index-shard", "report")
    model = study.only("model", task="retrieval", family="joint")
    features = ArtifactKey.parse(model.inputs["features"])
    job = IndexJob(trained=str(model.key), runtime=runtime, index=study.config.index)
    with damaged(runtime, features, f"{job.index.split}_context.npy"):
        failed = failing(client, jobs.index, job)
    assert f"{job.index.split}_context.npy of {features} is damaged" in failed.message
    assert re.search(r"\(samples '[^()]+' and \d+ more of \w+, in index image 0\)", failed.message)
    before = created(Context(runtime).store)
    in_this_process(client, failed)
    unchanged(before, created(Context(runtime).store))


def test_a_finetuning(study: Study, client: SyncPrefectClient, tmp_path: Path, at_once: None) -> None:
    """By pictures that are damaged in the store."""
    runtime = copied(study, tmp_path, "report")
    (prepared,) = (
        one.key for one in Context(runtime).store.list("prepared") if one.summary["task"] == "retrieval"
    )
    clip = f"hf:{build('clip', tmp_path / 'clip')}"
    job = FinetuneJob(
        prepared=str(prepared),
        encoders=EncoderConfig(image=clip, text=clip, image_size=32),
        finetune=FinetuneConfig(epochs=1, rank=4, batch_size=8),
        runtime=runtime,
    )
    with damaged(runtime, prepared, "train_context_arr.npy"):
        failed = failing(client, jobs.finetune, job)
    assert f"train_context_arr.npy of {prepared} is damaged" in failed.message
    in_this_process(client, failed)
    assert sum(key.kind == "adapter" for key in Context(runtime).store.keys()) == 1


@pytest.mark.long
def test_a_study_on_a_worker(prefect_api: str, client: SyncPrefectClient, tmp_path: Path) -> None:
    """A disk that is full in the middle of a pipeline; it grows, and the command that stands on the page, which does what *Retry*
    in the UI does, completes the same run."""
    with small_disk(tmp_path / "disk", 1200) as disk, prefect_worker(prefect_api, "mmer"):
        if disk is None:
            pytest.skip("a small disk cannot be mounted here (it takes root)")
        runtime = RuntimeConfig(store=str(tmp_path / "disk" / "store"), work=tmp_path / "work", device="cpu")
        deploy(Plan(runtime))
        settings = {"config": tomllib.loads(STUDY.read_text()) | {"runtime": runtime.model_dump(mode="json")}}
        started = run_deployment("pipeline/pipeline", parameters=settings, timeout=0)
        run = ended(client, started.id)
        assert run.state is not None
        assert run.state.is_failed(), run.state.message
        message = run.state.message or ""
        assert "the disk is full" in message
        command = message.partition("try again with: ")[2]
        assert command == f"prefect flow-run retry {run.id}"
        before = created(Context(runtime).store)
        assert {"prepared", "feature-shard"} <= {key.kind for key in before}
        assert "model" not in {key.kind for key in before}
        failed = [one.id for one in client.read_flow_runs() if one.state and one.state.message == message]
        assert set(failed) > {run.id}
        notes = [one.flow_run_id for one in client.read_artifacts() if one.key == "failure"]
        assert sorted(one for one in notes if one in failed) == sorted(failed), "a run has no note, or two"
        deadline = time.monotonic() + 60  # task runs come by events
        while not any(same_end(one, message) for one in client.read_task_runs()):
            assert time.monotonic() < deadline, "no task run says it"
            time.sleep(0.5)
        disk.grow(1_000_000)
        shell(command)
        again = ended(client, run.id)
        assert again.state is not None
        assert again.state.is_completed(), again.state.message
        assert again.run_count == 2
        unchanged(before, created(Context(runtime).store))
        assert len(list(Context(runtime).store.list("report"))) == 1


def same_end(one: TaskRun, message: str) -> bool:
    """Whether a task run says what the flow run says."""
    said = one.state.message if one.state and one.state.is_failed() else None
    return bool(said) and str(said).partition("StoreError: ")[2] == message.partition("StoreError: ")[2]


def ended(client: SyncPrefectClient, run: UUID) -> FlowRun:
    deadline = time.monotonic() + 600
    while not (state := (found := client.read_flow_run(run)).state) or not state.is_final():
        assert time.monotonic() < deadline, f"the run is still {state and state.name}"
        time.sleep(0.5)
    return found
