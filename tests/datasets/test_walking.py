"""Datasets whose folders are links: nothing of them changes, or is left out, in silence."""

import os
from pathlib import Path

import pytest
from PIL import Image

from mmer_core.datasets import walking
from mmer_core.datasets.fingerprint import fingerprint
from mmer_core.datasets.formats.class_folders import ClassFolders
from mmer_core.datasets.walking import walk
from mmer_core.errors import DatasetError


def photo(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (level, 0, 0)).save(path)


def below(root: Path) -> set[str]:
    return {os.path.relpath(Path(folder, name), root) for folder, _, names in walk(root) for name in names}


def test_a_tree_without_links_is_walked_as_by_the_library(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "a/c/1.jpg", "a/0.jpg", "3.jpg"):
        photo(tmp_path / name, 1)
    expected = {
        (folder, tuple(sorted(below)), tuple(sorted(names))) for folder, below, names in os.walk(tmp_path)
    }
    assert {(folder, tuple(below), tuple(names)) for folder, below, names in walk(tmp_path)} == expected


def test_what_a_linked_folder_holds_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    photo(tmp_path / "disk" / "1.jpg", 1)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "captions.txt").write_text("image,caption\n1.jpg,a dog\n")
    (tmp_path / "set" / "Images").symlink_to(tmp_path / "disk")
    before = fingerprint(tmp_path / "set")
    assert fingerprint(tmp_path / "set") == before
    photo(tmp_path / "disk" / "1.jpg", 2)
    changed = fingerprint(tmp_path / "set")
    photo(tmp_path / "disk" / "2.jpg", 2)
    assert len({before, changed, fingerprint(tmp_path / "set")}) == 3


def test_it_is_that_of_the_same_files_without_links(tmp_path: Path) -> None:
    for folder in ("disk", "whole/Images"):
        photo(tmp_path / folder / "1.jpg", 1)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "Images").symlink_to(tmp_path / "disk")
    assert fingerprint(tmp_path / "linked") == fingerprint(tmp_path / "whole")


def test_linked_folders_that_lead_to_each_other_end(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        photo(tmp_path / name / "1.jpg", 1)
        (tmp_path / name / "other").symlink_to(tmp_path / other)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert {name for name in below(tmp_path) if name.endswith(".jpg")} == {
        "a/1.jpg", "b/1.jpg", "a/other/1.jpg", "b/other/1.jpg",
    }  # fmt: skip


def test_folders_that_are_linked_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "_MOST_LINKS", 200)
    folders = [tmp_path / str(number) for number in range(12)]
    for folder in folders:
        folder.mkdir()
        for other in folders:
            (folder / other.name).symlink_to(other)
    with pytest.raises(DatasetError, match="links to folders"):
        below(tmp_path)


def test_a_label_whose_folder_is_a_link_is_read_or_reported(tmp_path: Path) -> None:
    """One inside of the dataset is read; one that leads out of it is in the quarantine, with the cure."""
    for name in ("set/cats/1.jpg", "set/dogs/2.jpg", "elsewhere/3.jpg"):
        photo(tmp_path / name, 1)
    (tmp_path / "set" / "felines").symlink_to(tmp_path / "set" / "cats")
    (tmp_path / "set" / "birds").symlink_to(tmp_path / "elsewhere")
    raw = ClassFolders().read(tmp_path / "set")
    assert raw.inputs == 4
    assert {sample.id for sample in raw.samples} >= {"cats/1.jpg", "dogs/2.jpg", "felines/1.jpg"}
    (left,) = [row for row in raw.quarantined if row.reason == "outside"]
    assert left.id == "birds/3.jpg"
    assert "link" in left.detail
