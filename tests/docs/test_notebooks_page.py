"""The page for users of the notebooks names sections that are there."""

import re
from collections.abc import Callable
from functools import cache
from html import unescape
from pathlib import Path

import pytest
from support import report_factory as make

from mmer_core.reporting.poison_page import render_poison_page
from mmer_core.reporting.report import to_html

PAGE = (Path(__file__).parents[2] / "docs" / "notebooks.md").read_text(encoding="utf-8")


@cache
def report() -> str:
    return to_html(make.report(make.emotion_dataset(), make.retrieval_dataset()))


@cache
def poisoning() -> str:
    return render_poison_page(make.poison_view(make.detection()))


def headings(html: str) -> set[str]:
    return {
        unescape(re.sub("<[^>]*>", "", one)).strip()
        for one in re.findall(r"<h[234][^>]*>(.*?)</h", html, re.S)
    }


def named(what: str) -> list[str]:
    """Headings that the table gives for a page."""
    cells = [row.split("|")[2] for row in PAGE.splitlines() if row.startswith("|") and row.count("|") == 4]
    return [
        name for cell in cells if cell.strip().startswith(what) for name in re.findall(r"\*\*(.+?)\*\*", cell)
    ]


@pytest.mark.parametrize(("what", "page"), [("report", report), ("poisoning page", poisoning)])
def test_named_sections_exist(what: str, page: Callable[[], str]) -> None:
    assert len(named(what)) > 5
    assert set(named(what)) <= headings(page())


def test_sections_hold_what_they_are_named_for() -> None:
    """The figures of made-up models are on the pages."""
    for text in (
        "1,234 samples and 987 different texts", "71.3", "0 (11.0), 3 (10.0)", "91.2", "of 1,234, in one modality",
        "Lines join the modalities of a sample, 100 of them at most",
    ):  # fmt: skip
        assert text in report(), text
    for text in (
        "contribution, points, image",
        "joint: backdoor (60)",
        "Image to text, R@5",
        "third quartile",
    ):
        assert text in poisoning(), text
