"""A store and the database of a Prefect server that earlier versions wrote, as this version reads them (tests/data/README.md)."""

import json
import lzma
import os
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.deploying import Plan, deploy
from flows.job_table import JOBS
from flows.local_server import free_port, prefect_server
from mmer_core.config import RuntimeConfig
from mmer_core.evaluation.record import METRICS_FILE, EvaluationRecord
from mmer_core.store import ArtifactKey, Draft, Manifest, Store, open_store

pytestmark = pytest.mark.integration

DATA = Path(__file__).parents[1] / "data"
STUDY = {
    "dataset": "flickr8k",
    "context_size": 32,
    "synthetic": {"images": 30},
    "encoders": {"image": "packaged:efficientnet_lite0", "image_size": 32},
    "model": {"family": "joint", "embedding": 8, "hidden": 0},
    "training": {"epochs": 3},
    "evaluation": {"resamples": 20},
}
"""The training of store-0.1.0.toml."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Store and work folder of an earlier version."""
    with tarfile.open(DATA / "store-0.1.0.tar.xz") as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Store:
    return open_store(str(folder / "store"), cache=folder / "work" / "fetched")


@pytest.fixture
def give(mmer: Callable, folder: Path) -> Callable:
    """A command on that store."""
    where = ["--store", folder / "store", "--work", folder / "work"]
    return lambda *words: mmer(*words, *where)


def only(store: Store, kind: str) -> Manifest:
    (found,) = store.list(kind)
    return found


def test_an_old_store_is_listed_and_verified(give: Callable, store: Store) -> None:
    there = list(store.list())
    assert {one.schema_version for one in there} == {1}
    assert len(there) == 21
    listed = give("artifacts", "ls", "--shards")
    assert listed.code == 0, listed.err
    assert all(str(one.key) in listed.out for one in there)
    assert "21 artifacts are intact" in give("artifacts", "verify").out
    assert str(only(store, "prepared").key) in give("artifacts", "lineage", "report").out
    shown = json.loads(give("artifacts", "show", "model").out)
    assert (shown["schema_version"], shown["summary"]["family"]) == (1, "joint")


def test_what_of_an_old_store_cannot_be_read_is_said_in_one_sentence(give: Callable, store: Store) -> None:
    model, evaluation, report = (only(store, kind) for kind in ("model", "evaluation", "report"))
    cure = f"mmer evaluate --model {model.key}"
    listed = give("runs")
    assert listed.code == 0, "an old evaluation hides all models"
    assert str(model.key) in listed.out
    for answer in (listed, give("card"), give("report", "--models", model.key)):
        (said,) = [line for line in answer.err.splitlines() if line.startswith("mmer: ")]
        assert said.startswith(f"mmer: {evaluation.key} was made by another version of mmer")
        assert said.endswith(cure)
    again = give("recompute", report.key)
    assert again.code == 1
    assert f"mmer: {report.key} was written by another version of mmer" in again.err
    assert "mmer report" in again.err


def test_an_old_model_is_measured_and_searched_by_this_version(give: Callable, store: Store) -> None:
    model, old = only(store, "model"), only(store, "evaluation")
    before = {one.key: one for one in store.list()}
    searched = give("search", "two dogs in the snow", "--k", 3)
    assert searched.code == 0, searched.err
    assert searched.out.startswith(f"in {only(store, 'index').key} of Flickr8k")
    measured = give("evaluate", "--model", model.key)
    assert measured.code == 0, measured.err
    (new,) = (one for one in store.list("evaluation") if one.key not in before)
    # Same data, same weights: an old figure that is read as something else would differ.
    record = EvaluationRecord.parse(json.loads(store.read(new, METRICS_FILE)), "new")
    for name, value in old.summary.items():
        if isinstance(value, float):
            assert record.metrics[name].value == pytest.approx(value, abs=1e-4), name
    for words in (("runs",), ("card", model.key), ("report", "--models", model.key), ("recompute", "report")):
        answer = give(*words)
        assert answer.code == 0, answer.err
    assert {key: store.manifest(key) for key in before} == before, "something old was written again"


