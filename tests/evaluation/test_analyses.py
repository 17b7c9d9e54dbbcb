"""The analyses as a whole, on spaces with planted structure."""

import json

import numpy as np
import pytest

from mmer_core.config import EvaluationConfig
from mmer_core.evaluation.analyses import emotion_spaces, label_separability, pair_figures, retrieval_spaces

CONFIG = EvaluationConfig(resamples=50)


def labelled(seed=0, size=200, signal=4.0):
    generator = np.random.default_rng(seed)
    labels = (generator.random((size, 2)) < [0.3, 0.5]).astype(float)
    points = generator.normal(size=(size, 8))
    points[:, :2] += signal * labels
    return points, labels


def test_neighbours_separate_what_is_separable():
    points, labels = labelled()
    found, nothing = (
        label_separability(points, labels, CONFIG),
        label_separability(*labelled(signal=0), CONFIG),
    )
    chance = 100 * labels.mean()
    assert found.low > nothing.high > chance > nothing.low - 5
    assert found.low < found.value < found.high


def test_a_shared_space_is_compared_in_full_and_others_by_cka_only():
    points, labels = labelled()
    streams = {"context": points, "text": points + 0.1}
    shared = emotion_spaces(streams, labels, CONFIG, shared=True)
    apart = emotion_spaces(streams, labels, CONFIG, shared=False)
    assert [space.name for space in shared.spaces] == ["context", "text", "mean of the streams"]
    assert [space.name for space in apart.spaces] == ["context", "text"]
    assert {field for field, value in apart.pairs[0] if value is not None} == {"first", "second", "cka"}
    pair = shared.pairs[0]
    assert pair.cka == pytest.approx(1)
    assert pair.own_neighbours < 0.6
    assert pair.own_neighbours_mixed == pytest.approx(199 / 399)
    json.dumps([one.model_dump(mode="json") for one in (shared, apart)], allow_nan=False)


def test_modalities_that_keep_apart_are_found():
    points, _ = labelled()
    pair = pair_figures(("image", points + 30), ("text", points - 30), shared=True)
    assert pair.own_neighbours == 1
    assert pair.modality_gap > 1.5
    assert pair.alignment > 3
    assert pair.paired_similarity < -0.5


def test_retrieval_pairs_each_image_with_its_first_text():
    generator = np.random.default_rng(0)
    images = generator.normal(size=(20, 6))
    owner = np.array([3, 3, 0, 5, 5, 5, 7])
    texts = images[owner].copy()
    texts[[1, 4, 5]] *= -1  # only the first text of each image lies at its image
    found = retrieval_spaces(images, texts, owner, {"own_image": generator.normal(size=(20, 9))})
    assert [(space.name, space.n, space.dimensions) for space in found.spaces] == [
        ("image", 20, 6), ("text", 7, 6), ("own_image", 20, 9)
    ]  # fmt: skip
    assert found.pairs[0].alignment == pytest.approx(0, abs=1e-12)
    assert found.pairs[0].paired_similarity == pytest.approx(1)
