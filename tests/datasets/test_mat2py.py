import csv
import re
import sys

import cv2
import numpy as np
import pytest
from PIL import Image
from support.emotic_check import check_against_reference
from support.emotic_reference import convert
from test_emotic_reader import annotated_tree

from mmer_core.config import IngestConfig
from mmer_core.datasets.formats.emotic import read_emotic
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.photos import Cv2Photo, cv2_module, photo_reader, read_cv2
from mmer_core.datasets.pixels import UnreadableImageError
from mmer_core.errors import ConfigError


def test_drawn_tree_equals_the_reference_value_for_value(emotic_tree, tmp_path):
    card = check_against_reference(emotic_tree, "mat2py", tmp_path, (224, 128))
    assert card.protocol == "mat2py"
    assert card.quarantined["vad_nan"] == 1
    assert card.quarantined["empty_box"] > 1, "swapped sizes empty boxes, as in the reference"
    assert "no_label" not in card.quarantined


def test_boxes_of_the_photo_and_of_a_single_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    photo = Cv2Photo(pixels)
    assert photo.size == (7, 9)
    np.testing.assert_array_equal(photo.square(16), cv2.resize(pixels, (16, 16)))
    np.testing.assert_array_equal(photo.square(4, (6, 8, 7, 9)), np.broadcast_to(pixels[8, 6], (4, 4, 3)))


def test_channels_are_rgb(tmp_path):
    Image.new("RGB", (4, 4), (250, 20, 3)).save(tmp_path / "a.png")
    assert read_cv2(tmp_path / "a.png").pixels[0, 0].tolist() == [250, 20, 3]


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("alpha", [255, 254, 128, 0])
def test_a_tiff_with_transparency_is_never_darker_than_it_is(tmp_path, compression, alpha):
    """OpenCV multiplies colours by it; of EMOTIC's photos none is allowed to change so."""
    rgba = np.random.default_rng(0).integers(64, 256, (12, 9, 4), np.uint8)
    rgba[..., 3] = 255
    rgba[5, 5, 3] = alpha
    Image.fromarray(rgba).save(tmp_path / "a.tif", compression=compression)
    ((found, reason),) = photo_reader("mat2py").each(
        [tmp_path / "a.tif"],
        lambda one: (None, str(one)) if isinstance(one, UnreadableImageError) else (one.pixels.copy(), ""),
    )
    if alpha < 255:
        assert reason == "OpenCV darkens its colours by its transparency: draw it on a background"
    else:
        np.testing.assert_array_equal(found, rgba[..., :3])


@pytest.mark.parametrize("content", [None, b"", b"hello"])
def test_what_opencv_cannot_read_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadableImageError):
        read_cv2(tmp_path / "a.jpg")


def test_bombs_are_refused_unread(tmp_path, monkeypatch):
    Image.new("1", (300, 300)).save(tmp_path / "a.png")
    monkeypatch.setattr("mmer_core.datasets.photos.MAX_PIXELS", 300 * 300 - 1)
    with pytest.raises(UnreadableImageError, match="300x300"):
        read_cv2(tmp_path / "a.png")


def test_without_opencv_one_sentence_names_the_cure(monkeypatch):
    cv2_module.cache_clear()
    monkeypatch.setitem(sys.modules, "cv2", None)
    for needs in (cv2_module, lambda: photo_reader("mat2py")):
        with pytest.raises(ConfigError, match=r"pip install 'mmer\[mat2py\]'"):
            needs()
    photo_reader("corrected")


def test_repeated_categories_stand_twice_only_under_mat2py(tmp_path):
    twice = {"annotations_categories": {"categories": np.array(["Peace", "Fear", "Peace"], dtype=object)}}
    root = annotated_tree(tmp_path, **twice)
    labels = [
        read_emotic(root, captions=None, protocol=protocol).samples[0].labels
        for protocol in ("mat2py", "corrected")
    ]
    assert labels == [("Peace", "Fear", "Peace"), ("Peace", "Fear")]


def test_a_person_whom_no_annotator_saw_is_dropped_as_the_reference_does(tmp_path):
    person = {
        "annotations_categories": np.zeros((0, 0)),
        "combined_categories": np.array(["Peace"], dtype=object),
        "combined_continuous": {"valence": 5.0, "arousal": 5.0, "dominance": 5.0},
    }
    root = annotated_tree(tmp_path, split="test", **person)
    (row,) = read_emotic(root, captions=None, protocol="mat2py").quarantined
    assert row.reason == "no_annotator"
    assert len(read_emotic(root, captions=None, protocol="corrected").samples) == 1


def test_csv_cells_are_those_that_the_reference_writes(emotic_tree, tmp_path):
    """``csv.writer`` prints its lists: of integers for size and box. The identity comes after its columns."""
    config = IngestConfig(root=emotic_tree, protocol="mat2py", context_size=16, body_size=16)
    ingest(config, tmp_path / "out", tmp_path / "scratch", workers=1)
    names = [
        "Index", "Folder", "Filename", "Image Size", "BBox", "Categorical_Labels", "Continuous_Labels", "Gender", "Age",
    ]  # fmt: skip
    for split in ("train", "val", "test"):
        with (tmp_path / "out" / f"{split}.csv").open(encoding="utf-8", newline="") as handle:
            header, *found = csv.reader(handle)
        assert header == [*names, "Id"]
        people, _ = convert(emotic_tree, split, "mat2py", (16, 16))
        expected = [{"Index": index, **one.csv} for index, one in enumerate(people)]
        assert [row[:-1] for row in found] == [[str(one[name]) for name in names] for one in expected]
        assert all(re.fullmatch(r"\[\d+, \d+\]", row[3]) for row in found)
        assert all(re.fullmatch(r"\[\d+, \d+, \d+, \d+\]", row[4]) for row in found)
