"""A poisoned training split against one that is put together sample by sample."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmer_core.poisoning import PoisonPlan
from mmer_core.poisoning.poison_set import PoisonSet, write_images
from mmer_core.training.data import EmotionData, RetrievalData
from mmer_core.training.poisoned import keep_pairs, keep_people, poison_pairs, poison_people

SAMPLES = 6
Pair = tuple[tuple[float, ...], list[tuple[tuple[float, ...], str]]]


def pairs(rng: np.random.Generator) -> RetrievalData:
    """Images with none to three texts each, in no order."""
    owner = rng.permutation(np.repeat(np.arange(SAMPLES), rng.integers(0, 4, SAMPLES)))
    return RetrievalData(
        torch.from_numpy(rng.normal(size=(SAMPLES, 2)).astype(np.float32)),
        torch.from_numpy(rng.normal(size=(len(owner), 3)).astype(np.float32)),
        torch.from_numpy(owner),
        [f"text {number}" for number in range(len(owner))],
    )


def people(rng: np.random.Generator) -> EmotionData:
    streams = {
        name: torch.from_numpy(rng.normal(size=(SAMPLES, 2)).astype(np.float32))
        for name in ("context", "body")
    }
    labels = torch.from_numpy(rng.integers(0, 2, (SAMPLES, 3)).astype(np.float32))
    ratings = torch.from_numpy(rng.uniform(1, 10, (SAMPLES, 3)).astype(np.float32))
    return EmotionData(streams, labels, ratings, {"body": torch.from_numpy(rng.random(SAMPLES) < 0.5)})


def one_by_one(data: RetrievalData) -> list[Pair]:
    """Every image with its texts."""
    return [
        (
            tuple(image),
            sorted(
                (tuple(data.texts[text].tolist()), data.captions[text])
                for text in torch.nonzero(data.text_image == row)[:, 0].tolist()
            ),
        )
        for row, image in enumerate(data.images.tolist())
    ]


@given(st.integers(0, 10**6), st.sampled_from(["replace", "add"]), st.booleans(), st.booleans())
def test_pairs(seed: int, mode: str, changed: bool, has_text: bool) -> None:
    rng = np.random.default_rng(seed)
    data, count = pairs(rng), int(rng.integers(0, SAMPLES))
    rows = rng.permutation(SAMPLES)[:count]
    texts = (
        tuple(tuple(f"new {row} {k}" for k in range(1 + row % 2)) for row in rows.tolist())
        if has_text
        else None
    )
    plan = PoisonPlan("test", mode, rows, changed, texts=texts)  # type: ignore[arg-type]
    images = rng.normal(size=(count, 2)).astype(np.float32) if changed else None
    flat = sum(map(len, texts)) if texts is not None else 0
    features = rng.normal(size=(flat, 3)).astype(np.float32) if has_text else None

    expected = one_by_one(data)
    features_left = [] if features is None else [tuple(row) for row in features.tolist()]
    for place, row in enumerate(rows.tolist()):
        image, own = expected[row]
        if images is not None:
            image = tuple(images[place].tolist())
        if texts is not None:
            own = sorted((features_left.pop(0), text) for text in texts[place])
        if mode == "add":
            expected.append((image, own))
        else:
            expected[row] = (image, own)
    assert one_by_one(poison_pairs(data, PoisonSet(plan, [], images, features))) == expected


@given(st.integers(0, 10**6), st.sampled_from(["replace", "add"]), st.booleans())
def test_people(seed: int, mode: str, changed: bool) -> None:
    rng = np.random.default_rng(seed)
    data, count = people(rng), int(rng.integers(1, SAMPLES))
    rows, labels = rng.permutation(SAMPLES)[:count], rng.integers(0, 2, (count, 3))
    images = rng.normal(size=(count, 2)).astype(np.float32) if changed else None
    before = {name: rows.clone() for name, rows in data.streams.items()}
    plan = PoisonPlan("test", mode, rows, changed, labels=labels)  # type: ignore[arg-type]
    poisoned = poison_people(data, PoisonSet(plan, [], images))
    places = rows if mode == "replace" else SAMPLES + np.arange(count)
    assert len(poisoned) == (SAMPLES if mode == "replace" else SAMPLES + count)
    for place, row, label in zip(places, rows, labels, strict=True):
        assert poisoned.labels[place].tolist() == label.tolist()
        assert torch.equal(poisoned.streams["body"][place], data.streams["body"][row])
        assert torch.equal(poisoned.ratings[place], data.ratings[row])
        assert poisoned.present["body"][place] == data.present["body"][row]
    if images is not None:
        assert np.array_equal(poisoned.streams["context"][places], images)
    others = np.setdiff1d(np.arange(SAMPLES), places)
    assert torch.equal(poisoned.streams["context"][others], data.streams["context"][others])
    assert torch.equal(poisoned.labels[others], data.labels[others])
    assert all(torch.equal(before[name], data.streams[name]) for name in before), (
        "the clean split was changed"
    )


@given(st.integers(0, 10**6))
def test_what_is_left_out_takes_its_texts_with_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    keep = rng.random(SAMPLES) < 0.6
    data = pairs(rng)
    expected = [pair for pair, kept in zip(one_by_one(data), keep, strict=True) if kept]
    assert one_by_one(keep_pairs(data, keep)) == expected
    assert torch.equal(keep_people(people(rng), keep).labels, people_labels(seed)[keep])


def people_labels(seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    rng.random(SAMPLES)
    pairs(rng)
    return people(rng).labels


@pytest.mark.parametrize("labels", [None, np.array([[0, 1], [1, 1]])])
def test_a_poison_set_is_read_as_it_was_written(tmp_path: Path, labels: np.ndarray | None) -> None:
    texts = None if labels is not None else (("a", "b"), ("c",))
    plan = PoisonPlan("backdoor", "add", np.array([4, 1]), True, labels, texts)
    features = np.arange(6, dtype=np.float32).reshape(2, 3)
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    write_images(images, [4, 1], tmp_path)
    PoisonSet(plan, ["x", "y"], features, None).write(tmp_path)
    read = PoisonSet.read(tmp_path)
    assert (read.plan.name, read.plan.mode, read.plan.triggered, read.plan.texts) == (
        "backdoor",
        "add",
        True,
        texts,
    )
    assert read.ids == ["x", "y"]
    assert read.plan.rows.tolist() == [4, 1]
    assert (read.plan.labels is None) == (labels is None)
    assert np.array_equal(read.image_features, features)
    assert read.text_features is None
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["000001.png", "000004.png"]
