"""Rows of attacks that only some studies have."""

from dataclasses import replace

import pytest
from support import report_factory as make

from mmer_core.record import Interval
from mmer_core.reporting.report import to_html


@pytest.mark.long
def test_the_report_shows_seeds_and_what_one_pixel_can_fool_where_known():
    dataset = make.emotion_dataset()
    plain = to_html(make.report(dataset))
    first, *rest = dataset.families
    point = first.curves[0].model_copy(
        update={"by_seed": (21.0, 34.5), "foolable": 19, "found": Interval(73.7, 51.2, 88.2)}
    )
    known = replace(first, curves=(point, *first.curves[1:]))
    page = to_html(make.report(replace(dataset, families=(known, *rest))))
    for words in ("21.0 to 34.5", "73.7", "by an exhaustive search", "with any seed"):
        assert words in page
    assert "by an exhaustive search" not in plain
    assert "with any seed" not in plain
