"""The robustness job on photos as files, each outcome judged again from the file that it makes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from support.small_pipeline import Study, created

from flows import jobs
from mmer_core.attacks import write_changes
from mmer_core.config import AttackConfig, RobustnessJob
from mmer_core.datasets.ingest import read_raw
from mmer_core.datasets.photos import photo_reader
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.errors import DatasetError
from mmer_core.inference import TrainedModel
from mmer_core.stages import newest_models, transfer, transfer_pairs
from mmer_core.stages.photos import PHOTOS_FILE
from mmer_core.stages.robustness import load_outcomes
from mmer_core.stages.transfer import TRANSFER_FILE
from mmer_core.store import ArtifactKey
from mmer_core.training.data import EmotionData

ATTACK = AttackConfig(
    stream="photo", attacks=("sparse-rs", "sigma-zero"), pixels=(16,), images=3, budget=12, shard_size=2
)


def attack(study: Study, kind: str, **fields: object) -> RobustnessJob:
    """On the study's joint model, whose photos are drawn."""
    model = study.only("model", task=kind, family="joint")
    dataset = study.config.datasets["emotic" if kind == "emotion" else "flickr8k"]
    config = ATTACK.model_copy(update=fields)
    return RobustnessJob(trained=str(model.key), dataset=dataset, attack=config, runtime=study.config.runtime)


class Judge:
    """A model's answer to a file, through the code that ingestion and users run."""

    def __init__(self, study: Study, kind: str, scratch: Path) -> None:
        context, model = study.context, study.only("model", task=kind, family="joint")
        self.split = Prepared.open(context.folder(ArtifactKey.parse(model.inputs["prepared"]))).split("test")
        self.features = Features(context.folder(ArtifactKey.parse(model.inputs["features"])))
        self.trained = TrainedModel.open(context.folder(model.key), context.device)
        encoders = self.trained.spec.encoders
        self.encoder = context.image_encoder(encoders.image, encoders.image_size)
        raw = read_raw(study.config.datasets["emotic" if kind == "emotion" else "flickr8k"], scratch / "raw")
        self.samples = {sample.id: sample for sample in raw.samples}
        self.scratch, self.protocol = scratch, raw.protocol

    def streams(self, sample: str, changed) -> dict[str, torch.Tensor]:
        """Features of the changed photo, written as a file and prepared; prepared arrays are met by the photo itself."""
        found, row = self.samples[sample], self.split.ids.index(sample)
        clean = np.asarray(Image.open(found.image).convert("RGB"))
        path = self.scratch / "attacked.png"
        Image.fromarray(write_changes(clean, changed)).save(path)
        boxes = {"context": None}
        if found.box:
            x1, y1, x2, y2 = json.loads(self.split.table["BBox"].iloc[row])
            boxes["body"] = (x1, y1, x2, y2)
        squares = {}
        for file, keep in ((found.image, False), (path, True)):
            for stream, box in boxes.items():
                side = self.split.images(stream).shape[1]
                (square,) = photo_reader(self.protocol).each(
                    [file], lambda one, s=side, b=box: one.square(s, b)
                )
                if keep:
                    squares[stream] = self.encoder.encode(self.encoder.resize(square[None]))
                else:
                    np.testing.assert_array_equal(square, self.split.images(stream)[row])
        return squares

    def emotion_margin(self, sample: str, changed, clean_top: int) -> float:
        own = EmotionData.load(self.features, self.split).selected(
            torch.tensor([self.split.ids.index(sample)])
        )
        logits = self.trained.calibrated_logits(own.streams | self.streams(sample, changed), own.present)[0]
        others = torch.cat([logits[:clean_top], logits[clean_top + 1 :]])
        return float((logits[clean_top] - others.max()).detach())

    def rank(self, sample: str, changed) -> int:
        """Of the best own caption, from 0."""
        texts = self.trained.embed_texts(torch.from_numpy(self.features.load("test", "text")))
        scores = self.trained.embed_images(self.streams(sample, changed))[0] @ texts.T
        own = self.split.text_sample == self.split.ids.index(sample)
        return int((scores[~own] > scores[own].max()).sum())


