"""`mmer attack` on one photo, each picture it leaves judged again by the model as users call it."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.small_pipeline import Study

from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.inference import TrainedModel
from mmer_core.prediction.photos import read_photo, square
from mmer_core.store import ArtifactKey, Manifest

pytestmark = pytest.mark.long

BOX = (10, 10, 70, 80)
TEXT = "a happy child on a beach"
SEARCH = ("--attacks", "sparse-rs", "random", "--pixels", 2, 6, "--budget", 40)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(3).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    path = tmp_path / "beach.png"
    Image.fromarray(pixels).resize((120, 90), Image.Resampling.BILINEAR).save(path)
    return path


def attacked(mmer: Callable, study: Study, *arguments: object) -> list[dict]:
    answer = mmer("attack", *arguments, *SEARCH, "--json", *study.flags())
    assert answer.code == 0, answer.err
    assert "attack: 4 of 4" in answer.err
    made = json.loads(answer.out)
    assert [(one["attack"], one["pixels"]) for one in made] == [
        ("sparse-rs", 2),
        ("sparse-rs", 6),
        ("random", 2),
        ("random", 6),
    ]
    return made


class Judge:
    """A model, and the clean inputs that it makes of the photo."""

    def __init__(self, study: Study, model: Manifest, photo: Path) -> None:
        self.context, self.model = study.context, model
        self.trained = TrainedModel.open(self.context.folder(model.key), self.context.device)
        encoders = self.trained.spec.encoders
        self.encoder = self.context.image_encoder(encoders.image, encoders.image_size)
        self.texts = self.context.text_encoder(encoders.text)
        self.photo = read_photo(photo)
        self.clean = self.squares(self.photo)

    def squares(self, photo: Image.Image) -> dict[str, np.ndarray]:
        return {
            stream: square(photo.crop(BOX) if stream == "body" else photo, side, self.encoder)
            for stream, side in self.trained.spec.sides.items()
        }

    def image(self, one: dict, stream: str) -> np.ndarray:
        """The attacked input, or photo, as the command left it."""
        image = np.asarray(Image.open(one["attacked"]))
        clean = np.asarray(self.photo) if stream == "photo" else self.clean[stream]
        changed = (image != clean).any(axis=2)
        assert changed.sum() == len(one["changed"]) <= one["pixels"]
        for y, x, *colour in one["changed"]:
            assert changed[y, x]
            assert image[y, x].tolist() == colour
        return image

    def emotions(self, streams: dict[str, np.ndarray]):
        features = {name: self.encoder.encode(image[None]) for name, image in streams.items()}
        return self.trained.emotions(features | {"text": self.texts.encode([TEXT])})


@pytest.mark.parametrize("stream", ["context", "body"])
def test_an_emotion_model_on_a_person(
    study: Study, mmer: Callable, photo: Path, tmp_path: Path, stream
) -> None:
    model = study.only("model", task="emotion", family="joint")
    arguments = (photo, "--box", *BOX, "--text", TEXT, "--model", model.key, "--out", tmp_path / "out")
    judge = Judge(study, model, photo)
    labels = judge.trained.spec.labels
    before = judge.emotions(judge.clean).probabilities[0]
    for one in attacked(mmer, study, *arguments, "--stream", stream):
        after = judge.emotions(judge.clean | {stream: judge.image(one, stream)}).probabilities[0]
        assert (one["before"], one["after"]) == (labels[before.argmax()], labels[after.argmax()])
        assert (one["status"] == "fooled") == (before.argmax() != after.argmax())
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(made) == 8
    assert made[:2] == ["beach-random-2-input.png", "beach-random-2.png"]
    side = judge.encoder.size[0]
    shown = Image.open(tmp_path / "out" / "beach-random-2.png")
    assert shown.width > 2 * side
    assert shown.height > side


def test_what_the_first_emotions_were_is_told(
    study: Study, mmer: Callable, photo: Path, tmp_path: Path
) -> None:
    model = study.only("model", task="emotion", family="joint")
    judge = Judge(study, model, photo)
    arguments = (photo, "--box", *BOX, "--text", TEXT, "--model", model.key, "--out", tmp_path / "out")

    def first(streams: dict[str, np.ndarray]) -> list[str]:
        probabilities = judge.emotions(streams).probabilities[0]
        return [judge.trained.spec.labels[column] for column in np.argsort(-probabilities)[:4]]

    before = first(judge.clean)
    for one in attacked(mmer, study, *arguments, "--criterion", "top", "--top-emotions", 4):
        after = first(judge.clean | {"context": judge.image(one, "context")})
        assert (one["before"], one["after"]) == (", ".join(before), ", ".join(after))
        assert (one["status"] == "fooled") == (set(before) != set(after))


def test_a_pixel_of_the_photo_reaches_all_that_is_read_of_it(
    study: Study, mmer: Callable, photo: Path, tmp_path: Path
) -> None:
    model = study.only("model", task="emotion", family="joint")
    judge = Judge(study, model, photo)
    before = judge.emotions(judge.clean).ratings[0, 1]
    arguments = (photo, "--box", *BOX, "--text", TEXT, "--model", model.key, "--out", tmp_path / "out")
    shift = ("--criterion", "shift", "--dimension", "arousal", "--tau", 0.005, "--stream", "photo")
    reached = set()
    for one in attacked(mmer, study, *arguments, *shift):
        squares = judge.squares(Image.fromarray(judge.image(one, "photo")))
        reached |= {stream for stream in squares if (squares[stream] != judge.clean[stream]).any()}
        moved = abs(judge.emotions(squares).ratings[0, 1] - before)
        assert (one["status"] == "fooled") == (moved >= 0.005)
    assert reached == {"context", "body"}


def test_a_photo_that_no_longer_finds_its_caption(
    study: Study, mmer: Callable, photo: Path, tmp_path: Path
) -> None:
    model = study.only("model", task="retrieval", family="joint")
    judge = Judge(study, model, photo)
    arguments = (photo, "--text", TEXT, "--model", model.key, "--out", tmp_path / "out", "--stream", "photo")
    for one in attacked(mmer, study, *arguments, "--top", 30):
        assert one["status"] == "resisted"
        assert judge.image(one, "photo").shape == (90, 120, 3)


def test_a_rating_that_moves(study: Study, mmer: Callable, photo: Path, tmp_path: Path) -> None:
    model = study.only("model", task="emotion", family="joint")
    judge = Judge(study, model, photo)
    before = judge.emotions(judge.clean).ratings[0, 1]
    arguments = (photo, "--box", *BOX, "--text", TEXT, "--model", model.key, "--out", tmp_path / "out")
    made = attacked(mmer, study, *arguments, "--criterion", "shift", "--dimension", "arousal", "--tau", 1e-4)
    assert {one["status"] for one in made} == {"fooled"}
    for one in made:
        moved = abs(
            judge.emotions(judge.clean | {"context": judge.image(one, "context")}).ratings[0, 1] - before
        )
        assert moved >= 1e-4
        assert one["after"] == f"arousal moved by {moved:.2f}"


def test_a_caption_that_is_no_longer_found(study: Study, mmer: Callable, photo: Path, tmp_path: Path) -> None:
    model = study.only("model", task="retrieval", family="joint")
    judge = Judge(study, model, photo)
    prepared, features = (
        judge.context.folder(ArtifactKey.parse(model.inputs[n])) for n in ("prepared", "features")
    )
    split = Prepared.open(prepared).split("test")
    others = Features(features).load("test", "text")
    gallery = judge.trained.embed_texts(torch.cat([judge.texts.encode([TEXT]), torch.from_numpy(others)]))

    def similarity(image: np.ndarray) -> np.ndarray:
        return (judge.trained.embed_images({"context": judge.encoder.encode(image[None])}) @ gallery.T)[0]

    rank = int((similarity(judge.clean["context"])[1:] > similarity(judge.clean["context"])[0]).sum())
    arguments = (photo, "--text", TEXT, "--model", model.key, "--out", tmp_path / "out")
    for top, status in ((rank + 1, None), (max(rank, 1), "already" if rank else None)):
        for one in attacked(mmer, study, *arguments, "--top", top):
            after = similarity(judge.image(one, "context"))
            found = int((after[1:] > after[0]).sum()) < top
            assert (one["status"] == "resisted") == found
            assert status in (None, one["status"])
            place = 1 + int((after[1:] >= after[0]).sum())
            where = "own caption first" if place == 1 else f"own caption at rank {place}; first"
            assert one["after"] == f"{where}: {[TEXT, *split.texts][after.argmax()]}"


def test_a_table_for_people(study: Study, mmer: Callable, photo: Path, tmp_path: Path) -> None:
    answer = mmer("attack", photo, *SEARCH, "--out", tmp_path / "out", *study.flags())
    assert answer.code == 0, answer.err
    head, *rows = answer.out.splitlines()
    assert head.split() == ["attack", "pixels", "result", "queries", "before", "after", "picture"]
    assert len(rows) == 4
    assert all(Path(row.split()[-1]).exists() for row in rows)


def test_a_map_of_where_one_pixel_is_enough(
    study: Study, mmer: Callable, photo: Path, tmp_path: Path
) -> None:
    model = study.only("model", task="emotion", family="joint")
    judge = Judge(study, model, photo)
    judge.clean["body"] = square(read_photo(photo), judge.trained.spec.sides["body"], judge.encoder)
    before = judge.emotions(judge.clean).ratings[0, 1]
    places = range(3, judge.encoder.size[0], 8)  # every eighth, as far from one border as from the other
    most = []
    for y, x in itertools.product(places, places):
        moved = []
        for corner in itertools.product((0, 255), repeat=3):
            image = judge.clean["context"].copy()
            image[y, x] = corner
            moved.append(abs(judge.emotions(judge.clean | {"context": image}).ratings[0, 1] - before))
        most.append(max(moved))
    low, high = np.sort(most)[[5, 6]]
    tau = float(low + high) / 2
    enough = [one >= tau for one in most]
    assert 0 < sum(enough) < len(enough)

    arguments = (photo, "--text", TEXT, "--model", model.key, "--out", tmp_path / "out", "--map-stride", 8)
    shift = ("--criterion", "shift", "--dimension", "arousal", "--tau", tau)
    answer = mmer("attack", *arguments, *SEARCH, *shift, *study.flags())
    assert answer.code == 0, answer.err
    assert "map: " in answer.err
    path = tmp_path / "out" / "beach-map.png"
    message = f"one pixel is enough at {np.mean(enough):.1%} of the places tried: {path}"
    assert answer.out.splitlines()[-1] == message
    answer = mmer("attack", *arguments, *SEARCH, *shift, "--json", *study.flags())
    assert len(json.loads(answer.out)) == 4, "the message is kept out of the JSON"
    assert answer.err.splitlines()[-1] == message
    drawn = np.asarray(Image.open(path))
    right = drawn[12:-12, -drawn.shape[0] + 12 : -12]  # the map is as high as it is wide
    cell = len(right) // len(places)
    centres = right[cell // 2 :: cell, cell // 2 :: cell][: len(places), : len(places)]
    assert (centres == 0).all(axis=2).ravel().tolist() == enough


def test_what_cannot_be_attacked(study: Study, mmer: Callable, photo: Path, tmp_path: Path) -> None:
    retrieval = ("--model", study.only("model", task="retrieval", family="joint").key)
    emotion = ("--model", study.only("model", task="emotion", family="joint").key)
    for arguments, fault in (
        ((photo, *retrieval), "give --text"),
        ((photo, *retrieval, "--text", TEXT, "--box", *BOX), "leave out --box"),
        ((photo, *retrieval, "--text", TEXT, "--match-criterion", "both"), "for its own text only"),
        ((photo, *retrieval, "--text", TEXT, "--stream", "body"), "for its own text only"),
        ((photo, *emotion, "--box", 500, 500, 600, 600), "is outside"),
        ((photo, *emotion, "--pixels", 0), "greater than or equal to 1"),
        ((photo, *emotion, "--criterion", "target"), "name it as category"),
        ((photo, *emotion, "--map-stride", 0), "--map-stride"),
        ((tmp_path / "none.jpg", *emotion), "cannot read the photo"),
        ((photo, "--model", "model/0000"), "no"),
        ((photo, *emotion, "--out", photo), "cannot write to"),
    ):
        more = () if "--out" in arguments else ("--out", tmp_path / "out")
        answer = mmer("attack", *arguments, "--budget", 10, *more, *study.flags())
        assert answer.code == 1
        assert fault in answer.err
        assert "Traceback" not in answer.err
