"""Models with a decoder, from training to report: what it wrote, measured and shown; and captions of other photos."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.hf_folders import build
from torchmetrics.functional.text import bleu_score

import mmer_core
from flows import jobs
from flows.jobs import Trained
from mmer_core.config import (
    EncoderConfig,
    EvaluationConfig,
    IngestConfig,
    ModelConfig,
    ReportConfig,
    ReportJob,
    RuntimeConfig,
    TrainingConfig,
    TrainJob,
)
from mmer_core.datasets.prepared import Prepared
from mmer_core.models.decoders import caption_words
from mmer_core.stages import Context
from mmer_core.store import ArtifactKey

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Made:
    """Both families with decoders, the joint one without, and a report of the former."""

    runtime: RuntimeConfig
    joint: Trained
    separate: Trained
    without: Trained
    report: str
    photo: Path

    def folder(self, key: str) -> Path:
        return Context(self.runtime).folder_of(key)

    @property
    def flags(self) -> list[str]:
        return ["--store", self.runtime.store, "--work", str(self.runtime.work)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("captions")
    runtime = RuntimeConfig(store=str(folder / "store"), work=folder / "work")
    text = f"hf:{build('bert', folder / 'bert')}"

    def trained(family: str, decoder: str | None) -> Trained:
        return jobs.train.fn(
            TrainJob(
                dataset=IngestConfig.model_validate(
                    {"dataset": "flickr8k", "context_size": 64, "synthetic": {"images": 30}}
                ),
                encoders=EncoderConfig(image="packaged:efficientnet_lite0", image_size=32, text=text),
                model=ModelConfig(family=family, embedding=16, hidden=16, dropout=0.1),
                training=TrainingConfig(epochs=5, batch_size=8, decoder=decoder),
                evaluation=EvaluationConfig(resamples=20, beam=2),
                runtime=runtime,
            )
        )

    joint, separate, without = (
        trained("joint", "gru"),
        trained("separate", "transformer"),
        trained("joint", None),
    )
    report = jobs.report.fn(
        ReportJob(
            models=(joint.model, separate.model), report=ReportConfig(points=50, examples=1), runtime=runtime
        )
    )
    picture = folder / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(picture)
    return Made(runtime, joint, separate, without, report, picture)


@pytest.mark.parametrize("family", ["joint", "separate"])
def test_what_was_written_is_measured(made: Made, family: str) -> None:
    one = getattr(made, family)
    folder = made.folder(one.evaluation)
    written = json.loads((folder / "captions.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
    split = Prepared.open(made.folder(one.prepared)).split("test")
    own = [
        [
            " ".join(caption_words(text))
            for text, row in zip(split.texts, split.text_sample, strict=True)
            if row == photo
        ]
        for photo in written["rows"]
    ]
    assert len(own) == len(split)
    for n in range(1, 5):
        expected = 100 * float(bleu_score(written["captions"], own, n_gram=n))
        assert metrics[f"bleu{n}"]["value"] == pytest.approx(expected, abs=1e-3)
    assert metrics["cider"]["low"] <= metrics["cider"]["high"]
    assert {"rouge_l", "mean_recall"} < metrics.keys()
    known = {
        word
        for text in Prepared.open(made.folder(one.prepared)).split("train").texts
        for word in caption_words(text)
    }
    assert {word for caption in written["captions"] for word in caption.split()} <= known


def test_the_loss_falls(made: Made) -> None:
    for one in (made.joint, made.separate):
        with (made.folder(one.model) / "history.csv").open() as file:
            rows = [*csv.DictReader(file)]
        for name in ("train_captions", "val_caption_loss"):
            assert float(rows[-1][name]) < float(rows[0][name])


def test_a_model_without_a_decoder_is_as_before(made: Made) -> None:
    assert not {*made.folder(made.without.model).glob("decoder*")}
    assert not (made.folder(made.without.evaluation) / "captions.json").exists()
    context = Context(made.runtime)
    training = context.store.manifest(ArtifactKey.parse(made.without.model)).config["training"]
    assert not {"decoder", "caption_weight"} & training.keys()
    assert "beam" in context.store.manifest(ArtifactKey.parse(made.without.evaluation)).config["config"]


def test_the_report_shows_and_recomputes_them(made: Made, mmer: Callable) -> None:
    page = (made.folder(made.report) / "report.html").read_text()
    assert "Written captions against people’s" in page
    assert page.count("People’s captions") == len(
        Prepared.open(made.folder(made.joint.prepared)).split("test")
    )
    assert "nats per word" in page
    answer = mmer("recompute", made.report, *made.flags)
    assert answer.code == 0, answer.err
    assert answer.out.count("CIDEr-D of written") == answer.out.count("Mean recall") == 2, answer.out
    again = mmer("recompute", made.report, *made.flags, "--from-models")
    assert again.code == 0, again.err


def test_photos_get_captions(made: Made, mmer: Callable, tmp_path: Path) -> None:
    newest = mmer("predict", made.photo, "--caption", *made.flags)
    assert newest.code == 0, newest.err
    head, _ = newest.out.splitlines()
    assert head.startswith("by model/")
    assert made.without.model not in head  # the newest has no decoder
    asked = mmer("predict", made.photo, "--caption", "--model", made.joint.model, "--json", *made.flags)
    (row,) = mmer_core.load(made.joint.model, store=made.runtime.store).caption(made.photo).to_dict("records")
    assert (
        json.loads(asked.out) == row == {"photo": str(made.photo), "caption": row["caption"], "error": None}
    )
    assert row["caption"]

    (tmp_path / "several").mkdir()
    (tmp_path / "several" / "a.png").write_bytes(made.photo.read_bytes())
    (tmp_path / "several" / "b.png").write_bytes(b"no picture")
    out = tmp_path / "captions.csv"
    answer = mmer(
        *("predict", tmp_path / "several", "--caption", "--beam", "1", "--model", made.joint.model),
        *("--out", out, *made.flags),
    )
    assert answer.code == 0, answer.err
    assert "1 of 2 could not be read" in answer.err
    with out.open() as file:
        first, second = csv.DictReader(file)
    assert (first["photo"], second["photo"]) == ("a.png", "b.png")
    assert first["caption"]
    assert not second["caption"]
    assert "b.png" in second["error"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{photo}", "--caption", "--model", "{without}"], "has no decoder, so it writes no captions"),
        (["{photo}", "--caption", "--text", "a dog"], "leave out --box, --text and --detector"),
        (["--caption"], "there is no photo to write a caption for: give PHOTO"),
        (["nowhere.png", "--caption"], "cannot read the photo nowhere.png"),
    ],
)
def test_what_cannot_be_written_is_said(made: Made, mmer: Callable, arguments: list[str], said: str) -> None:
    filled = [one.format(photo=made.photo, without=made.without.model) for one in arguments]
    answer = mmer("predict", *filled, *made.flags)
    assert answer.code == 1
    assert said in " ".join(answer.err.split())


def test_a_model_without_a_decoder_says_so_in_python(made: Made) -> None:
    model = mmer_core.load(made.without.model, store=made.runtime.store)
    with pytest.raises(mmer_core.errors.ConfigError, match="has no decoder"):
        model.caption(made.photo)


def test_a_store_without_a_writer_says_what_to_do(made: Made, mmer: Callable, tmp_path: Path) -> None:
    answer = mmer("predict", made.photo, "--caption", "--store", tmp_path / "empty")
    assert answer.code == 1
    assert "mmer train --training.decoder gru" in " ".join(answer.err.split())