@pytest.mark.long
def test_people_are_attacked_through_the_photo_that_shows_them(
    study: Study, as_it_was: None, mmer: Callable, tmp_path: Path
) -> None:
    made = jobs.robustness.fn(attack(study, "emotion"))
    table = load_outcomes(study.context.folder(ArtifactKey.parse(made)))
    assert len(table) == 3 * 2
    judge, reached = Judge(study, "emotion", tmp_path), False
    for outcome in table.to_dict("records"):
        assert len(outcome["changed"]) <= outcome["pixels"]
        margin = judge.emotion_margin(outcome["sample"], outcome["changed"], outcome["clean_top"])
        assert margin == pytest.approx(outcome["final_margin"], abs=1e-5)
        assert (outcome["status"] == "fooled") == (margin <= 0)
        sizes = json.loads(judge.split.table["Image Size"].iloc[judge.split.ids.index(outcome["sample"])])
        reached |= any(y >= 64 or x >= 64 for y, x, *_ in outcome["changed"])
        assert all(y < sizes[1] and x < sizes[0] for y, x, *_ in outcome["changed"])
    assert reached, "pixels lie outside of any prepared array"

    before = created(study.store)
    recut = attack(study, "emotion", shard_size=3)
    assert jobs.robustness.fn(recut) == made
    assert created(study.store) == before
    for one in (key for key in before if key.kind in ("robustness", "attack-shard")):
        if str(one) == made or study.store.manifest(one).inputs.get("photos"):
            study.store.delete(one)
    assert jobs.robustness.fn(recut) == made
    pd.testing.assert_frame_equal(load_outcomes(study.context.folder(ArtifactKey.parse(made))), table)

    photos = study.store.manifest(
        ArtifactKey.parse(study.store.manifest(ArtifactKey.parse(made)).inputs["photos"])
    )
    answer = mmer(
        "robustness", "--trained", study.only("model", task="emotion", family="joint").key, "--dataset", "emotic",
        "--synthetic.images", 40, "--context-size", 64, "--body-size", 64, "--attack.stream", "photo",
        "--attack.attacks", "sparse-rs", "sigma-zero", "--attack.pixels", 16, "--attack.images", 3,
        "--attack.budget", 12, *study.flags(),
    )  # fmt: skip
    assert answer.code == 0, answer.err
    size = "{height} x {width}".format(**photos.summary)
    assert f"attacked: pixels of the photo file, {size} at the median" in answer.out


@pytest.mark.long
def test_a_report_says_so_and_keeps_streams_apart(study: Study, as_it_was: None, mmer: Callable) -> None:
    jobs.robustness.fn(attack(study, "emotion", attacks=("sparse-rs",), pixels=(30,)))
    joint, separate = (
        str(study.only("model", task="emotion", family=one).key) for one in ("joint", "separate")
    )
    models = newest_models(study.store, [joint, separate])
    assert transfer_pairs(study.context, models) == []
    answer = mmer("report", "--models", joint, separate, *study.flags())
    assert answer.code == 0, answer.err
    page = Path(answer.out.splitlines()[-1]).read_text()
    assert page.count("Attacked: pixels of the photo file, ") == 1
    assert page.count("Attacked: pixels of the context image, as the model reads it") == 1
    assert page.count("Images fooled</caption>") == 2
    assert "Successes that fool the other model too" not in page


@pytest.mark.long
def test_captioned_photos(study: Study, as_it_was: None, tmp_path: Path) -> None:
    made = jobs.robustness.fn(attack(study, "retrieval", top=2, pixels=(60,), budget=40))
    table = load_outcomes(study.context.folder(ArtifactKey.parse(made)))
    judge = Judge(study, "retrieval", tmp_path)
    for outcome in table.to_dict("records"):
        found = judge.rank(outcome["sample"], outcome["changed"]) < 2
        assert found == (outcome["status"] == "resisted")
        assert (judge.rank(outcome["sample"], ()) < 2) == (outcome["clean_margin"] > 0)


