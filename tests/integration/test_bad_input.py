"""Whatever a user gets wrong: one sentence, exit code not 0, nothing half-written."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from support.small_pipeline import Study, created, settings_file

from mmer_core.config import SyntheticConfig
from mmer_core.datasets.synthetic import write_emotic, write_flickr8k
from mmer_core.store import open_store

SMALL = ("--context-size", "32", "--body-size", "32")


def refused(answer, *message: str) -> None:
    """The command failed with one sentence that says these things."""
    assert answer.code != 0
    assert answer.out == ""
    *progress, sentence = answer.err.splitlines()
    assert [line for line in progress if not re.match(r"[a-z0-9 ]+: \d+ of \d+", line)] == []
    assert sentence.startswith("mmer: ")
    assert "Traceback" not in sentence
    assert "https://" not in sentence
    for words in message:
        assert words in sentence, sentence


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    """Flags of an empty store; after the test nothing must have been published into it."""
    (tmp_path / "a-file").write_text("a file")
    return ["--store", str(tmp_path / "store"), "--work", str(tmp_path / "work")]


def unpublished(tmp_path: Path) -> bool:
    store = tmp_path / "store"
    return not any(path.is_file() for path in store.rglob("*")) if store.exists() else True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ingest", "--root", "no/such/folder"], ["no/such/folder", "does not exist"]),
        (["ingest", "--dataset", "flickr8k", "--root", "no/such"], ["no/such", "does not exist"]),
        (["ingest", "--root", "a-file"], ["a-file"]),
        (["ingest", "--captions", "no.csv"], ["no.csv", "does not exist"]),
        (["train", "--prepared", "prepared/0123"], ["prepared/0123"]),
        (["search", "dogs"], ["index", "mmer index"]),
        (["search"], ["text", "--image"]),
        (["search", "dogs", "--image", "a-file"], ["text", "--image"]),
        (["search", "dogs", "--target", "sound"], ["sound", "image", "text"]),
        (["predict", "missing.jpg"], ["missing.jpg", "does not exist"]),
        (["predict", "a-file"], ["a-file", "cannot"]),
        (["report"], ["no model", "mmer train"]),
        (["report", "--models", "model/0123"], ["model/0123"]),
        (["artifacts", "show", "model/0123"], ["model/0123"]),
        (["artifacts", "fetch", "report"], ["report"]),
        (["artifacts", "verify", "../../etc"], [".."]),
    ],
)
def test_of_what_is_not_there(arguments, message, place, mmer, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(mmer(*arguments, *place), *message)
    assert unpublished(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pipeline", "--training.epoch", "3"], ["--training.epoch", "Did you mean --training.epochs"]),
        (["search", "dogs", "cats"], ["mmer search does not take 'cats'", "--help"]),
        (["trian"], ["trian", "Did you mean", "train"]),
        (["train", "--training.epochs", "0"], ["--training.epochs", "greater than or equal to 1", "0"]),
        (["train", "--training.epochs", "ten"], ["--training.epochs", "integer", "ten"]),
        (["train", "--epoch", "3"], ["--epoch.", "Did you mean --training.epochs?"]),
        (["train", "--epochs=3"], ["--epochs=3", "Did you mean --training.epochs?"]),
        (["train", "--training.hardness", "2"], ["Did you mean --training.grouped-infonce.hardness?"]),
        (["poison", "--poison.eps", "3"], ["Did you mean --poison.collision.eps or --poison.bullseye.eps?"]),
        (["train", "--nothing-like-it", "3"], ["--nothing-like-it", "mmer train --help"]),
        (["ingest", "--dataset", "imagenet"], ["--dataset", "'emotic'", "'flickr8k'", "imagenet"]),
        (["ingest", "--workers", "0"], ["--workers", "greater than or equal to 1"]),
        (["robustness", "--attack.pixels", "0"], ["--attack.pixels", "greater than or equal to 1"]),
        (["robustness", "--attack.criterion", "target"], ["--attack: the criterion 'target'", "as category"]),
        (["robustness", "--attack.match-criterion", "image-rises"], ["id of its sample as target"]),
        (["pipeline", "--families", "both"], ["--families", "'separate'", "'joint'"]),
        (["pipeline", "--datasets.my/data.dataset", "emotic"], ["my/data", "letters, digits"]),
        (["pipeline", "--config", "missing.toml"], ["missing.toml", "demo"]),
        (["pipeline", "--config", "broken.toml"], ["broken.toml", "TOML", "line 1"]),
        (["pipeline", "--config", "a-file"], ["a-file", ".toml"]),
        (["pipeline", "--config", "unknown.toml"], ["epoch", "unknown.toml"]),
        (["pipeline", "--config", "wrong.toml"], ["--training.epochs", "greater than or equal to 1"]),
        (["pipeline", "--config"], ["--config", "demo"]),
        (["predict"], ["photo"]),
        (["predict", "photo.jpg", "--box", "1", "2"], ["--box"]),
        (["search", "dogs", "--k", "many"], ["--k", "many"]),
        (["ingest", "--store", "s3://"], ["bucket"]),
        (["ingest", "--store", "ftp://host/store"], ["ftp://", "s3://"]),
        (["ingest", "--store", "a-file"], ["a-file", "folder"]),
        (["ingest", "--store", "a-file/store"], ["a-file", "folder"]),
        (["ingest", "--work", "a-file/work"], ["a-file", "folder"]),
    ],
)
def test_of_the_command_line(arguments, message, mmer, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").write_text("a file")
    (tmp_path / "broken.toml").write_text("[training\nepochs = 3\n")
    (tmp_path / "unknown.toml").write_text("[training]\nepoch = 3\n")
    (tmp_path / "wrong.toml").write_text("[training]\nepochs = 0\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    refused(mmer(*arguments), *message)
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in before]
    assert left == []


def _flickr(root: Path) -> Path:
    return write_flickr8k(root, SyntheticConfig(images=30))


def _ingest_flickr(mmer, root: Path, place) -> object:
    return mmer("ingest", "--dataset", "flickr8k", "--root", root, *SMALL, *place)


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), ("image,caption\n", "no captions")])
def test_empty_captions(text, message, place, mmer, tmp_path) -> None:
    root = _flickr(tmp_path / "raw")
    (root / "captions.txt").write_text(text)
    refused(_ingest_flickr(mmer, root, place), "captions.txt", message)
    assert unpublished(tmp_path)


def test_one_image_that_is_none_is_set_aside(place, mmer, tmp_path) -> None:
    root = _flickr(tmp_path / "raw")
    photo = sorted((root / "Images").iterdir())[5]
    photo.write_text("not a photo at all")
    answer = _ingest_flickr(mmer, root, place)
    assert answer.code == 0, answer.err
    assert "unreadable_image" in answer.out
    table = pd.read_csv(Path(answer.out.splitlines()[-1]) / "quarantine.csv")
    rows = table[table["Reason"] == "unreadable_image"]
    assert photo.name in set(rows["Id"])


def test_only_images_that_are_none(place, mmer, tmp_path) -> None:
    root = _flickr(tmp_path / "raw")
    for photo in (root / "Images").iterdir():
        photo.write_bytes(b"GIF")
    refused(_ingest_flickr(mmer, root, place), "no usable sample", "unreadable_image")
    assert unpublished(tmp_path)


def test_box_outside_and_nan_are_set_aside(place, mmer, tmp_path) -> None:
    root = write_emotic(tmp_path / "raw", SyntheticConfig(images=30))
    answer = mmer("ingest", "--root", root, *SMALL, *place)
    assert answer.code == 0, answer.err
    folder = Path(answer.out.splitlines()[-1])
    reasons = pd.read_csv(folder / "quarantine.csv")["Reason"].value_counts()
    assert {"vad_nan", "no_label", "unreadable_image"} <= set(reasons.index)
    assert [reason for reason in reasons.index if "box" in reason]
    people = sum(len(pd.read_csv(folder / f"{split}.csv")) for split in ("train", "val", "test"))
    found = next(int(word) for word in answer.out.split() if word.isdigit())
    assert people + reasons.sum() == found


@pytest.fixture
def train_on_study(study: Study, mmer: Callable, tmp_path: Path) -> Callable:
    """``mmer train`` on the study's own EMOTIC, with other flags."""
    settings = settings_file(tmp_path, study.train_job("emotic"))

    def run(*flags: object):
        before = created(study.store)
        answer = mmer("train", "--config", settings, "--work", tmp_path / "work", *flags)
        assert created(study.store) == before
        return answer

    return run


