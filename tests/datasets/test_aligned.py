"""A split in another model's terms: columns by name, and only what the model reads."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmer_core.datasets.aligned import align
from mmer_core.datasets.prepared import DatasetSummary, PreparedSplit
from mmer_core.errors import DatasetError

LABELS = ("glad", "sad", "calm")


@pytest.fixture
def split(tmp_path: Path) -> PreparedSplit:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "test_context_arr.npy", np.zeros((5, 4, 4, 3), np.uint8))
    np.save(tmp_path / "test_cat_arr.npy", rng.integers(0, 2, (5, 3)).astype(np.float32))
    np.save(tmp_path / "test_cont_arr.npy", rng.uniform(1, 10, (5, 3)).astype(np.float32))
    texts = pd.DataFrame({"Sample": range(5), "Text": list("abcde"), "Provenance": "dataset"})
    texts.to_csv(tmp_path / "test_texts.csv", index=False)
    card = DatasetSummary(
        name="toy", task="emotion", labels=LABELS, counts={"test": 5}, texts={"test": 5}, quarantined={}, inputs=5,
        protocol="corrected", synthetic=True,
    )  # fmt: skip
    return PreparedSplit(tmp_path, "test", card)


@pytest.mark.parametrize("order", list(itertools.permutations(LABELS)))
def test_columns_follow_the_models_order(split, order):
    aligned = align(split, order, ("context", "text"), rates=True, only_shared=False)
    for place, name in enumerate(order):
        np.testing.assert_array_equal(aligned.labels[:, place], split.labels[:, LABELS.index(name)])
    np.testing.assert_array_equal(aligned.vad, split.vad)
    assert (aligned.streams, aligned.texts) == (("context",), split.texts)


def test_what_only_the_model_has_is_a_column_without_positives(split):
    aligned = align(split, ("bored", "calm"), ("context",), rates=False, only_shared=True)
    np.testing.assert_array_equal(aligned.labels, np.stack([np.zeros(5), split.labels[:, 2]], axis=1))
    assert aligned.vad.shape == (5, 0)
    assert aligned.texts == []


@pytest.mark.parametrize(
    ("names", "reads", "only_shared", "match"),
    [
        (("glad", "sad"), ("context",), False, "the model lacks calm; --evaluation.labels shared"),
        (
            (*LABELS, "bored"),
            ("context",),
            False,
            "the dataset lacks bored; --evaluation.labels shared",
        ),
        (("bored", "sad"), ("context",), False, "lacks bored and the model lacks calm, glad"),
        (("bored",), ("context",), True, "give a model of these labels"),
        (LABELS, ("body",), False, "has none of what the model reads: body"),
    ],
)
def test_what_does_not_match_is_told(split, names, reads, only_shared, match):
    with pytest.raises(DatasetError, match=match):
        align(split, names, reads, rates=True, only_shared=only_shared)
