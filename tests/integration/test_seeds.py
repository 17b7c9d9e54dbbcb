"""`--seeds`: a model of its own for every seed, what they have in common once, and how much they differ."""

import re
import statistics
from collections import Counter
from pathlib import Path

import pytest
from support.small_pipeline import BEFORE_TRAINING, Study, created, settings_file

from flows import jobs
from mmer_core.config import ReportJob
from mmer_core.stages.evaluate import load_evaluation
from mmer_core.stages.report import COMPARISONS_FILE, REPORT_FILE
from mmer_core.statistics.comparison import Comparisons
from mmer_core.store import ArtifactKey

pytestmark = [pytest.mark.usefixtures("as_it_was"), pytest.mark.long]


def test_several_seeds_in_one_command(study: Study, mmer, tmp_path: Path) -> None:
    before = created(study.store)
    command = ("train", "--config", settings_file(tmp_path, study.train_job("emotic")), "--seeds", 3)
    answer = mmer(*command)
    assert answer.code == 0, answer.err
    models = [
        study.store.manifest(study.store.find(key)) for key in re.findall(r"^model (\S+)$", answer.out, re.M)
    ]
    assert [model.seed for model in models] == [0, 1, 2]
    assert models[0].key in before, "the first seed is that of a training with one"
    assert (
        len({entry.sha256 for model in models for entry in model.files if entry.path == "model.safetensors"})
        == 3
    )
    figures = [
        load_evaluation(study.context.folder(study.made_from("evaluation", "model", model).key)).metrics
        for model in models
    ]
    assert set(figures[0]) >= {"map", "vad_mae"}
    for name in figures[0]:
        values = [one[name].value for one in figures]
        assert re.search(
            rf"^ *{name} +{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} ", answer.out, re.M
        ), name
    made = created(study.store)
    assert mmer(*command).out == answer.out
    assert created(study.store) == made, "everything was found and nothing made again"


def test_a_study_of_several_seeds_finds_that_of_one_and_tells_both_variances(study: Study, mmer) -> None:
    before = created(study.store)
    emotic = {"emotic": study.config.datasets["emotic"]}
    config = study.config.model_copy(update={"seeds": 2, "datasets": emotic})
    report = study.context.artifact(ArtifactKey.parse(jobs.pipeline.fn(config)))
    made = [manifest for manifest in study.store.list() if manifest.key not in before]
    kinds = Counter(manifest.kind for manifest in made)
    assert not kinds.keys() & {*BEFORE_TRAINING, "transfer"}
    assert kinds["model"] == kinds["evaluation"] == kinds["robustness"] == 2
    assert {one.seed for one in made if one.kind == "model"} == {1}

    found = Comparisons.read(report.folder / COMPARISONS_FILE).datasets["emotic"]
    values: dict[str, list[float]] = {"joint": [], "separate": []}
    for manifest in study.store.list("evaluation"):
        if "map" in manifest.summary:
            values[manifest.summary["family"]].append(manifest.summary["map"])
    skill = next(one for one in found if one.topic == "skill")
    means = {family: statistics.mean(each) for family, each in values.items()}
    assert (skill.first_value, skill.second_value) == pytest.approx((means["joint"], means["separate"]))
    between = sum(statistics.variance(each) for each in values.values()) / 2
    assert skill.error**2 >= between - 1e-9
    assert 0 <= skill.error_between <= between**0.5 + 1e-9
    assert {one.trainings for one in found} == {2}
    page = (report.folder / REPORT_FILE).read_text()
    assert f"{means['joint']:.1f}" in page
    assert "joint model, 2 trainings" in page
    assert "trained once" not in page
    assert "trained once" in (study.context.folder(study.report) / REPORT_FILE).read_text()
    assert mmer("recompute", report.key, *study.flags(), "--figure", "skill").code == 0

    again = jobs.report.fn(ReportJob(report=config.report, runtime=config.runtime))
    alone = Comparisons.read(study.context.folder(ArtifactKey.parse(again)) / COMPARISONS_FILE)
    assert found in alone.datasets.values()


def test_training_says_what_it_cost_and_leaves_curves_where_they_are_asked_for(
    study: Study, mmer, tmp_path: Path
) -> None:
    logs = tmp_path / "curves"
    command = ("train", "--config", settings_file(tmp_path, study.train_job("emotic")))
    assert mmer(*command, "--training.seed", 5, "--logs", logs).code == 0
    (model,) = [model for model in study.store.list("model") if model.seed == 5]
    assert model.summary["train_samples_per_second"] > 0
    assert model.summary["train_seconds_per_epoch"] > 0
    assert "events" not in " ".join(entry.path for entry in model.files)
    runs = sorted(logs.iterdir())
    assert [run.name for run in runs] == [
        f"EMOTIC-synthetic-joint-seed5-try{number}-{model.digest[-8:]}" for number in range(4)
    ]
    for run in runs:
        assert [file.name.startswith("events.out.tfevents") for file in run.iterdir()] == [True]