def test_the_same_training_is_made_anew_and_never_taken_for_the_old_one(
    give: Callable, store: Store, folder: Path
) -> None:
    """Every stage that makes something else today has another version, and so other keys."""
    before = {one.key: one for one in store.list()}
    settings = folder / "job.json"
    settings.write_text(json.dumps(STUDY))
    trained = give("train", "--config", settings)
    assert trained.code == 0, trained.err
    made = {one.key: one for one in store.list() if one.key not in before}
    assert {"prepared", "features", "model", "evaluation"} <= {key.kind for key in made}
    old = {str(key) for key in before}
    assert not old & {key for one in made.values() for key in one.inputs.values()}, (
        "old inputs in something new"
    )
    assert {key: store.manifest(key) for key in before} == before
    listed = give("runs")
    assert listed.code == 0
    assert all(str(one.key) in listed.out for one in store.list("model"))


def test_a_collection_deletes_nothing_that_this_version_does_not_know(
    give: Callable, store: Store, folder: Path, tmp_path: Path
) -> None:
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "content").write_bytes(b"of a version to come")
    key = ArtifactKey("hologram", "0123456789abcdef0123456789abcdef")
    store.publish(strange, Draft(kind=key.kind, digest=key.digest, stage_version=99))
    (folder / "store" / "blobs" / "README").write_text("of somebody else")
    before = {one.key: one for one in store.list()}
    for _ in range(2):
        assert give("artifacts", "gc", "--older-than", 0).code == 0
    assert {one.key: one for one in store.list()} == before
    assert "22 artifacts are intact" in give("artifacts", "verify").out
    assert (folder / "store" / "blobs" / "README").read_text() == "of somebody else"
    assert str(key) in give("artifacts", "ls").out


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The database of the server of an earlier Prefect, upgraded as docs/operations.md says."""
    path = tmp_path / "prefect.db"
    with lzma.open(DATA / "prefect-3.8.8.sql.xz", "rt") as text, closing(sqlite3.connect(path)) as connection:
        connection.executescript(text.read())
    upgraded = subprocess.run(
        [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"],
        env=os.environ | settings_of(path),
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert upgraded.returncode == 0, upgraded.stdout + upgraded.stderr
    return path


def settings_of(database: Path) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(database.parent),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


@pytest.fixture
def client(database: Path) -> Iterator[SyncPrefectClient]:
    """Of a server on that database."""
    with (
        patch.dict("os.environ", settings_of(database)),
        prefect_server(free_port(), settings=settings_of(database)) as api,
        patch.dict("os.environ", {"PREFECT_API_URL": api}),
        temporary_settings({PREFECT_API_URL: api}),
        get_client(sync_client=True) as connected,
    ):
        yield connected


def test_an_old_server_is_deployed_to_and_its_runs_are_there(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    def automations() -> dict[str, str]:
        found = client.request("POST", "/automations/filter", json={}).json()
        assert len({one["name"] for one in found}) == len(found), "an automation is there twice"
        return {one["name"]: one["id"] for one in found}

    deployments = {one.name: one.id for one in client.read_deployments()}
    old = automations()
    assert {"train", "pipeline"} <= deployments.keys() < {job.name for job in JOBS}
    assert len(old) == 4
    deploy(Plan(RuntimeConfig(store=str(tmp_path / "store"), work=tmp_path / "work")))
    now = client.read_deployments()
    assert sorted(one.name for one in now) == sorted(job.name for job in JOBS)
    assert deployments.items() <= {one.name: one.id for one in now}.items(), (
        "a deployment was replaced by another"
    )
    assert old.items() <= automations().items()
    assert all(one.entrypoint and one.entrypoint.startswith("flows.deployed.") for one in now)
    assert [pool.name for pool in client.read_work_pools()] == ["mmer"]
    runs = {run.name: run for run in client.read_flow_runs()}
    states = {
        name: runs[name].state_name for name in ("an old training", "an old ingestion", "still to come")
    }
    assert states == {"an old training": "Completed", "an old ingestion": "Failed", "still to come": "Late"}
    assert {runs[name].deployment_id for name in states} <= set(deployments.values())
    failed = runs["an old ingestion"].state
    assert failed is not None
    assert failed.message == "the folder /data/emotic does not exist"
    left = {one.key: one.data for one in client.read_artifacts()}
    assert left["model-summary"] == "`model/0123`"
