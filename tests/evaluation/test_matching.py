"""Matching of people and texts, and what modalities add to it, against slow formulas."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmer_core.config import EvaluationConfig
from mmer_core.evaluation.matching import caption_contribution, match_people
from mmer_core.evaluation.retrieval_metrics import RECALLS

CONFIG = EvaluationConfig(resamples=50)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(st.integers(0, 10**6), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_recalls_of_people_are_those_counted_by_hand(seed, kinds):
    generator = np.random.default_rng(seed)
    of_text = generator.normal(size=(kinds, 4))
    which = np.concatenate([np.arange(kinds), generator.integers(0, kinds, 7)])
    images = of_text[which] + generator.normal(size=(len(which), 4))
    names = [f"text {one}" for one in which]
    found = match_people(unit(images), unit(of_text)[which], names, CONFIG)
    scores = unit(images) @ unit(of_text).T  # (N, kinds)
    first, second = [], []
    for person, own in enumerate(which):
        others = [scores[person, other] for other in range(kinds) if other != own]
        first.append(sum(other >= scores[person, own] for other in others))
    for text in range(kinds):
        best = max(scores[person, text] for person in range(len(which)) if which[person] == text)
        second.append(
            sum(scores[person, text] >= best for person in range(len(which)) if which[person] != text)
        )
    for k in RECALLS:
        assert found.metrics[f"i2t_r{k}"].value == pytest.approx(100 * np.mean([rank < k for rank in first]))
        assert found.metrics[f"t2i_r{k}"].value == pytest.approx(100 * np.mean([rank < k for rank in second]))
        assert found.baselines[f"i2t_r{k}"] == pytest.approx(100 * min(k, kinds) / kinds)
    assert (found.people, found.texts) == (len(which), kinds)


def test_people_who_all_have_one_text_are_not_matched():
    assert match_people(np.eye(3), np.ones((3, 3)), ["a"] * 3, CONFIG) is None


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_contributions_are_mean_gains_over_all_orders(seed):
    generator = np.random.default_rng(seed)
    owner = np.sort(generator.integers(0, 14, 50))
    centres = generator.normal(size=(14, 5))
    images = unit(centres + generator.normal(size=(14, 5)))
    texts = unit(centres[owner] + generator.normal(size=(50, 5)))
    found = caption_contribution(images, texts, owner, CONFIG)
    firsts = {photo: int(np.flatnonzero(owner == photo)[0]) for photo in set(owner.tolist())}
    photos = [photo for photo in firsts if (owner == photo).sum() > 1]
    gallery = [row for row in range(50) if owner[row] in photos and row != firsts[owner[row]]]

    def worth(members):
        recalls = []
        for photo in photos:
            if not members:
                total, own = len(gallery), sum(owner[row] == photo for row in gallery)
                miss = [
                    np.prod([max(0, total - own - j) / (total - j) for j in range(min(k, total))])
                    for k in RECALLS
                ]
                recalls.append(np.mean([1 - one for one in miss]))
                continue
            query = sum(images[photo] if name == "image" else texts[firsts[photo]] for name in members)
            scores = {row: float(texts[row] @ query) for row in gallery}
            best = max(scores[row] for row in gallery if owner[row] == photo)
            rank = sum(scores[row] >= best - 1e-12 for row in gallery if owner[row] != photo)
            recalls.append(np.mean([rank < k for k in RECALLS]))
        return 100 * np.mean(recalls)

    orders = list(permutations(("image", "text")))
    assert found.all.value == pytest.approx(worth(("image", "text")))
    assert found.none.value == pytest.approx(worth(()))
    for stream in found.streams:
        gains = []
        for order in orders:
            before = order[: order.index(stream.name)]
            gains.append(worth((*before, stream.name)) - worth(before))
        other = "text" if stream.name == "image" else "image"
        assert stream.shapley.value == pytest.approx(np.mean(gains))
        assert stream.alone.value == pytest.approx(worth((stream.name,)))
        assert stream.left_out.value == pytest.approx(worth(("image", "text")) - worth((other,)))


def test_photos_with_one_caption_say_nothing():
    assert caption_contribution(np.eye(4), np.eye(4), np.arange(4), CONFIG) is None
