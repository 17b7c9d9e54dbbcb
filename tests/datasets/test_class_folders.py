"""Photos in folders named after their label."""

import numpy as np
import pytest
from PIL import Image

from mmer_core.config import IngestConfig
from mmer_core.datasets.check import check
from mmer_core.datasets.formats.class_folders import ClassFolders
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.prepared import Prepared
from mmer_core.errors import DatasetError


def photo(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(path)


def test_splits_and_labels_are_folders_and_the_check_agrees(tmp_path):
    root = tmp_path / "raw"
    for place, split in enumerate(("Train", "valid", "test")):
        for number, label in enumerate(("glad; a bit", "sad")):
            photo(root / split / label / "deep" / "one.png", 10 * place + number)
    (root / "Train" / "sad" / "notes.txt").write_text("no photo")
    (root / "Train" / "sad" / ".hidden").write_text("left out")
    (root / "Train" / "sad" / "broken.jpg").write_text("no picture")
    photo(root / "Train" / "stray.png", 99)
    photo(root / "test" / "unseen" / "one.png", 98)

    config = IngestConfig(dataset="class-folders", root=root, context_size=16)
    summary = ingest(config, tmp_path / "prepared", tmp_path / "scratch", workers=1)

    assert summary.labels == ("glad; a bit", "sad")
    assert summary.counts == {"train": 2, "val": 2, "test": 2}
    refused = {"malformed_row": 1, "unreadable_image": 1, "no_label": 1, "unknown_label": 1}
    assert (summary.quarantined, summary.inputs) == (refused, 10)
    train = Prepared.open(tmp_path / "prepared").split("train")
    assert list(train.ids) == ["Train/glad; a bit/deep/one.png", "Train/sad/deep/one.png"]
    assert train.labels.tolist() == [[1, 0], [0, 1]]
    checked = check(config, tmp_path / "scratch", workers=1)
    assert (checked.inputs, checked.sound) == (10, 6)


def test_splits_are_generated_where_folders_are_labels(tmp_path):
    for place in range(40):
        photo(tmp_path / "animals" / ("cat", "dog")[place % 2] / f"{place}.png", place)
    raw = ClassFolders().read(tmp_path / "animals")
    assert (raw.name, raw.labels) == ("animals", ("cat", "dog"))
    assert {split for split, samples in raw.by_split().items() if samples} == {"train", "val", "test"}
    assert all(sample.labels == (sample.id.split("/")[0],) for sample in raw.samples)


def test_a_folder_without_photos_in_folders_is_refused(tmp_path):
    photo(tmp_path / "one.png", 1)
    with pytest.raises(DatasetError, match="no photo in a folder"):
        ClassFolders().read(tmp_path)
