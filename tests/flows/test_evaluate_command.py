"""``mmer evaluate``: zero-shot dual encoders against their own towers, and trained models on other data."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score
from support.hf_folders import build
from torch.nn.functional import normalize
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.models import load_model
from mmer_core.stages.evaluate import load_evaluation
from mmer_core.store import ArtifactKey, Manifest, Store, open_store

SMALL = ["--context-size", 32, "--evaluation.resamples", 20]
EMOTIC = ["emotic", "--synthetic.images", 40, "--body-size", 32, *SMALL]
FLICKR = ["flickr8k", "--synthetic.images", 40, *SMALL]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return build("clip", tmp_path_factory.mktemp("clip"))


@pytest.fixture
def store(tmp_path) -> Store:
    return open_store(str(tmp_path / "store"), cache=tmp_path / "cache")


def only(store: Store, kind: str) -> Manifest:
    (found,) = store.list(kind)
    return found


def split_of(store: Store, name: str) -> PreparedSplit:
    return Prepared.open(store.fetch(only(store, "prepared").key)).split(name)


def printed(out: str) -> ArtifactKey:
    return ArtifactKey.parse(out.strip().splitlines()[-1])


def towers(folder: Path, images: np.ndarray, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings of CLIP, by its own classes."""
    model = CLIPModel.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    pixels = processor([Image.fromarray(one) for one in images], do_resize=False, return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        image = model.get_image_features(**pixels).pooler_output
        text = model.get_text_features(**tokens).pooler_output
    return normalize(image).numpy(), normalize(text).numpy()


def test_zero_shot_retrieval_is_the_cosine_of_the_towers(mmer, store, clip):
    code, out, err = mmer("evaluate", *FLICKR, "--zero-shot", f"hf:{clip}")
    assert code == 0, err
    metrics = load_evaluation(store.fetch(printed(out))).metrics
    split = split_of(store, "test")
    images, texts = towers(clip, split.images("context"), split.texts)
    scores = images @ texts.T
    rank = [(scores[:, t] > scores[owner, t]).sum() for t, owner in enumerate(split.text_sample)]
    assert metrics["t2i_r1"].value == pytest.approx(100 * np.mean(np.array(rank) < 1), abs=1e-6)
    assert metrics["t2i_r5"].value == pytest.approx(100 * np.mean(np.array(rank) < 5), abs=1e-6)
    assert "zero-shot model on test" in out
    assert only(store, "model").summary["family"] == "zero-shot"
    # Nobody needs the features of train.
    assert not any(entry.path.startswith("train") for entry in only(store, "features").files)


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_zero_shot_emotions_are_ranked_by_their_prompts(mmer, store, clip, scores):
    flags = ["--prompts.template", "someone {label}", "--prompts.scores", scores]
    code, out, err = mmer("evaluate", *EMOTIC, "--zero-shot", f"hf:{clip}", *flags)
    assert code == 0, err
    result = load_evaluation(store.fetch(printed(out)))
    split = split_of(store, "test")
    prompts = [f"someone {label.lower()}" for label in split.card.labels]
    scale = CLIPModel.from_pretrained(clip).logit_scale.exp().item()
    expected = []
    for stream in ("context", "body"):
        images, texts = towers(clip, split.images(stream), prompts)
        logits = torch.from_numpy(scale * images @ texts.T).double()
        if scores == "softmax":
            share = logits.softmax(dim=1)
            logits = share.log() - (1 - share).log()
        expected.append(logits.numpy())
        ap = [entry for entry in result.per_stream[stream].ap if entry is not None]
        assert ap == pytest.approx(aps(split.labels, expected[-1]), abs=1e-4)
    found = [one.ap.value for one in result.per_category if one.ap.value is not None]
    assert found == pytest.approx(aps(split.labels, np.mean(expected, axis=0)), abs=1e-4)
    assert "vad_mae" not in result.metrics


def aps(labels: np.ndarray, logits: np.ndarray) -> list[float]:
    there = np.flatnonzero(labels.sum(axis=0))
    return [100 * average_precision_score(labels[:, c], logits[:, c]) for c in there]


def test_towers_that_are_no_pair_are_refused(mmer, tmp_path):
    code, _, err = mmer("evaluate", *FLICKR, "--zero-shot", "packaged:all-MiniLM-L6-v2")
    assert code == 1
    assert "packaged" in err
    vit = build("vit", tmp_path / "vit")
    code, _, err = mmer(
        "train", *FLICKR, "--model.family", "zero-shot", "--encoders.image", f"hf:{vit}", "--encoders.image-size", 32
    )  # fmt: skip
    assert code == 1
    assert "not the two towers of one dual encoder" in err


@pytest.mark.long
def test_the_whole_study_runs_without_training(mmer, store, clip, tmp_path):
    """Index, search, attack, report: a zero-shot model is a model."""
    encoders = {"image": f"hf:{clip}", "text": f"hf:{clip}", "image_size": 32}
    config = tmp_path / "study.json"
    small = {"context_size": 32, "body_size": 32, "synthetic": {"images": 40}}
    study = {
        "datasets": {name: {"dataset": name, **small} for name in ("emotic", "flickr8k")},
        "families": ["zero-shot", "joint"],
        "encoders": encoders,
        "training": {"epochs": 1},
        "evaluation": {"resamples": 20},
        "attack": {"pixels": [1], "images": 2, "budget": 20, "de": {"population": 5}, "attacks": ["random"]},
        "report": {"points": 50, "gallery": 1, "examples": 1},
    }
    config.write_text(json.dumps(study))
    code, out, err = mmer("pipeline", "--config", config)
    assert code == 0, err
    assert "zero-shot model" in Path(out.strip().splitlines()[-1]).read_text()
    families = [(one.summary["task"], one.summary["family"]) for one in store.list("model")]
    assert sorted(families) == [
        ("emotion", "joint"),
        ("emotion", "zero-shot"),
        ("retrieval", "joint"),
        ("retrieval", "zero-shot"),
    ]
    untrained = next(
        m
        for m in store.list("model")
        if m.summary["family"] == "zero-shot" and m.summary["task"] == "retrieval"
    )
    index = next(m for m in store.list("index") if m.inputs["model"] == str(untrained.key))
    code, out, err = mmer("search", "two dogs", "--k", 3, "--index", index.key, "--json")
    assert code == 0, err
    prepared = next(m for m in store.list("prepared") if str(m.key) == untrained.inputs["prepared"])
    gallery = Prepared.open(store.fetch(prepared.key)).split("test")
    images, query = towers(clip, gallery.images("context"), ["two dogs"])
    scores = np.sort(images @ query[0])[::-1]
    assert [hit["score"] for hit in json.loads(out)] == pytest.approx(scores[:3].tolist(), abs=1e-4)


@pytest.mark.long
def test_training_can_start_from_zero_shot(mmer, store, clip):
    pair = ["--encoders.image", f"hf:{clip}", "--encoders.text", f"hf:{clip}"]
    still = ["--training.epochs", 1, "--training.learning-rate", 1e-12, "--model.start", "zero-shot"]
    code, trained, err = mmer("train", *FLICKR, *pair, *still)
    assert code == 0, err
    code, untrained, err = mmer("evaluate", *FLICKR, "--zero-shot", f"hf:{clip}")
    assert code == 0, err
    rows = [[line for line in out.splitlines() if "_r" in line] for out in (trained, untrained)]
    assert rows[0] == rows[1]
    assert len(rows[0]) >= 6
    code, _, err = mmer("train", *EMOTIC, *pair, "--model.start", "zero-shot", "--training.epochs", 1)
    assert code == 1
    assert "only the joint model of a captioned dataset" in err
    code, _, err = mmer("train", *FLICKR, *pair, "--model.start", "zero-shot", "--model.embedding", 8)
    assert code == 1
    assert "leave out the embedding" in err


LITE = [
    "--encoders.image",
    "packaged:efficientnet_lite0",
    "--encoders.image-size",
    32,
    "--training.epochs",
    2,
]


@pytest.mark.long
def test_another_split_of_its_own_dataset_needs_no_dataset(mmer, store):
    code, _, err = mmer("train", *EMOTIC, *LITE)
    assert code == 0, err
    code, out, err = mmer("evaluate", "--evaluation.split", "val", "--evaluation.resamples", 20)
    assert code == 0, err
    found = printed(out)
    # The same evaluation, the same key: as if the training had been followed by it.
    code, trained, _ = mmer("train", *EMOTIC, *LITE, "--evaluation.split", "val")
    assert {m.key for m in store.list("evaluation") if m.summary["split"] == "val"} == {found}
    assert trained.splitlines()[:-1] == out.splitlines()[:-1]
    # Given the dataset, the model is still the newest for its task, with images of the sides it knows.
    code, again, err = mmer(
        "evaluate", "emotic", "--synthetic.images", 40, "--evaluation.split", "val", "--evaluation.resamples", 20
    )  # fmt: skip
    assert code == 0, err
    assert printed(again) == found


def manifest(root: Path, names: list[str]) -> Path:
    """Photos with some of EMOTIC's labels, for testing only."""
    generator = np.random.default_rng(0)
    root.mkdir()
    lines = ["# " + json.dumps({"labels": names})]
    for number in range(12):
        Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(root / f"{number}.png")
        row = {
            "id": f"s{number}",
            "split": "test",
            "image": f"{number}.png",
            "labels": [names[number % len(names)]],
        }
        lines.append(json.dumps(row))
    (root / "photos.jsonl").write_text("\n".join(lines) + "\n")
    return root / "photos.jsonl"


@pytest.mark.long
def test_labels_of_another_dataset_are_matched_by_name(mmer, store, tmp_path):
    code, _, err = mmer("train", *EMOTIC, *LITE, "--model.family", "separate")
    assert code == 0, err
    other = manifest(tmp_path / "other", ["Sadness", "Boredom", "Anger"])
    flags = ["manifest", "--root", other, "--evaluation.resamples", 20]
    code, _, err = mmer("evaluate", *flags)
    assert code == 1
    assert "the model lacks Boredom" in err
    assert "the dataset lacks Affection" in err
    assert "--evaluation.labels shared" in err
    code, out, err = mmer("evaluate", *flags, "--evaluation.labels", "shared")
    assert code == 0, err
    assert "the dataset has: Boredom" in out
    folder = store.fetch(printed(out))
    result = load_evaluation(folder)
    model = only(store, "model")
    _, spec = load_model(store.fetch(model.key))
    probabilities = np.load(folder / "probabilities.npy")
    truth = {"Sadness": [1, 0, 0] * 4, "Anger": [0, 0, 1] * 4}
    expected = []
    for category in result.per_category:
        name = category.name
        if name in truth:
            column = probabilities[:, spec.labels.index(name)]
            expected.append(100 * average_precision_score(truth[name], column))
            assert category.ap.value == pytest.approx(expected[-1], abs=1e-6)
        else:
            assert category.ap.value is None
    assert result.metrics["map"].value == pytest.approx(np.mean(expected), abs=1e-6)
    # A report on the model shows what was measured on its own dataset.
    code, _, err = mmer("report", "--report.points", 50)
    assert code == 0, err
    (own,) = (one for one in store.list("evaluation") if one.inputs["prepared"] == model.inputs["prepared"])
    reported = [key for key in only(store, "report").inputs.values() if key.startswith("evaluation/")]
    assert reported == [str(own.key)]
    strange = manifest(tmp_path / "strange", ["wet", "dry"])
    code, _, err = mmer("evaluate", "manifest", "--root", strange, "--evaluation.labels", "shared")
    assert code == 1
    assert "give a model of these labels" in err


@pytest.mark.long
def test_a_model_for_another_task_is_refused(mmer):
    code, _, err = mmer("train", *EMOTIC, *LITE)
    assert code == 0, err
    code, _, err = mmer("evaluate", *FLICKR, "--model", "model")
    assert code == 1
    assert "is for emotion" in err
    code, _, err = mmer("evaluate", *FLICKR)
    assert code == 1
    assert "has no retrieval model" in err
    code, _, err = mmer("evaluate", "--model", "prepared")
    assert code == 1
    assert "is no model" in err
    code, _, err = mmer("evaluate", "--model", "model", "--zero-shot", "hf:x")
    assert code == 1
    assert "not both" in err
