"""Search, predict, report and artifacts on a finished study, against the same worked out by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from support.small_pipeline import Study, created, settings_file
from torchvision.transforms.v2.functional import resize

from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders import load_image_encoder
from mmer_core.models import load_model
from mmer_core.store import Manifest, open_store


@pytest.fixture(scope="module")
def matcher(study: Study) -> Manifest:
    """The joint model that matches photos and captions."""
    return study.only("model", task="retrieval", family="joint")


@pytest.fixture(scope="module")
def embeddings(study: Study, matcher: Manifest) -> dict[str, np.ndarray]:
    folder = study.context.folder(study.made_from("evaluation", "model", matcher).key)
    return {name: np.load(folder / f"embedding_{name}.npy") for name in ("image", "text")}


@pytest.fixture(scope="module")
def gallery(study: Study, matcher: Manifest):
    """The split that was indexed."""
    prepared = next(m for m in study.store.list("prepared") if str(m.key) == matcher.inputs["prepared"])
    return Prepared.open(study.context.folder(prepared.key)).split("test")


@pytest.mark.parametrize("target", ["image", "text"])
def test_search_by_text_is_brute_force(study, matcher, embeddings, gallery, mmer, target) -> None:
    caption = 7
    index = study.made_from("index", "model", matcher)
    answer = mmer(
        "search", gallery.texts[caption], "--target", target, "--k", 5, "--index", index.key, "--json", *study.flags()
    )  # fmt: skip
    hits = json.loads(answer.out)
    scores = embeddings[target] @ embeddings["text"][caption]
    best = np.argsort(-scores, kind="stable")[:5]
    # The caption is encoded alone here and was encoded in a batch there.
    np.testing.assert_allclose([hit["score"] for hit in hits], scores[best], atol=1e-4)
    rows = best if target == "image" else gallery.text_sample[best]
    if np.diff(-np.sort(-scores)[:6]).max() < -1e-4:  # no ties, which may come in any order
        assert [hit["id"] for hit in hits] == [gallery.ids[row] for row in rows]
    else:
        assert hits[0]["score"] == pytest.approx(scores.max(), abs=1e-4)


def test_search_by_photo_finds_the_photo(study, embeddings, gallery, mmer, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    row = 3
    Image.fromarray(np.asarray(gallery.images("context")[row])).save(photo)
    # The newest index, which the pipeline made last, is the joint model's.
    hits = json.loads(mmer("search", "--image", photo, "--json", *study.flags()).out)
    scores = embeddings["image"] @ embeddings["image"][row]
    assert len(hits) == len(scores)
    assert hits[0]["id"] == gallery.ids[row]
    assert hits[0]["score"] == pytest.approx(1.0, abs=1e-4)
    assert [hit["score"] for hit in hits] == pytest.approx(sorted(scores, reverse=True), abs=1e-4)
    own = [text for text, image in zip(gallery.texts, gallery.text_sample, strict=True) if image == row]
    assert hits[0]["caption"] in own


def test_search_prints_a_table(study, mmer) -> None:
    answer = mmer("search", "two people in the rain", "--k", 2, *study.flags())
    assert answer.code == 0
    index, heads, *hits = answer.out.strip().splitlines()
    assert "in index/" in index
    assert "similarity" in heads
    assert len(hits) == 2


def test_search_by_id_is_brute_force(study, embeddings, gallery, mmer) -> None:
    row = 2
    flags = ["--target", "text", "--k", 4, "--split", "test", "--json", *study.flags()]
    hits = json.loads(mmer("search", "--id", gallery.ids[row], *flags).out)
    scores = embeddings["text"] @ embeddings["image"][row]
    assert [hit["score"] for hit in hits] == pytest.approx(np.sort(scores)[::-1][:4].tolist(), abs=1e-5)


def test_search_from_a_file_keeps_its_order(study, gallery, mmer, tmp_path: Path) -> None:
    Image.fromarray(np.asarray(gallery.images("context")[1])).save(tmp_path / "one.png")
    rows = [f'"{gallery.texts[3]}",,', f",{gallery.ids[0]},", ",nobody,", ",,one.png"]
    (tmp_path / "queries.csv").write_text("text,id,image\n" + "\n".join(rows) + "\n")
    answer = mmer("search", "--queries", tmp_path / "queries.csv", "--k", 2, "--json", *study.flags())
    assert answer.code == 0, answer.err
    first, second, third, fourth = json.loads(answer.out)
    alone = json.loads(mmer("search", gallery.texts[3], "--k", 2, "--json", *study.flags()).out)
    assert [hit["score"] for hit in first["hits"]] == pytest.approx([hit["score"] for hit in alone], abs=1e-4)
    assert (first["query"], second["query"]) == ({"text": gallery.texts[3]}, {"id": gallery.ids[0]})
    assert second["hits"][0]["id"] == gallery.ids[0]
    assert "no photo with the id 'nobody'" in third["error"]
    assert fourth["hits"][0]["id"] == gallery.ids[1]
    assert "1 of 4 queries failed" in answer.err
    table = mmer("search", "--queries", tmp_path / "queries.csv", "--k", 1, *study.flags()).out
    assert [line.split()[0] for line in table.splitlines()[3:5]] == [gallery.ids[0], "nobody"]


def test_search_writes_a_page_with_pictures(study, mmer, tmp_path: Path) -> None:
    page = tmp_path / "made" / "found.html"
    answer = mmer("search", "a dog", "--k", 3, "--html", page, *study.flags())
    assert answer.out.strip() == str(page)
    assert page.read_text().count('src="data:image/') == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "mmer search"),
        (["a", "--id", "b"], "give one of"),
        (["a", "--queries", "x.txt"], "not both"),
        (["--queries", "none.txt"], "none.txt"),
        (["--id", "nobody"], "'nobody'"),
        (["a", "--split", "train"], "no split 'train'; it has test"),
        (["a", "--label", "Joy"], "label 'Joy'"),
        (["a", "--valence", "3", "8"], "rating of valence"),
        (["a", "--images", "."], "--html"),
        (["a", "--html", "x.html", "--images", "none"], "none is not a folder"),
        (["a", "--target", "video"], "'video'"),
        (["a", "--k", "0"], "at least 1"),
    ],
)
def test_search_says_what_is_wrong(study, mmer, arguments: list[str], words: str) -> None:
    answer = mmer("search", *arguments, *study.flags())
    assert answer.code == 1
    assert words in answer.err
    assert len(answer.err.strip().splitlines()) == 1


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo with an awkward mode and size."""
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70), dtype=np.uint8)
    Image.fromarray(pixels).resize((140, 180)).save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def test_predict_is_features_and_model_by_hand(study: Study, photo: Path, mmer: Callable) -> None:
    box = (-10, 20, 90, 150)  # begins outside the picture
    answer = mmer("predict", photo, "--box", *box, "--json", *study.flags())
    assert answer.code == 0, answer.err
    read = json.loads(answer.out)

    trained = study.only("model", task="emotion", family="joint")
    folder = study.context.folder(trained.key)
    model, spec = load_model(folder)
    encoder = load_image_encoder(spec.encoders.image, spec.encoders.image_size)
    picture = Image.open(photo).convert("RGB")
    shown = {"context": picture, "body": picture.crop((0, 20, 90, 150))}
    features = {}
    for stream, crop in shown.items():
        pixels = torch.from_numpy(np.array(crop)).permute(2, 0, 1)
        array = resize(pixels, [64, 64], antialias=True).permute(1, 2, 0).numpy()
        features[stream] = encoder.encode(encoder.resize(array[None]))
    with torch.inference_mode():
        output = model(features)
    calibration = json.loads((folder / "calibration.json").read_text())
    slope, intercept = np.array(calibration["slope"]), np.array(calibration["intercept"])
    probabilities = 1 / (1 + np.exp(-(slope * output.logits.numpy()[0] + intercept)))
    assert list(read["probabilities"]) == list(spec.labels)
    assert list(read["probabilities"].values()) == pytest.approx(probabilities.tolist(), abs=1e-5)
    present = probabilities >= np.array(calibration["thresholds"])
    assert read["present"] == [name for name, shown in zip(spec.labels, present, strict=True) if shown]
    assert list(read["ratings"].values()) == pytest.approx(output.ratings.numpy()[0].tolist(), abs=1e-4)


