"""An index that nothing is left in, photos without captions, and an index that is deleted beneath its readers."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient
from support.small_pipeline import Study, copy_artifact

from flows import jobs
from flows.serve_cli import _open
from mmer_core.config import IndexConfig, IndexJob, RuntimeConfig, UpdateIndexJob
from mmer_core.datasets.prepared import Prepared
from mmer_core.retrieval import RetrievalIndex
from mmer_core.retrieval.record import IndexSummary
from mmer_core.serving import Service, create_app
from mmer_core.stages import Context
from mmer_core.store import ArtifactKey, Manifest

pytestmark = pytest.mark.usefixtures("as_it_was")


@pytest.fixture
def base(study: Study) -> Manifest:
    """The joint model's."""
    return list(study.store.list("index"))[-1]


def emptied(study: Study, base: Manifest, compact: str) -> ArtifactKey:
    ids = RetrievalIndex(study.context.folder(base.key)).ids()
    job = UpdateIndexJob(
        index=str(base.key), delete=(*ids, ids[0]), compact=compact, runtime=study.config.runtime
    )
    return ArtifactKey.parse(jobs.update_index.fn(job))


@pytest.mark.long
@pytest.mark.parametrize("compact", ["no", "auto"])
def test_an_empty_index_says_so_and_is_filled_again(
    compact: str, study: Study, base: Manifest, mmer: Callable, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (40, 30), "red").save(photo)
    (tmp_path / "questions.txt").write_text("a dog\na cat\n")
    key = emptied(study, base, compact)
    assert RetrievalIndex(study.context.folder(key)).ids() == []
    assert bool(study.store.manifest(key).summary_as(IndexSummary).parts) == (compact == "no")
    flags = ["--index", key, *study.flags()]

    for asked in (
        ["a dog"],
        ["a dog", "--target", "text"],
        ["--image", photo],
        ["--queries", tmp_path / "questions.txt"],
    ):
        answer = mmer("search", *asked, "--k", 1000, *flags)
        assert answer.code == 0, answer.err
        assert "nothing found" in answer.out
        assert "holds 0 " in answer.err
    assert json.loads(mmer("search", "a dog", "--json", *flags).out) == []
    assert mmer("search", "a dog", "--html", tmp_path / "page.html", *flags).code == 0
    answer = mmer("search", "--id", "nobody", *flags)
    assert (answer.code, answer.err.count("holds 0 photos")) == (1, 1)

    snapshot = _open(study.config.runtime, str(key), None)
    with TestClient(create_app(Service(snapshot))) as client:
        assert client.get("/api/index").json()["images"] == 0
        assert client.get("/").status_code == 200
        assert client.get("/api/search", params={"text": "dog"}).json()["results"][0]["hits"] == []
        assert client.get("/api/search", params={"id": "x"}).status_code == 404
        sent = client.post("/api/search", content=photo.read_bytes(), headers={"Content-Type": "image/png"})
        assert sent.json()["results"][0]["hits"] == []

    again = mmer("update-index", "--compact", "yes", *flags)
    assert again.code == 0, again.err
    assert "0 photos" in again.out
    assert mmer("update-index", "--delete", "nobody", *flags).code == 1
    filled = mmer(
        "update-index", "--prepared", base.inputs["prepared"], "--split", "val", "--compact", compact, *flags
    )
    assert filled.code == 0, filled.err
    index = RetrievalIndex(study.context.folder(study.store.find(filled.out.split()[-1])))
    val = Prepared.open(study.context.folder_of(base.inputs["prepared"])).split("val")
    assert sorted(index.ids()) == sorted(val.ids)
    assert mmer("report", *study.flags()).code == 0


def test_too_few_photos_are_left_for_the_kind_of_index(study: Study, base: Manifest) -> None:
    """Lists that were trained on six photos cannot be trained on one; the index then is Flat."""
    job = IndexJob(
        trained=base.inputs["model"], index=IndexConfig(factory="IVF4,Flat"), runtime=study.config.runtime
    )
    key = jobs.index.fn(job)
    ids = RetrievalIndex(study.context.folder_of(key)).ids()
    update = UpdateIndexJob(index=key, delete=tuple(ids[1:]), compact="yes", runtime=study.config.runtime)
    left = study.store.manifest(ArtifactKey.parse(jobs.update_index.fn(update)))
    assert left.summary_as(IndexSummary).search["image"].factory == "Flat"
    assert RetrievalIndex(study.context.folder(left.key)).ids() == ids[:1]


def test_readers_outlive_what_is_deleted_beneath_them(study: Study, base: Manifest, tmp_path: Path) -> None:
    """Index, model and pictures go, and their bytes; what is mapped is still there, and the rest is one sentence."""
    runtime = RuntimeConfig(store=str(tmp_path / "store"), work=tmp_path / "work")
    store = Context(runtime).store
    for key in (base.key, *map(ArtifactKey.parse, (base.inputs["model"], base.inputs["prepared"]))):
        copy_artifact(study.store.manifest(key), study.store, store)
    snapshot = _open(runtime, str(base.key), None)
    ids = snapshot.searcher.index.ids()
    for key in list(store.keys()):
        store.delete(key)
    store.gc(older_than=0)
    red = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(red, "PNG")
    with TestClient(create_app(Service(snapshot)), raise_server_exceptions=False) as client:
        for params in ({"text": "a dog"}, {"id": ids[0]}, {"text": "a dog", "target": "text"}):
            hits = client.get("/api/search", params=params).json()["results"][0]["hits"]
            assert hits, params
        sent = client.post("/api/search", content=red.getvalue(), headers={"Content-Type": "image/png"})
        assert sent.status_code == 200
        assert client.get("/api/photo", params={"id": ids[0]}).status_code == 200
        gone = client.get("/pictures", params={"id": ids[0]})
        assert gone.status_code in (200, 404), gone.text
        if gone.status_code == 404:
            assert "was deleted" in gone.json()["error"]
