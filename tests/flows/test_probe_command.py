"""The job `probe` as a command, and in the report."""

import json

import pytest
import torch
import torchvision
from PIL import Image

from mmer_core.reporting.sections.probe import ProbeSummary
from mmer_core.store import open_store

SMALL = [
    "--context-size",
    32,
    "--evaluation.resamples",
    20,
    "--encoders.image",
    "packaged:efficientnet_lite0",
]
EMOTIC = ["emotic", "--synthetic.images", 30, "--body-size", 32, "--encoders.image-size", 32, *SMALL]


@pytest.mark.long
def test_a_dataset_is_probed_once_and_the_report_shows_it(mmer, tmp_path):
    for _ in range(2):
        code, out, err = mmer("probe", *EMOTIC, "--probe.strengths", 0.001, 0.1)
        assert code == 0, err
    assert "95 % interval" in out
    assert "mAP on val" in out
    store = open_store(str(tmp_path / "store"), cache=tmp_path / "cache")
    (made,) = store.list("probe")
    assert out.strip().endswith(str(made.key))
    assert [one.strength for one in made.summary_as(ProbeSummary).tried] == [0.001, 0.1]

    assert mmer("train", *EMOTIC, "--training.epochs", 1)[0] == 0
    (model,) = store.list("model")
    assert (model.inputs["prepared"], model.inputs["features"]) == (
        made.inputs["prepared"],
        made.inputs["features"],
    )
    code, out, err = mmer("report", "--report.points", 50, "--report.gallery", 0)
    assert code == 0, err
    (report,) = store.list("report")
    assert str(made.key) in report.inputs.values()
    assert "<h3>Linear probe</h3>" in (store.fetch(report.key) / "report.html").read_text()


def test_nothing_says_where_weights_lie(mmer, tmp_path):
    weights = tmp_path / "somebody" / "weights.pth"
    weights.parent.mkdir()
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), weights)
    code, _, err = mmer("probe", *EMOTIC[:-1], f"torchvision:mobilenet_v3_small@{weights}")
    assert code == 0, err
    store = open_store(str(tmp_path / "store"), cache=tmp_path / "cache")
    (made,) = store.list("probe")
    assert made.summary_as(ProbeSummary).encoders["image"] == "torchvision:mobilenet_v3_small@…/weights.pth"
    written = [made.model_dump_json(), *(file.read_text() for file in store.fetch(made.key).glob("*.json"))]
    assert not [text for text in written if "somebody" in text]


@pytest.mark.parametrize("captioned", ["flickr8k", "manifest", "prepared"])
def test_captions_are_refused_before_anything_is_encoded(mmer, tmp_path, captioned):
    listed = tmp_path / "photos.jsonl"
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a.png")
    listed.write_text(json.dumps({"id": "a", "image": "a.png", "text": "a dog", "split": "train"}) + "\n")
    store = open_store(str(tmp_path / "store"), cache=tmp_path / "cache")
    flags = {"flickr8k": ["flickr8k"], "manifest": ["manifest", "--root", listed], "prepared": []}[captioned]
    if captioned == "prepared":
        code, _, err = mmer("ingest", "flickr8k", "--synthetic.images", 30, "--context-size", 16)
        assert code == 0, err
        (prepared,) = store.list("prepared")
        flags = ["--prepared", prepared.key]
    code, out, err = mmer("probe", *flags)
    assert code != 0
    assert "has captions instead" in err
    assert "Traceback" not in out + err
    assert not {made.key.kind for made in store.list()} - {"prepared", "dataset-card"}