@pytest.mark.parametrize(
    ("flag", "encoder", "message"),
    [
        ("image", "resnet", ["'resnet'", "packaged:", "torchvision:", "hf:"]),
        ("image", "packaged:efficientnet_lite9", ["efficientnet_lite9", "efficientnet_lite0"]),
        ("image", "torchvision:resnet19", ["resnet19"]),
        ("image", "torchvision:resnet18@missing.pth", ["missing.pth"]),
        ("text", "packaged:word2vec", ["word2vec", "all-MiniLM-L6-v2"]),
        ("text", "torchvision:resnet18", ["torchvision:resnet18", "packaged:"]),
    ],
)
def test_unknown_encoder(flag, encoder, message, train_on_study) -> None:
    refused(train_on_study(f"--encoders.{flag}", encoder), *message)


def test_unknown_encoder_is_noticed_before_the_work(place, mmer, tmp_path) -> None:
    refused(mmer("train", "--encoders.image", "packaged:nothing", *place), "nothing")
    assert unpublished(tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        ["train", "flickr8k", "--root", "raw"],
        ["robustness", "flickr8k", "--root", "raw", "--evaluation.split", "val"],
        ["pipeline", "--datasets.photos.dataset", "flickr8k", "--datasets.photos.root", "raw"],
    ],
    ids=["evaluation", "attack", "pipeline"],
)
def test_a_missing_split_is_noticed_before_the_work(command, place, mmer, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw = write_flickr8k(tmp_path / "raw", SyntheticConfig(images=30))
    (raw / "Flickr_8k.testImages.txt").unlink()
    refused(mmer(*command, *place), "no split 'test'", "train, val")
    assert {key.kind for key in open_store(str(tmp_path / "store")).keys()} == {"dataset-card", "prepared"}


def test_weights_of_another_architecture(train_on_study, tmp_path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), file)
    message = [str(file), "another architecture", "ResNet"]
    refused(train_on_study("--encoders.image", f"torchvision:resnet18@{file}"), *message)