def test_a_success_is_shown_to_another_model_as_the_photo(
    study: Study, as_it_was: None, tmp_path: Path
) -> None:
    shift = {"criterion": "shift", "tau": 0.01, "attacks": ("sparse-rs",), "pixels": (40,)}
    job = attack(study, "emotion", **shift)
    separate = study.only("model", task="emotion", family="separate")
    runs = [jobs.robustness.fn(one) for one in (job, job.model_copy(update={"trained": str(separate.key)}))]
    joint = study.only("model", task="emotion", family="joint")
    models = newest_models(study.store, [str(separate.key), str(joint.key)])
    target = next(one for one in models if one.model == joint.key)
    source = next(one for one in models if one.model == separate.key)
    assert {str(target.robustness), str(source.robustness)} == {*runs}
    assert (source, target) in transfer_pairs(study.context, models)
    found = pd.read_parquet(transfer(study.context, source, target).folder / TRANSFER_FILE)
    outcomes = load_outcomes(study.context.folder(source.robustness))
    fooled = outcomes[outcomes["status"] == "fooled"].reset_index(drop=True)
    assert len(fooled) == len(found) >= 1
    judge = Judge(study, "emotion", tmp_path)
    data = EmotionData.load(judge.features, judge.split)

    def valence(sample: str, changed) -> float:
        own = data.rows(torch.tensor([judge.split.ids.index(sample)]))
        seen = own.streams | judge.streams(sample, changed)
        return float(judge.trained.emotions(seen, own.present).ratings[0, 0])

    for outcome, verdict in zip(fooled.to_dict("records"), found.to_dict("records"), strict=True):
        moved = abs(valence(outcome["sample"], outcome["changed"]) - valence(outcome["sample"], ()))
        assert verdict["status"] == ("fooled" if moved >= 0.01 else "resisted")


@pytest.mark.long
def test_photos_that_are_not_what_was_ingested(study: Study, as_it_was: None, tmp_path: Path) -> None:
    drawn = study.config.datasets["emotic"]
    job = attack(study, "emotion")
    with pytest.raises(DatasetError, match="give the dataset that it was made of"):
        jobs.robustness.fn(job.model_copy(update={"dataset": study.config.datasets["flickr8k"]}))
    raw = read_raw(drawn, tmp_path)
    root = tmp_path / "raw"
    whole = drawn.model_copy(update={"root": root})
    photos = jobs.robustness.fn(job.model_copy(update={"dataset": whole}))
    inputs = study.store.manifest(ArtifactKey.parse(photos)).inputs
    assert study.store.manifest(ArtifactKey.parse(inputs["photos"])).inputs["raw"]
    folder = study.context.folder(ArtifactKey.parse(inputs["photos"]))
    row = next(iter(json.loads((folder / PHOTOS_FILE).read_text())))
    model = study.only("model", task="emotion", family="joint")
    split = Prepared.open(study.context.folder(ArtifactKey.parse(model.inputs["prepared"]))).split("test")
    path = next(sample.image for sample in raw.samples if sample.id == split.ids[int(row)])
    pixels = np.array(Image.open(path))
    pixels[:9, :9] = 255 - pixels[:9, :9]
    Image.fromarray(pixels).save(path, quality=98)
    with pytest.raises(
        DatasetError, match=f"{path.name} of sample .* no more those that were prepared; put the file back"
    ):
        jobs.robustness.fn(job.model_copy(update={"dataset": whole}))
    path.write_bytes(b"no photo")
    with pytest.raises(
        DatasetError, match=f"{path.name} of sample .* cannot be attacked: .*; put the file back"
    ):
        jobs.robustness.fn(job.model_copy(update={"dataset": whole}))


def test_a_dataset_is_named_beside_a_model_for_its_photos_only(study: Study) -> None:
    job = attack(study, "emotion")
    with pytest.raises(ValueError, match="leave out what describes another one \\(dataset\\)"):
        RobustnessJob(**dict(job) | {"attack": AttackConfig()})
