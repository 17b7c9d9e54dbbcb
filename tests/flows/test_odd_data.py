"""Data and settings that are odd but not wrong, and those that cannot work: through the commands."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Mmer = Callable[..., tuple[int, str, str]]

SMALL = [
    *("--context-size", "32", "--body-size", "32", "--encoders.image", "packaged:efficientnet_lite0"),
    *("--encoders.image-size", "32"),
]
TRAINED = [*SMALL, "--training.epochs", "2", "--evaluation.resamples", "10"]
ATTACKED = [
    *("--attack.images", "3", "--attack.budget", "20", "--attack.pixels", "1", "--attack.de.population", "5"),
]
SPLITS = ["train"] * 18 + ["val"] * 6 + ["test"] * 6


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for row in range(len(SPLITS)):
        Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{row}.png")
    return folder


def manifest(photos: Path, name: str, labels: Callable[[int, str], str], boxes: str = "") -> Path:
    head, box = (
        ("id,split,image,labels", "") if not boxes else ("id,split,image,labels,x1,y1,x2,y2", f",{boxes}")
    )
    rows = [f"{row},{split},{row}.png,{labels(row, split)}{box}" for row, split in enumerate(SPLITS)]
    path = photos / f"{name}.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


@pytest.mark.long
def test_one_category(photos: Path, mmer: Mmer, tmp_path: Path) -> None:
    """Nothing can be ahead of it: an attack asks whether it appears or goes, in every command and in the report."""
    root = manifest(photos, "one", lambda row, split: "joy")
    code, out, err = mmer("robustness", "manifest", "--root", root, *TRAINED, *ATTACKED)
    assert code == 0, err
    assert "random" in out
    for criterion in (["target", "--attack.category", "joy"], ["top"]):
        code, _, err = mmer("robustness", "--trained", "model", *ATTACKED, "--attack.criterion", *criterion)
        assert (code, err.count("knows one label, joy")) == (1, 1)
    flags = ["--attacks", "random", "--pixels", "1", "--budget", "5", "--out", tmp_path / "out"]
    code, out, err = mmer("attack", photos / "0.png", *flags)
    assert code == 0, err
    code, out, err = mmer("report", "--report.points", "50")
    assert code == 0, err
    page = Path(out.splitlines()[-1]).read_text()
    assert "any label appears or disappears" in page
    assert "dominant label changes" not in page
    code, _, err = mmer(
        "poison",
        "manifest",
        "--root",
        root,
        *TRAINED,
        "--poison.counts",
        "2",
        "--poison.seeds",
        "1",
        "--families",
        "joint",
    )
    assert (code, err.count("no row can be one")) == (1, 1)


def test_a_category_that_nobody_in_the_evaluated_split_has(photos: Path, mmer: Mmer) -> None:
    root = manifest(photos, "rare", lambda row, split: "sad" if split == "train" and row % 2 else "joy")
    code, _, err = mmer("train", "manifest", "--root", root, *TRAINED)
    assert code == 0, err
    code, _, err = mmer("report", "--report.points", "50")
    assert code == 0, err


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (["train", "manifest", *TRAINED, "--training.learning-rate", "1e6"], "--training.learning-rate"),
        (["train", "manifest", *TRAINED, "--training.learning-rate", "1e6", "--seeds", "2"], "--training.learning-rate"),
        (["train", "flickr8k", "--synthetic.images", "30", *TRAINED, "--training.learning-rate", "1e6"], "--training.learning-rate"),
        (
            ["finetune", "manifest", *SMALL, "--finetune.learning-rate", "1e6", "--finetune.method", "last", "--finetune.towers", "image"],
            "--finetune.learning-rate",
        ),
    ],
    ids=["emotions", "seeds", "captions", "finetune"],
)  # fmt: skip
def test_a_training_that_diverges(command: list[str], flag: str, photos: Path, mmer: Mmer) -> None:
    root = manifest(photos, "two", lambda row, split: "sad" if row % 2 else "joy")
    code, _, err = mmer(*command, *(["--root", root] if "manifest" in command else []))
    assert code == 1
    last = err.splitlines()[-1]
    assert "diverged in epoch 1" in last
    assert f"lower {flag}, which is 1e+06" in last
    for kind in ("model", "adapter"):
        assert f"has no artifact of the kind '{kind}'" in mmer("artifacts", "ls", kind)[2]


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("10,5,10,20", "has no width"),
        ("5,20,30,20", "has no height"),
        ("30,5,10,20", "ends before it begins (x1 is larger than x2)"),
        ("100,5,120,20", "inside the picture"),
    ],
)
def test_boxes_without_a_pixel(box: str, message: str, photos: Path, mmer: Mmer) -> None:
    root = manifest(photos, "boxed", lambda row, split: "joy", box)
    code, out, _err = mmer("data", "check", "manifest", "--root", root, "--all")
    assert code == 1
    assert out.count(message) == len(SPLITS)


def test_a_folder_of_photos_and_other_files(photos: Path, mmer: Mmer, tmp_path: Path) -> None:
    """What is left out is named, and so is what cannot be read; boxes without a pixel are explained."""
    root = manifest(photos, "one", lambda row, split: "joy")
    assert mmer("train", "manifest", "--root", root, *TRAINED)[0] == 0
    folder = tmp_path / "folder"
    folder.mkdir()
    Image.new("RGB", (40, 30)).save(folder / "good.jpg")
    for name in ("bad.jpg", "notes.txt", "photo.heic", ".hidden"):
        (folder / name).write_text("no picture")
    (folder / "link.jpg").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.png")
    Image.new("RGB", (40, 30)).save(folder / "no text \udcff.png")
    code, _out, err = mmer("predict", folder, "--out", tmp_path / "people.csv")
    assert code == 0
    assert "2 files are not photos by their names and are skipped: notes.txt, photo.heic" in err
    assert "3 of 5 could not be read; the rows say why: bad.jpg, link.jpg, pipe.png" in err
    written = (tmp_path / "people.csv").read_text()
    assert all(name in written for name in ("bad.jpg", "link.jpg", "pipe.png", "no text \\udcff.png"))
    for box, message in (
        ((5, 5, 5, 20), "has no width"),
        ((20, 5, 5, 20), "ends before it begins"),
        ((90, 0, 99, 9), "outside"),
    ):
        for command in ("predict", "attack"):
            code, _, err = mmer(command, folder / "good.jpg", "--box", *box)
            assert (code, err.count(message)) == (1, 1), err
    (tmp_path / "empty").mkdir()
    assert mmer("predict", tmp_path / "empty")[2].count("holds no photo") == 1


def test_a_configuration_that_is_a_folder(mmer: Mmer, tmp_path: Path) -> None:
    code, _, err = mmer("train", "--config", tmp_path)
    assert (code, err.count("is a folder")) == (1, 1)
