"""Vocabulary and caption indices of a captioned dataset."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmer_core.config import IngestConfig
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.prepared import Prepared
from mmer_core.datasets.vocabulary import build_vocabulary, encode, words


def test_indices_by_hand():
    vocabulary, counts = build_vocabulary(["A dog, a DOG !", "a cat", "שלום cat"], least=2)
    assert vocabulary == {"<pad>": 0, "<unk>": 1, "a": 2, "cat": 3, "dog": 4}
    assert counts["שלום"] == 1
    array = encode(["a שלום dog", "🐕", "Cat"], vocabulary, 4)
    assert array.dtype == np.int32
    assert array.tolist() == [[2, 1, 4, 0], [0, 0, 0, 0], [3, 0, 0, 0]]


@given(st.lists(st.text(max_size=30), max_size=8))
def test_indices_lead_back_to_the_words(captions):
    vocabulary, _ = build_vocabulary(captions, least=1)
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    name = {index: word for word, index in vocabulary.items()}
    length = max((len(words(caption)) for caption in captions), default=0)
    for caption, row in zip(captions, encode(captions, vocabulary, length), strict=True):
        assert [name[int(index)] for index in row if index] == words(caption)


@pytest.mark.parametrize("least", [1, 3])
def test_prepared_folder_has_the_vocabulary_of_train_only(flickr_tree, tmp_path, least):
    config = IngestConfig(dataset="flickr8k", root=flickr_tree, context_size=16, vocabulary_least=least)
    ingest(config, tmp_path / "out", tmp_path / "scratch", workers=1)
    prepared = Prepared.open(tmp_path / "out")
    vocabulary = json.loads((tmp_path / "out" / "vocab.json").read_text())
    counted: dict[str, int] = {}
    for text in prepared.split("train").texts:
        for word in words(text):
            counted[word] = counted.get(word, 0) + 1
    assert vocabulary.keys() - {"<pad>", "<unk>"} == {w for w, count in counted.items() if count >= least}
    with (tmp_path / "out" / "vocab.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["Word"]: int(row["Index"]) for row in rows} == vocabulary
    assert {row["Word"]: int(row["Count"]) for row in rows[2:]} == {
        w: counted[w] for w in list(vocabulary)[2:]
    }
    unknown = set()
    for split in ("train", "val", "test"):
        texts = prepared.split(split).texts
        array = np.load(tmp_path / "out" / f"{split}_captions_arr.npy", allow_pickle=False)
        assert array.dtype == np.int32
        assert len(array) == len(texts)
        for text, indices in zip(texts, array.tolist(), strict=True):
            expected = [vocabulary.get(word, 1) for word in words(text)]
            assert indices == expected + [0] * (array.shape[1] - len(expected))
            unknown |= {word for word in words(text) if word not in vocabulary}
    if least > 1:
        assert unknown
