"""The figures of a split against counts made from its CSV files."""

import ast
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from mmer_core.config import IngestConfig
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.prepared import Prepared
from mmer_core.datasets.statistics import describe_split


@pytest.fixture(scope="module")
def emotic(emotic_tree, tmp_path_factory) -> Prepared:
    base = tmp_path_factory.mktemp("statistics")
    config = IngestConfig(root=emotic_tree, context_size=16, body_size=16)
    ingest(config, base / "out", base / "scratch", workers=1)
    return Prepared.open(base / "out")


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_people_are_counted_as_in_the_table(emotic, name):
    figures = describe_split(emotic.split(name))
    table = pd.read_csv(emotic.files.path(f"{name}.csv"), keep_default_na=False)
    labels = [ast.literal_eval(cell) for cell in table["Categorical_Labels"]]
    assert figures.samples == len(table)
    assert figures.photos == len({(row.Folder, row.Filename) for row in table.itertuples()})
    assert {k: v for k, v in figures.categories.items() if v} == Counter(x for named in labels for x in named)
    assert tuple(figures.categories) == emotic.card.labels
    assert figures.labels_per_sample == pytest.approx(np.mean([len(named) for named in labels]))
    assert figures.people["Gender"] == Counter(table["Gender"])
    assert figures.people["Age"] == Counter(table["Age"])
    texts = pd.read_csv(emotic.files.path(f"{name}_texts.csv"), keep_default_na=False)["Text"]
    assert figures.text_lengths == Counter(len(text.split()) for text in texts)
    assert figures.texts == len(texts)


def test_a_rating_is_in_the_bin_it_begins(emotic):
    figures = describe_split(emotic.split("train"))
    table = pd.read_csv(emotic.files.path("train.csv"), keep_default_na=False)
    ratings = np.array([ast.literal_eval(cell) for cell in table["Continuous_Labels"]])
    for column, (name, counts) in enumerate(figures.ratings.items()):
        expected = [0] * 9
        for value in ratings[:, column]:
            expected[min(int(value), 9) - 1] += 1
        assert counts == expected, name
        assert sum(counts) == figures.samples


def test_captioned_photos_have_texts_and_nothing_else(flickr_tree, tmp_path):
    config = IngestConfig(dataset="flickr8k", root=flickr_tree, context_size=16)
    ingest(config, tmp_path / "out", tmp_path / "scratch", workers=1)
    figures = describe_split(Prepared.open(tmp_path / "out").split("train"))
    assert figures.samples == figures.photos
    assert sum(figures.text_lengths.values()) == figures.texts > figures.samples
    assert (figures.categories, figures.labels_per_sample, figures.ratings, figures.people) == (
        {},
        None,
        {},
        {},
    )
