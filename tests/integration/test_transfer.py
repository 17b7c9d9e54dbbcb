"""Successes on one model shown to another, judged again by the other as users call it."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.small_pipeline import Study, created

from flows import jobs
from mmer_core.attacks import write_changes
from mmer_core.config import AttackConfig, RobustnessJob
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.errors import ConfigError
from mmer_core.inference import TrainedModel
from mmer_core.stages import ModelArtifacts, newest_models, transfer, transfer_pairs
from mmer_core.stages.fragility import fragility
from mmer_core.stages.robustness import load_outcomes
from mmer_core.stages.transfer import TRANSFER_FILE
from mmer_core.stages.views import open_measured
from mmer_core.store import ArtifactKey
from mmer_core.training.data import EmotionData

pytestmark = pytest.mark.long

TAU = 0.02


def attacked(study: Study, family: str, image_size: int) -> ModelArtifacts:
    job = study.train_job("emotic")
    job = job.model_copy(
        update={
            "model": job.model.model_copy(update={"family": family}),
            "encoders": job.encoders.model_copy(update={"image_size": image_size}),
        }
    )
    shift = AttackConfig(
        images=6, budget=20, pixels=(2, 9), attacks=("sparse-rs",), criterion="shift", tau=TAU, shard_size=6
    )
    run = RobustnessJob(**dict(job), attack=shift)
    key = jobs.robustness.fn(run)
    return replace(jobs.train.fn(job).artifacts(), robustness=ArtifactKey.parse(key))


@pytest.mark.parametrize("sizes", [(32, 32), (32, 48), (48, 32)])
def test_a_success_is_shown_as_the_picture_it_is(study: Study, as_it_was: None, sizes) -> None:
    source, target = attacked(study, "separate", sizes[0]), attacked(study, "joint", sizes[1])
    context = study.context
    made = transfer(context, source, target)
    found = pd.read_parquet(made.folder / TRANSFER_FILE)
    outcomes = load_outcomes(context.folder(source.robustness))
    fooled = outcomes[outcomes["status"] == "fooled"].reset_index(drop=True)
    assert len(fooled) == len(found) >= 3

    split = Prepared.open(context.folder(source.prepared)).split("test")
    model = TrainedModel.open(context.folder(target.model), context.device)
    data = EmotionData.load(Features(context.folder(target.features)), split)
    name = study.config.encoders.image
    shows, reads = (context.image_encoder(name, size) for size in sizes)

    def valence(image: np.ndarray, row: int) -> float:
        own = data.rows(torch.tensor([row]))
        streams = own.streams | {"context": reads.encode(reads.resize(image[None]))}
        return float(model.emotions(streams, own.present).ratings[0, 0])

    for (_, outcome), (_, verdict) in zip(fooled.iterrows(), found.iterrows(), strict=True):
        assert outcome["sample"] == verdict["sample"]
        row = split.ids.index(outcome["sample"])
        photo = np.array(split.images("context")[row])
        clean, shown = valence(photo, row), shows.resize(photo[None])[0]
        before = abs(valence(shown, row) - clean) >= TAU
        after = abs(valence(write_changes(shown, outcome["changed"]), row) - clean) >= TAU
        assert verdict["status"] == ("already" if before else "fooled" if after else "resisted")
    for curve in made.summary["curves"]:
        group = found[found["pixels"] == curve["pixels"]]["status"]
        assert curve["already"] == (group == "already").sum()
        assert curve["n"] == (group != "already").sum()
        if curve["n"]:
            assert curve["success"]["value"] == pytest.approx(100 * (group == "fooled").sum() / curve["n"])


def test_only_models_of_one_dataset_that_were_attacked(study: Study, as_it_was: None) -> None:
    source = attacked(study, "separate", 32)
    with pytest.raises(ConfigError, match="was never attacked; run mmer robustness"):
        transfer(study.context, replace(source, robustness=None), source)
    elsewhere = replace(source, prepared=study.only("prepared", name="Flickr8k (synthetic)").key)
    with pytest.raises(ConfigError, match="of the same dataset"):
        transfer(study.context, source, elsewhere)


def test_only_models_that_were_attacked_alike_are_shown_to_each_other(
    study: Study, as_it_was: None, mmer: Callable
) -> None:
    by_rating = attacked(study, "separate", 32)
    keys = study.only("model", task="emotion", family="joint").key, by_rating.model
    joint, separate = newest_models(study.store, [*map(str, keys)])
    assert separate.robustness == by_rating.robustness  # the newest, about a rating; the study's were not
    context = study.context
    assert transfer_pairs(context, [joint, separate]) == []
    assert transfer_pairs(context, [replace(joint, robustness=None), separate]) == []
    alike = replace(joint, robustness=separate.robustness)
    assert transfer_pairs(context, [alike, separate]) == [(alike, separate), (separate, alike)]
    models = ("--models", joint.model, separate.model)
    answer = mmer("report", *models, *study.flags())
    assert answer.code == 0, answer.err
    assert "Which model reads emotion better?" in answer.out
    assert "Successes that fool the other model too" not in Path(answer.out.splitlines()[-1]).read_text()


def test_the_job_makes_what_the_report_shows(study: Study, mmer: Callable) -> None:
    before = created(study.store)
    answer = mmer("transfer", *study.flags())
    assert answer.code == 0, answer.err
    assert created(study.store) == before, "the report's own artifacts are found"
    counts = {row["n"] for one in study.store.list("transfer") for row in one.summary["curves"]}
    lines = [line for line in answer.out.splitlines() if "EMOTIC" in line]
    assert {line.split()[2:4] == ["joint", "separate"] for line in lines} == {True, False}
    assert all(any(f" {count} " in line for line in answer.out.splitlines()) for count in counts)
    alone = mmer(
        "transfer", "--models", study.only("model", task="emotion", family="joint").key, *study.flags()
    )
    assert (alone.code, alone.err.count("run mmer robustness on each first")) == (1, 1)


def test_a_report_shows_them_and_what_is_fragile(study: Study) -> None:
    page = (study.context.folder(study.report) / "report.html").read_text()
    assert "Successes that fool the other model too" in page
    assert "separate to joint" in page
    assert "joint to separate" in page
    assert len(list(study.store.list("transfer"))) == 4
    assert "Images fooled by dominant emotion" in page


def test_fragile_regions_are_those_of_the_annotated_boxes(study: Study, as_it_was: None) -> None:
    models = attacked(study, "separate", 32)
    context = study.context
    found = fragility(context, open_measured(context, models))
    assert found is not None
    assert found.emotions == ()  # the criterion was about a rating
    with (context.folder(models.prepared) / "test.csv").open(newline="") as file:
        people = {row["Id"]: row for row in csv.DictReader(file)}
    counts = dict.fromkeys((row.region for row in found.regions), 0)
    outcomes = load_outcomes(context.folder(models.robustness))
    for _, outcome in outcomes[outcomes["status"] == "fooled"].iterrows():
        person = people[outcome["sample"]]
        (x1, y1, x2, y2), (width, height) = json.loads(person["BBox"]), json.loads(person["Image Size"])
        for y, x, *_ in outcome["changed"]:
            column, line = (x + 0.5) * width / 32, (y + 0.5) * height / 32
            inside = x1 <= column < x2 and y1 <= line < y2
            upper = line < y1 + (y2 - y1) / 4
            counts["background" if not inside else list(counts)[0 if upper else 1]] += 1
    assert {row.region: row.pixels for row in found.regions} == counts
    assert sum(counts.values()) > 5
