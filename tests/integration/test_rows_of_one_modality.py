"""A table of texts without pictures, and one of which some rows have a picture: from the table to the report."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmer_core.attacks.record import CurvesSummary
from mmer_core.config import RuntimeConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.stages import Context
from mmer_core.stages.evaluate import load_evaluation
from mmer_core.stages.robustness import load_outcomes
from mmer_core.store import Artifact

pytestmark = pytest.mark.integration

WORDS = {"good": ("sunny", "lovely", "glad"), "bad": ("gloomy", "awful", "sad")}
QUICK = """
families = ["separate", "joint", "image-only"]
encoders = {image = "packaged:efficientnet_lite0", image_size = 32, text = "packaged:all-MiniLM-L6-v2"}
training = {epochs = 2, tries = 1}
evaluation = {resamples = 20}
probe = {strengths = [0.01]}
attack = {attacks = ["sparse-rs", "random"], pixels = [1], images = 50, budget = 10}
report = {points = 50, gallery = 1}
"""


GUIDE = (Path(__file__).parents[2] / "docs" / "manifest.md").read_text("utf-8")
EXAMPLE = re.search(r"<!-- example: tweets.csv -->\n```csv\n(.*?)```", GUIDE, re.S)
REFUSALS = [
    (words.split(), said) for words, said in re.findall(r"\| `mmer ([^`]*)` \|[^|]*\| “(.*)” \|", GUIDE)
]
"""What commands say of data without an image, by the table of the guide."""


def rows(count: int) -> list[dict[str, str]]:
    rng = np.random.default_rng(0)
    labels = [("good", "bad")[n % 2] for n in range(count)]
    return [
        {"tweet": f"{rng.choice(WORDS[label])} day number {n}", "sentiment": label}
        for n, label in enumerate(labels)
    ]


def write(path: Path, listed: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in listed for name in row)))
        writer.writeheader()
        writer.writerows(listed)
    return path


@pytest.fixture
def run(mmer: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command with its store in this test's folder; returns its answer."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.toml").write_text(QUICK)
    return lambda *given: mmer(*given, "--store", "store", "--work", "work")


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], list[Artifact]]:
    """The artifacts of a kind."""
    context = Context(RuntimeConfig(store=str(tmp_path / "store"), work=tmp_path / "work"))
    return lambda kind: [context.artifact(one.key) for one in context.store.list(kind)]


def page(answer: Any) -> str:
    """The text of the report whose path was printed last."""
    html = Path(answer.out.splitlines()[-1]).read_text()
    return re.sub(
        r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(style|script|svg)\b.*?</\1>", "", html))
    )


def refused(answer: Any) -> str:
    assert answer.code == 1
    return str(answer.err.splitlines()[-1])


def test_the_example_of_the_guide_is_sound(mmer, tmp_path):
    assert EXAMPLE
    (tmp_path / "tweets.csv").write_text(EXAMPLE[1])
    for name in ("one.png", "two.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    said = mmer("data", "check", "--root", tmp_path / "tweets.csv").out
    assert "4 samples of 2 pictures, 2 without a picture" in said
    assert "4 of 4 samples are sound" in said


def test_a_table_of_texts_runs_to_the_report(run, mmer, made, tmp_path):
    assert (
        "40 samples of texts, without pictures" in mmer("init", write(tmp_path / "tweets.csv", rows(40))).out
    )
    root = tmp_path / "tweets.manifest.csv"
    assert mmer("data", "check", "--root", root).code == 0
    for command, said in REFUSALS:
        assert said in refused(run(*command, "--root", root))
    assert len(REFUSALS) == 5
    assert not made("features") + made("model"), "refused before any work"
    said = page(run("pipeline", "--config", "quick.toml", "--datasets.tweets.root", root))
    assert "None of the 40 samples has an image: this is a dataset of texts." in said
    assert "test split, 6 texts" in said
    assert "None of these models was attacked" in said
    assert {one.manifest.summary["family"] for one in made("model")} == {"separate", "joint"}
    assert all(
        json.loads((one.folder / "model.json").read_text())["streams"].keys() == {"text"}
        for one in made("model")
    )
    assert not made("robustness")
    assert "good" in run("predict", "--text", "a sunny, lovely day").out


@pytest.mark.long
def test_rows_without_a_picture_go_through_every_job_and_no_pixel_attack(run, made, tmp_path):
    listed = rows(32)
    for n, row in enumerate(listed):
        row |= {"id": f"r{n}", "split": ("train", "train", "val", "test")[n // 2 % 4]}
        if n % 3:
            shade = 200 if row["sentiment"] == "good" else 40
            noise = np.random.default_rng(n).integers(-30, 30, (32, 32, 3))
            Image.fromarray((shade + noise).astype(np.uint8)).save(tmp_path / f"{n}.png")
            row["image"] = f"{n}.png"
        if n % 3 == 2:
            row |= {"x1": "4", "y1": "4", "x2": "20", "y2": "24"} if n % 2 else {"tweet": ""}
        row["text"], row["labels"] = row.pop("tweet"), row.pop("sentiment")
    root = write(tmp_path / "posts.csv", listed)
    said = page(
        run(
            "pipeline",
            "--config",
            "quick.toml",
            "--datasets.posts.root",
            root,
            "--datasets.posts.context-size",
            32,
        )
    )
    (prepared,) = (Prepared.open(one.folder) for one in made("prepared"))
    test = prepared.split("test")
    shown = {test.ids[row] for row in test.image_sample}
    assert 0 < len(shown) < len(test)
    assert (
        f"{test.without_image} of the {len(test)} samples of test have no image and are left out of pixel attacks."
        in said
    )
    assert "11 of the 32 samples have no image" in said
    assert len(made("robustness")) == 3
    for one in made("robustness"):
        assert set(load_outcomes(one.folder)["sample"]) == shown
        assert {
            point.n for point in one.manifest.summary_as(CurvesSummary).curves if point.attack == "random"
        } <= {*range(len(shown) + 1)}
    for one in made("evaluation"):
        assert load_evaluation(one.folder).n == len(test)
    assert "poisons change images, and" in refused(run("poison", "--root", root))
    joint = next(one for one in made("model") if one.manifest.summary["family"] == "joint")
    key = str(joint.manifest.key)
    assert run("index", "--trained", key).code == 0
    (index,) = made("index")
    texts = [sample for sample in test.text_sample if test.ids[sample] in shown]
    assert (index.manifest.summary["images"], index.manifest.summary["texts"]) == (len(shown), len(texts))
    assert run("search", "sunny day").code == 0
    (tmp_path / "list.csv").write_text("photo,text\n1.png,\n,a lovely day\n2.png,a sad day\n")
    read = json.loads(run("predict", "list.csv", "--model", key, "--json").out)
    assert [one["error"] for one in read] == [None] * 3
    card = run("card", key).out
    assert "11 of the 32 samples have no image" in card
