"""Pictures and charts show the data that they were given."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from support import report_factory as make

from mmer_core.reporting import charts, pictures
from mmer_core.reporting.svg import STYLE


def decode(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert("RGB"))


def test_exact_uri_keeps_every_pixel():
    noise = np.random.default_rng(0).integers(0, 256, (17, 23, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(pictures.exact_uri(noise)), noise)


def test_data_uri_takes_the_smaller_format_and_shrinks():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert pictures.data_uri(noise).startswith("data:image/jpeg;")
    assert pictures.data_uri(np.zeros((64, 64, 3), np.uint8)).startswith("data:image/png;")
    assert decode(pictures.data_uri(noise, largest=32)).shape == (32, 32, 3)


@pytest.mark.parametrize("seed", range(4))
def test_marks_stand_at_the_changed_pixels_in_their_true_colours(seed):
    item = make.attacked(seed, "joint", 5)
    marked = pictures.marked(item)
    rows, columns = np.nonzero((item.image != item.attacked).any(axis=2))
    assert {(mark.y, mark.x) for mark in marked.marks} == set(
        zip(rows.tolist(), columns.tolist(), strict=True)
    )
    for mark in marked.marks:
        assert bytes.fromhex(mark.colour[1:]) == item.attacked[mark.y, mark.x].tobytes()
    assert len(marked.insets) == pictures.INSETS


@pytest.mark.parametrize("place", [(0, 0), (63, 63), (0, 31), (30, 63)])
def test_insets_hold_the_change_at_the_border_too(place):
    clean = make.picture(1)
    after = clean.copy()
    after[place] = 255 - after[place]
    item = make.AttackedImage(
        "joint", "de", 1, clean, after, [(*place, *map(int, after[place]))], "a", "b", 1, "s"
    )
    (inset,) = pictures.marked(item).insets
    before, changed = decode(inset.before), decode(inset.after)
    assert before.shape == changed.shape == (11, 11, 3)
    assert (before != changed).any(axis=2).sum() == 1


def test_group_styles_are_distinct_for_the_most_frequent_and_shared_by_the_rest():
    groups = [f"group {place}" for place in range(9) for _ in range(9 - place)]
    styles = charts.group_styles([make.space("s", groups, 0)])
    assert [styles[f"group {place}"] for place in range(6)] == list(charts.GROUP_STYLES)
    assert {styles[f"group {place}"] for place in range(6, 9)} == {charts.OTHER_STYLE}


def test_large_maps_become_bitmaps_and_small_ones_stay_vectors():
    groups = ["image", "text"] * 1001
    large, small = make.space("s", groups, 0), make.space("s", groups[:100], 0)
    drawn = charts.embedding_map(large, charts.group_styles([large]), "large")
    assert "data:image/png;base64" in drawn
    assert len(drawn) < 200_000
    assert "data:image" not in charts.embedding_map(small, charts.group_styles([small]), "small")


def test_charts_use_the_page_colours_and_prefixed_ids():
    families = [
        make.family("separate", make.emotion_evaluation(31.0)),
        make.family("joint", make.emotion_evaluation(42.0)),
    ]
    svg = charts.success_by_pixels(families, "here")
    assert "#0102" not in svg
    assert {"var(--separate)", "var(--joint)", "currentColor"} <= set(
        re.findall(r"var\(--[a-z]+\)|currentColor", svg)
    )
    assert all(one.startswith("here-") for one in re.findall(r'\bid="([^"]*)"', svg))
    assert STYLE["svg.fonttype"] == "none"
    assert "Random pixels (control)" in svg


def test_missing_figures_leave_gaps_and_do_not_stop_the_chart():
    evaluation = make.record(make.emotion_evaluation(31.0))
    history = [{"epoch": 1, "train_loss": 1.0}, {"epoch": 2, "train_loss": 0.5, "val_map": None}]
    family = make.FamilyView("joint", evaluation, history, 2)
    assert "joint, training" in charts.training_curves([family], "h")
    hole = make.StreamComparison(("A", "B"), {"joint": {"context": [float("nan"), 20.0]}})
    assert "average precision" in charts.modality_bars(hole, {}, "emotion", "m")
