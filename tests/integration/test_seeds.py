"""`mmer train --seeds`: a model of its own for every seed, and their mean and standard deviation."""

import re
import statistics
from pathlib import Path

import pytest
from support.small_pipeline import Study, created, settings_file

from mmer_core.stages.evaluate import load_evaluation

pytestmark = pytest.mark.usefixtures("as_it_was")


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
    (run,) = logs.iterdir()
    assert run.name == f"EMOTIC-synthetic-joint-seed5-{model.digest[-8:]}"
    assert [file.name.startswith("events.out.tfevents") for file in run.iterdir()] == [True]
