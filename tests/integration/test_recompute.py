"""Every figure of a report follows from stored scores and outcomes, and what does not is named."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from support.small_pipeline import Study

from mmer_core.store import ArtifactKey, Draft


def test_every_figure_comes_out_again(study: Study, mmer: Callable) -> None:
    answer = mmer("recompute", study.report, *study.flags())
    assert answer.code == 0, answer.err
    *rows, last = answer.out.splitlines()
    assert last == f"all {len(rows) - 1} figures of {study.report} follow from the stored scores and outcomes"
    for manifest in study.store.list("evaluation"):
        metrics = json.loads((study.store.fetch(manifest.key) / "metrics.json").read_text())["metrics"]
        for name in {"map", "i2t_r1", "mean_recall"} & metrics.keys():
            assert answer.out.count(f" {metrics[name]['value']:.3f}") >= 2, name
    for topic in ("robust accuracy under Random corners (control), 1 pixel", "skill, joint less separate"):
        assert f" {topic} " in answer.out
    few = mmer("recompute", *study.flags(), "--figure", "robust accuracy")
    assert 0 < len(few.out.splitlines()) < len(rows)
    page = (study.store.fetch(study.report) / "report.html").read_text()
    assert f"mmer recompute {study.report}<" in page
    refused = mmer("recompute", "prepared", *study.flags())
    assert (refused.code, refused.err.count("is no report")) == (1, 1)


@pytest.mark.long
def test_every_number_of_every_result_comes_out_of_its_models_again(study: Study, mmer: Callable) -> None:
    answer = mmer("recompute", study.report, *study.flags(), "--from-models")
    assert answer.code == 0, answer.err
    *_, last = lines = answer.out.splitlines()
    kinds = ("evaluation", "probe", "robustness", "transfer")
    results = [one for one in study.store.manifest(study.report).inputs.values() if one.startswith(kinds)]
    made = [one.partition(": ") for one in lines if one.startswith(kinds)]
    assert sorted(key for key, _, _ in made) == sorted(set(results))
    assert {key.partition("/")[0] for key, _, _ in made} == set(kinds)
    for key, _, compared in made:
        metrics, numbers = study.store.fetch(ArtifactKey.parse(key)) / "metrics.json", list[str]()
        if metrics.is_file():
            json.loads(metrics.read_text(), parse_float=numbers.append, parse_int=numbers.append)
        assert int(compared.split()[2].replace(",", "")) > len(numbers)
    assert last == f"all {len(made)} results of {study.report} came out the same when they were made again"


Change = Callable[[Path], None]


def changed_json(name: str, change: Callable[[dict], None]) -> Change:
    def write(folder: Path) -> None:
        fields = json.loads((folder / name).read_text())
        change(fields)
        (folder / name).write_text(json.dumps(fields))

    return write


def raise_map(fields: dict) -> None:
    fields["metrics"]["map"]["value"] += 0.01


def raise_skill(fields: dict) -> None:
    (one,) = (one for one in fields["datasets"]["emotic"] if one["topic"] == "skill")
    one["difference"]["low"] -= 0.01


def change_calibration(fields: dict) -> None:
    fields["calibration"]["before"]["brier"] += 0.01


def swap_scores(folder: Path) -> None:
    scores = np.load(folder / "probabilities.npy")
    scores[:, 0] = scores[::-1, 0].copy()
    np.save(folder / "probabilities.npy", scores)


def keep(folder: Path) -> None:
    pass


@pytest.fixture
def forge(study: Study, as_it_was: None, tmp_path: Path) -> Callable[..., ArtifactKey]:
    """An artifact like one of the study's, whole by its digests, but with other contents."""

    def made(
        key: ArtifactKey, change: Change, inputs: Mapping[str, str] = {}, summary: Mapping = {}
    ) -> ArtifactKey:
        manifest = study.store.manifest(key)
        folder = tmp_path / key.kind
        shutil.copytree(study.store.fetch(key), folder, copy_function=shutil.copyfile)
        change(folder)
        fields = {name: getattr(manifest, name) for name in Draft.model_fields}
        fields |= {"digest": "f" * 32, "inputs": {**manifest.inputs, **inputs}}
        fields |= {"summary": {**manifest.summary, **summary}, "shards": ()}
        return study.store.publish(folder, Draft(**fields)).key

    return made


def test_a_changed_metric_difference_share_or_score_is_named(
    study: Study, forge: Callable, mmer: Callable
) -> None:
    model = study.only("model", task="emotion", family="joint")
    evaluation, attacked = (study.made_from(kind, "model", model) for kind in ("evaluation", "robustness"))
    roles = {key: role for role, key in study.store.manifest(study.report).inputs.items()}
    curves = [dict(point) for point in attacked.summary["curves"]]
    curves[0]["robust_accuracy"] = {"value": 99.0, "low": 98.0, "high": 100.0}
    fakes = [
        forge(evaluation.key, changed_json("metrics.json", raise_map)),
        forge(attacked.key, keep, summary={"curves": curves}),
    ]
    inputs = {
        roles[str(key)]: str(fake) for key, fake in zip((evaluation.key, attacked.key), fakes, strict=True)
    }
    report = forge(study.report, changed_json("comparisons.json", raise_skill), inputs)
    answer = mmer("recompute", report, *study.flags())
    assert answer.code == 1
    assert answer.err.strip().endswith(
        "do not follow from the stored scores and outcomes: emotic, joint, Mean average precision; emotic, joint, "
        "robust accuracy under Random corners (control), 1 pixel; emotic, compared, skill, joint less separate"
    )
    assert answer.out.count(" differs") == 3


def test_other_scores_give_other_figures(study: Study, forge: Callable, mmer: Callable) -> None:
    model = study.only("model", task="emotion", family="joint")
    evaluation = study.made_from("evaluation", "model", model)
    roles = {key: role for role, key in study.store.manifest(study.report).inputs.items()}
    fake = forge(evaluation.key, swap_scores)
    report = forge(study.report, keep, {roles[str(evaluation.key)]: str(fake)})
    answer = mmer("recompute", report, *study.flags())
    assert answer.code == 1
    for wrong in ("emotic, joint, Mean average precision", "emotic, compared, skill"):
        assert wrong in answer.err
    assert "flickr8k" not in answer.err


@pytest.mark.long
def test_a_changed_number_of_an_analysis_is_found_when_results_are_made_again(
    study: Study, forge: Callable, mmer: Callable
) -> None:
    model = study.only("model", task="emotion", family="joint")
    evaluation = study.made_from("evaluation", "model", model)
    roles = {key: role for role, key in study.store.manifest(study.report).inputs.items()}
    fake = forge(evaluation.key, changed_json("metrics.json", change_calibration))
    report = forge(study.report, keep, {roles[str(evaluation.key)]: str(fake)})
    answer = mmer("recompute", report, *study.flags(), "--from-models")
    assert answer.code == 1
    assert (
        f"came out different when they were made again: {fake}: metrics.json calibration before brier"
        in answer.err
    )
