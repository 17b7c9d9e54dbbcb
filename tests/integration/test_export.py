"""`mmer export` on the small study: the files, run on their own, say what was stored and what predict says."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from support.small_pipeline import Study
from torchvision.transforms.v2.functional import resize
from transformers import AutoTokenizer

from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders import load_image_encoder
from mmer_core.exporting import export_model
from mmer_core.exporting.onnx_files import ExportError
from mmer_core.store import ArtifactKey

pytestmark = pytest.mark.long


def run(file: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def test_towers_say_what_the_evaluation_stored(study: Study, mmer: Callable, tmp_path: Path) -> None:
    model = study.only("model", task="retrieval", family="joint")
    to = tmp_path / "made" / "export"
    answer = mmer("export", model.key, "--to", to, *study.flags())
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in to.iterdir()) == [
        "export.json",
        "image.onnx",
        "text.onnx",
        "tokenizer",
    ]
    assert [path.name for path in to.parent.iterdir()] == ["export"]
    described = json.loads((to / "export.json").read_text())
    assert described["model"] == str(model.key)
    assert max(described["largest_difference"].values()) <= 1e-4

    stored = study.context.folder(study.made_from("evaluation", "model", model).key)
    split = Prepared.open(study.context.folder(ArtifactKey.parse(model.inputs["prepared"]))).split("test")
    (pixels,) = described["files"]["image.onnx"]["inputs"]
    side = pixels["shape"][1]
    encoder = load_image_encoder(described["encoders"]["image"], side)
    photos = encoder.resize(np.asarray(split.images("context")))
    embedding = run(to / "image.onnx", {pixels["name"]: photos})["image_embedding"]
    np.testing.assert_allclose(embedding, np.load(stored / "embedding_image.npy"), atol=1e-4)

    tokenizer = AutoTokenizer.from_pretrained(to / described["tokenizer"]["folder"])
    tokens = tokenizer(
        split.texts, padding=True, truncation=True, max_length=described["tokenizer"]["longest"], return_tensors="np"
    )  # fmt: skip
    wanted = [one["name"] for one in described["files"]["text.onnx"]["inputs"]]
    embedding = run(to / "text.onnx", {name: tokens[name] for name in wanted})["text_embedding"]
    np.testing.assert_allclose(embedding, np.load(stored / "embedding_text.npy"), atol=1e-4)

    again = mmer("export", model.key, "--to", to, *study.flags())
    assert again.code == 1
    assert "exists already" in again.err


def test_an_emotion_file_says_what_predict_says(study: Study, mmer: Callable, tmp_path: Path) -> None:
    model = study.only("model", task="emotion", family="joint")
    to = tmp_path / "export"
    answer = mmer("export", model.key, "--to", to, *study.flags())
    assert answer.code == 0, answer.err
    described = json.loads((to / "export.json").read_text())
    photo = tmp_path / "photo.png"
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((130, 90), Image.Resampling.BILINEAR).save(photo)

    encoder = load_image_encoder(described["encoders"]["image"], described["encoders"]["image_size"])
    picture = Image.open(photo)
    shown = {"context": picture, "body": picture.crop((10, 20, 80, 90))}
    inputs = {
        stream: encoder.resize(
            resize(torch.from_numpy(np.array(one)).permute(2, 0, 1), [64, 64], antialias=True)
            .permute(1, 2, 0)
            .numpy()[None]
        )
        for stream, one in shown.items()
    }
    said = run(to / "emotion_image.onnx", inputs)
    box = ("--box", 10, 20, 80, 90, "--model", model.key, "--json")
    expected = json.loads(mmer("predict", photo, *box, *study.flags()).out)
    assert described["labels"] == list(expected["probabilities"])
    np.testing.assert_allclose(said["probabilities"][0], list(expected["probabilities"].values()), atol=1e-4)
    np.testing.assert_allclose(said["ratings"][0], list(expected["ratings"].values()), atol=1e-3)
    present = [
        n
        for n, p, t in zip(
            described["labels"], said["probabilities"][0], described["thresholds"], strict=True
        )
        if p >= t
    ]
    assert present == expected["present"]

    tokens = AutoTokenizer.from_pretrained(to / "tokenizer")(["a happy child"], return_tensors="np")
    wanted = {one["name"] for one in described["files"]["emotion.onnx"]["inputs"]} - inputs.keys()
    said = run(to / "emotion.onnx", inputs | {name: tokens[name] for name in wanted})
    expected = json.loads(mmer("predict", photo, *box, "--text", "a happy child", *study.flags()).out)
    np.testing.assert_allclose(said["probabilities"][0], list(expected["probabilities"].values()), atol=1e-4)


def test_a_failed_check_leaves_nothing(study: Study, tmp_path: Path) -> None:
    model = study.only("model", task="retrieval", family="joint")
    with pytest.raises(ExportError, match=r"image\.onnx differs from the model"):
        export_model(study.context, model.key, tmp_path / "export", tolerance=-1.0)
    assert list(tmp_path.iterdir()) == []


def test_only_models_are_exported(study: Study, mmer: Callable, tmp_path: Path) -> None:
    answer = mmer("export", "report", "--to", tmp_path / "export", *study.flags())
    assert answer.code == 1
    assert "is no model" in answer.err
    assert not (tmp_path / "export").exists()
