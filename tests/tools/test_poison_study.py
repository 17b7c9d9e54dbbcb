"""What `benchmarks.poison_study` chooses, and from which photos."""

from pathlib import Path

import pytest

from benchmarks.poison_study import chosen, held_back
from mmer_core.config import SyntheticConfig
from mmer_core.datasets.flickr_splits import LISTS
from mmer_core.datasets.formats.flickr8k import read_flickr8k
from mmer_core.datasets.synthetic import write_flickr8k


@pytest.mark.parametrize(
    ("success", "side"),
    [
        ({40: 3.1, 64: 46.8, 96: 81.5}, 96),
        ({40: 3.1, 64: 50.0, 96: 81.5}, 64),
        ({96: 60.0, 40: 55.0}, 40),
        ({40: 3.1, 64: 46.8, 96: 20.0}, 64),
    ],
)
def test_the_smallest_side_that_is_enough_is_chosen(success: dict[int, float], side: int) -> None:
    assert chosen(success) == side


def test_a_trigger_is_chosen_without_a_photo_of_dev(tmp_path: Path) -> None:
    write_flickr8k(tmp_path / "flickr8k", SyntheticConfig(images=60))
    (tmp_path / "held back").mkdir()
    lists = {split: (tmp_path / "flickr8k" / name).read_text().split() for split, name in LISTS.items()}
    tree = held_back(tmp_path / "flickr8k", tmp_path / "held back")
    own = {split: (tree / LISTS[split]).read_text().split() for split in ("train", "val")}
    assert own["train"] + own["val"] == lists["train"]
    assert len(own["val"]) == len(lists["train"]) // 6
    assert not (tree / LISTS["test"]).exists()
    read = {
        split: {sample.image.name for sample in samples}
        for split, samples in read_flickr8k(tree, splits="official").by_split().items()
    }
    assert not (read["train"] | read["val"]) & {*lists["val"], *lists["test"]}
    assert read["val"] <= set(own["val"])