def test_a_text_changes_what_is_read(study: Study, photo: Path, mmer: Callable) -> None:
    alone = json.loads(mmer("predict", photo, "--json", *study.flags()).out)
    text = json.loads(mmer("predict", photo, "--text", "a happy child", "--json", *study.flags()).out)
    assert alone["probabilities"] != text["probabilities"]
    table = mmer("predict", photo, *study.flags()).out
    assert all(name in table for name in alone["probabilities"])


def test_report_of_one_model(study: Study, matcher: Manifest, mmer: Callable) -> None:
    answer = mmer("report", "--models", matcher.key, "--report.points", 50, *study.flags())
    assert answer.code == 0, answer.err
    made = Path(answer.out.splitlines()[-1])
    html = made.read_text()
    assert "Flickr8k (synthetic)" in html
    assert "EMOTIC (synthetic)" not in html
    # Later tests count what the study itself made.
    study.store.delete(study.store.find("report"))
    assert study.store.find("report") == study.report


def test_train_prints_the_stored_metrics(study: Study, matcher: Manifest, mmer: Callable, tmp_path) -> None:
    before = created(study.store)
    answer = mmer("train", "--config", settings_file(tmp_path, study.train_job("flickr8k")))
    assert answer.code == 0, answer.err
    assert str(matcher.key) in answer.out
    value = study.made_from("evaluation", "model", matcher).summary["mean_recall"]
    assert f"{value:.2f}" in next(line for line in answer.out.splitlines() if "mean_recall" in line)
    assert created(study.store) == before


