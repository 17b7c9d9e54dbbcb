"""The dataset card: the stage on drawn datasets, and the page by itself."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmer_core.config import DatasetCardConfig, IngestConfig, RuntimeConfig, SyntheticConfig
from mmer_core.datasets.leakage import Leak
from mmer_core.datasets.prepared import DatasetSummary
from mmer_core.datasets.sample import Quarantined
from mmer_core.datasets.statistics import SplitStatistics
from mmer_core.reporting.contact_sheet import SIDE, Shown, contact_sheet
from mmer_core.reporting.dataset_card import LISTED, CardView, render_card
from mmer_core.stages import Context, dataset_card, ingest


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    base = tmp_path_factory.mktemp("card")
    return Context(RuntimeConfig(store=str(base / "store"), work=base / "work"))


@pytest.fixture(scope="module", params=["emotic", "flickr8k"])
def described(request, context):
    config = IngestConfig(
        dataset=request.param, synthetic=SyntheticConfig(images=40), context_size=48, body_size=32
    )
    prepared = ingest(context, config)
    return prepared, dataset_card(context, DatasetCardConfig(samples=9), prepared.key)


def view(**changed) -> CardView:
    fields = {
        "card": DatasetSummary(
            name="tiny", task="retrieval", labels=(), counts={"train": 2, "val": 1, "test": 0},
            texts={"train": 2, "val": 1, "test": 0}, quarantined={}, inputs=3, protocol="given",
            synthetic=False, text_provenance={"dataset": 3}, texts_found=3,
            text_coverage={"train": {"dataset": 2}, "val": {"dataset": 1}, "test": {}},
        ),
        "statistics": {
            "train": SplitStatistics(2, 2, 2, text_lengths={1: 1, 90: 1}),
            "val": SplitStatistics(1, 1, 1, text_lengths={4: 1}),
        },
        "leaks": (), "quarantined": (), "shown": (),
    }  # fmt: skip
    return CardView(**(fields | changed))


def test_the_stage_leaves_a_page_figures_leaks_and_a_sheet(described):
    prepared, card = described
    assert {path.name for path in card.folder.iterdir()} == {
        "card.html",
        "leakage.csv",
        "samples.jpg",
        "statistics.json",
    }
    counts = {split: count for split, count in prepared.summary["counts"].items() if count}
    figures = json.loads((card.folder / "statistics.json").read_text())
    assert {split: one["samples"] for split, one in figures.items()} == counts
    assert list(figures) == ["train", "val", "test"]
    page = (card.folder / "card.html").read_text()
    assert page.count("<figure><svg viewBox") == 9
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
    for reason, count in prepared.summary["quarantined"].items():
        assert re.search(rf"<th scope=\"row\">{reason}</th><td[^>]*>{count}</td>", page)
    assert pd.read_csv(card.folder / "leakage.csv").empty == (not card.summary["leaks"])


def test_the_same_dataset_gives_the_same_page_from_anywhere(described, tmp_path):
    prepared, card = described
    elsewhere = Context(RuntimeConfig(store=str(tmp_path / "store"), work=tmp_path / "work", workers=1))
    again = dataset_card(
        elsewhere, DatasetCardConfig(samples=9), ingest(elsewhere, prepared_config(prepared)).key
    )
    assert {entry.path: entry.sha256 for entry in again.manifest.files} == {
        entry.path: entry.sha256 for entry in card.manifest.files
    }


def prepared_config(prepared) -> IngestConfig:
    return IngestConfig.model_validate(prepared.manifest.config["config"])


def test_what_leaks_and_what_was_refused_is_stated_up_to_a_limit():
    leaks = [Leak("near-identical", "train", f"a<{n}>", "val", "b", 4) for n in range(LISTED)]
    leaks.append(Leak("identical", "train", "worst", "val", "b"))
    refused = [Quarantined("train", f"id{n}", "no_caption", "no text") for n in range(LISTED + 5)]
    page = render_card(view(leaks=leaks, quarantined=refused))
    assert f"{LISTED} near-identical, 1 identical in two splits" in " ".join(page.split())
    assert page.index("worst") < page.index("a&lt;0&gt;")
    assert f"a&lt;{LISTED - 1}&gt;" not in page
    assert "a<0>" not in page
    assert f"The first {LISTED} of {LISTED + 5} refused inputs" in page


def test_a_clean_dataset_says_so():
    page = render_card(view())
    assert "No image occurs in two splits." in page
    assert "Nothing was left out." in page
    assert "40 or more at the end" in page


def test_boxes_are_drawn_where_they_are():
    grey = np.full((SIDE // 2, SIDE, 3), 90, np.uint8)
    sheet = contact_sheet([Shown("a", "train", grey, (10.0, 20.0, 60.0, 70.0), (), (), ())])
    pixels = np.asarray(sheet)[8:, 8:]
    assert tuple(pixels[20, 30]) == tuple(pixels[45, 10]) == tuple(pixels[70, 60]) == (255, 225, 77)
    assert tuple(pixels[45, 30]) == (90, 90, 90)
    assert isinstance(sheet, Image.Image)