def test_predict_with_a_box_beside_the_photo(study, mmer, tmp_path) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (40, 30)).save(photo)
    answer = mmer("predict", photo, "--box", 100, 0, 140, 30, *study.flags())
    refused(answer, "outside", str(photo), "40 x 30")


def test_search_and_predict_want_the_right_model(study, mmer, tmp_path) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (40, 30)).save(photo)
    matcher = study.only("model", task="retrieval", family="joint").key
    refused(mmer("predict", photo, "--model", matcher, *study.flags()), "give a classifier")
    refused(mmer("search", "dogs", "--index", matcher, *study.flags()), "index")


def test_a_damaged_store_says_so(study, mmer, tmp_path) -> None:
    place = ["--store", tmp_path / "store", "--work", tmp_path / "work"]
    assert mmer("ingest", "--synthetic.images", 30, *SMALL, *place).code == 0
    store = open_store(str(tmp_path / "store"), cache=tmp_path / "cache")
    (key,) = store.keys("prepared")
    manifest = tmp_path / "store" / "artifacts" / str(key) / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text("{}")
    listed = mmer("artifacts", "ls", *place)  # the others can still be seen
    assert listed.code == 0
    assert f"{key} " in listed.out
    assert "damaged" in listed.out
    refused(mmer("artifacts", "show", str(key), *place), "damaged", str(key))