def test_artifacts(study: Study, matcher: Manifest, mmer: Callable) -> None:
    shown = json.loads(mmer("artifacts", "show", matcher.key, *study.flags()).out)
    assert shown == matcher.model_dump(mode="json")
    by_beginning = json.loads(mmer("artifacts", "show", str(matcher.key)[:-20], *study.flags()).out)
    assert by_beginning == shown
    listed = mmer("artifacts", "ls", "model", *study.flags()).out.splitlines()[1:]
    made = sorted(study.store.list("model"), key=lambda manifest: manifest.created)
    assert [line.split()[0] for line in listed if line.strip()] == [str(manifest.key) for manifest in made]
    folder = Path(mmer("artifacts", "fetch", matcher.key, *study.flags()).out.strip())
    assert len(pd.read_csv(folder / "history.csv")) == matcher.summary["epochs"]
    assert mmer("artifacts", "verify", *study.flags()).code == 0


def test_verify_names_what_is_damaged(study: Study, mmer: Callable, tmp_path: Path) -> None:
    flags = [
        "--store",
        tmp_path / "store",
        "--work",
        tmp_path / "work",
        "--context-size",
        32,
        "--body-size",
        32,
    ]
    assert mmer("ingest", "--synthetic.images", 30, *flags).code == 0
    store = open_store(str(tmp_path / "store"), cache=tmp_path / "cache")
    (key,) = store.keys("prepared")
    digest = max(store.manifest(key).files, key=lambda entry: entry.size).sha256
    blob = tmp_path / "store" / "blobs" / digest[:2] / digest
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    answer = mmer("artifacts", "verify", *flags[:4])
    assert answer.code == 1
    assert "prepared/" in answer.err
    assert "damaged" in answer.err
