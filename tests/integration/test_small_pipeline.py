"""The whole study as plain Python: complete, whole, and free the second time."""

import json
import re

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity
from support.small_pipeline import Study, created

from flows import jobs
from mmer_core.store import ArtifactKey
from mmer_core.store.workspace import lock_of, place_of


def test_report_stands_alone_and_shows_the_measured_figures(study: Study) -> None:
    html = (study.context.folder(study.report) / "report.html").read_text()
    fetched = re.findall(
        r"""(?:src|href|srcset|data)\s*=\s*["']([^"'#][^"']*)|url\(\s*["']?([^)#"']+)""", html
    )
    addresses = {a or b for a, b in fetched}
    assert addresses, "a report without one picture"
    assert not [address for address in addresses if not address.startswith("data:")]
    assert "@import" not in html
    assert not re.search(r"<(script|link|iframe)[^>]+(src|href)=.(?!data:)", html)
    for manifest in study.store.list("evaluation"):
        folder = study.context.folder(manifest.key)
        metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
        for name in {"map", "vad_mae", "i2t_r1", "t2i_r5", "mean_recall"} & metrics.keys():
            assert re.search(rf"\b{re.escape(_shown(name, metrics[name]['value']))}\b", html), (name, metrics)


def _shown(name: str, value: float) -> str:
    return f"{value:.3f}" if name == "vad_mae" else f"{value:.1f}"


def test_second_run_makes_nothing(study: Study) -> None:
    before = created(study.store)
    assert jobs.pipeline.fn(study.config) == str(study.report)
    assert created(study.store) == before


def test_what_was_left_by_a_kill_between_publishing_and_cleaning_up_is_gone_after_the_next_run(
    study: Study,
) -> None:
    work = study.config.runtime.work
    # Once a whole is there, nobody asks for its shards: `mmer artifacts gc` removes theirs.
    joined = {shard for manifest in study.store.list() for shard in manifest.shards}
    asked = [ArtifactKey.parse(key) for key in reached(study) - joined]
    left = [place_of(work, key) for key in asked]
    assert {place.name.rpartition("-")[0] for place in left} >= {"features", "robustness", "index", "report"}
    for place in left:
        (place / "scratch").mkdir(parents=True)
        lock_of(place).touch()
    jobs.pipeline.fn(study.config)
    assert not [place.name for place in left if place.exists() or lock_of(place).exists()]


def test_every_model_is_measured_indexed_and_attacked(study: Study) -> None:
    models = list(study.store.list("model"))
    measured = {(model.summary["task"], model.summary["family"]) for model in models}
    assert measured == {(t, f) for t in ("emotion", "retrieval") for f in ("separate", "joint")}
    for model in models:
        assert study.made_from("evaluation", "model", model)
        attacked = study.made_from("robustness", "model", model)
        assert {row["attack"] for row in attacked.summary["curves"]} == {"sparse-rs", "random-corners"}
        if model.summary["task"] == "retrieval":
            assert study.made_from("index", "model", model)


def test_lineage_is_complete(study: Study) -> None:
    manifests = list(study.store.list())
    keys = {str(manifest.key) for manifest in manifests}
    for manifest in manifests:
        inputs = {role: key for role, key in manifest.inputs.items() if role != "raw"}
        assert set(inputs.values()) <= keys, manifest.key
        # A plan is made from the encoder alone.
        rootless = manifest.kind in ("prepared", "network-plan")
        assert rootless or inputs, f"{manifest.key} came from nowhere"
        assert manifest.libraries["torch"]
        assert manifest.code_version
    # From the report, everything is reached: nothing was made for no purpose.
    # A model's card is for whoever takes the model away; a plan saves time, and decides nothing.
    assert reached(study) == {key for key in keys if not key.startswith(("model-card/", "network-plan/"))}


def reached(study: Study) -> set[str]:
    """Keys of the report and of all that it was made of."""
    found: set[str] = set()
    waiting = [study.report]
    while waiting:
        key = waiting.pop()
        if str(key) not in found:
            found.add(str(key))
            inputs = study.store.manifest(key).sources
            waiting += [ArtifactKey.parse(i) for role, i in inputs.items() if role != "raw"]
    return found


def test_analyses_are_stored_with_the_metrics(study: Study) -> None:
    """What is stored, worked out again from the stored arrays and from the model asked one modality at a time."""
    for manifest in study.store.list("evaluation"):
        folder = study.context.folder(manifest.key)
        metrics = json.loads((folder / "metrics.json").read_text())
        analyses = metrics["analyses"]
        spaces = {space["name"]: space for space in analyses["spaces"]}
        for file in folder.glob("embedding_*.npy"):
            rows = np.load(file)
            ratios = PCA().fit(rows).explained_variance_ratio_.cumsum()
            space = spaces[file.stem.removeprefix("embedding_")]
            assert space["effective_dimensionality"] == (ratios < 0.95).sum() + 1
            assert space["dimensions"] == rows.shape[1]
            cosine = cosine_similarity(rows.astype(float))
            expected = cosine[np.triu_indices(len(rows), 1)].mean()
            assert space["mean_similarity"] == pytest.approx(expected, abs=1e-5)
        if metrics["task"] == "emotion":
            contribution = analyses["contribution"]
            assert contribution["all"]["value"] == pytest.approx(metrics["metrics"]["map"]["value"])
            assert contribution["none"]["value"] == pytest.approx(metrics["baselines"]["map"])
            for stream in contribution["streams"]:
                alone = metrics["per_stream"][stream["name"]]["map"]["value"]
                assert stream["alone"]["value"] == pytest.approx(alone, abs=1e-6)
            pairs = {(pair["first"], pair["second"]) for pair in analyses["agreement"]}
            assert len(pairs) == 3
        else:
            assert {"image", "text"} <= spaces.keys()
            assert all(record["texts"] >= 10 for record in analyses["words"])


def test_everything_is_whole_and_nothing_is_left_over(study: Study) -> None:
    assert [problem for key in created(study.store) for problem in study.store.verify(key)] == []
    assert not study.unfinished
