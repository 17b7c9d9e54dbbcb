"""What a card says follows from the figures: each limit is there when its fact is, and not otherwise."""

import json
from itertools import pairwise

import pytest
from support import report_factory as make

from mmer_core.config import EncoderConfig
from mmer_core.encoders.licences import NOT_STATED
from mmer_core.models import ModelSpec
from mmer_core.reporting.card import card_fields, limits, to_markdown
from mmer_core.store import Draft, Manifest
from mmer_core.task_kinds import kind_of
from mmer_core.taxonomy import EMOTIC_CATEGORIES, VAD

LICENCES = {"packaged:a": "Apache-2.0", "hf:b|c": "mit"}


def spec(task="emotion", **fields) -> ModelSpec:
    emotion = task == "emotion"
    plain = {
        "task": task, "family": "joint", "streams": {"context": 1280, "text": 384}, "embedding": 128, "hidden": 8,
        "dropout": 0.1, "labels": EMOTIC_CATEGORIES if emotion else (), "dimensions": VAD if emotion else (),
        "encoders": EncoderConfig(), "dataset": "drawn",
    }  # fmt: skip
    return ModelSpec.model_validate(plain | fields)


def manifest() -> Manifest:
    draft = Draft(kind="model", digest="0123abcd", config={"training": {"epochs": 3}}, seed=7)
    return Manifest(**draft.model_dump(), created="2025-01-02T00:00:00+00:00", libraries={"torch": "2.14.0"})


def strong() -> dict:
    """An evaluation with nothing to object to."""
    found = make.emotion_evaluation(42.0) | {"n": 5000}
    for record in found["per_category"]:
        record["ap"], record["prevalence"] = make.estimate(60.0, 4), 20.0
    return found


def said(evaluation: dict, task="emotion", card=None, licences=LICENCES) -> str:
    card = card or make.card(task, synthetic=False)
    return " ".join(limits(kind_of(task).text, spec(task), card, make.record(evaluation), licences))


def test_a_strong_model_on_real_photos_has_the_general_limits_only():
    sources = {"sidecar": 10}
    text = said(
        strong(), card=make.card("emotion", synthetic=False).model_copy(update={"text_provenance": sources})
    )
    assert text == (
        "Measured on drawn only; nothing is known about other sources of images and texts. "
        "How easily changed pixels mislead it is not on this card; mmer robustness measures it."
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"split": "val"}, "chosen on the split that is measured here"),
        ({"split": "train"}, "Measured on the samples that it was trained on"),
        ({"metrics": {"map": make.estimate(18.0)}}, "Not clearly better than chance: 18.0 % (16.0–20.0) against 17.0 %."),
        ({"metrics": {"vad_mae": make.estimate(1.0, 0.1)}}, "off by 1.000 points (0.900–1.100), not clearly better"),
        ({"n": 80}, "Fewer than 20 people measured here show Affection, Anger"),
    ],
)  # fmt: skip
def test_each_limit_is_stated_with_its_fact(change, sentence):
    assert sentence not in said(strong())
    assert sentence in said(strong() | change)


def test_weak_categories_are_named():
    evaluation = strong()
    evaluation["per_category"][1]["ap"] = make.estimate(21.0, 2)
    evaluation["per_category"][4]["ap"] = make.estimate(22.0, 2)
    assert "Not clearly better than chance at Anger and Aversion." in said(evaluation)


def test_data_and_licences_have_limits_too():
    synthetic = said(strong(), card=make.card("emotion"))
    assert "images that mmer drew" in synthetic
    templates = make.card("emotion").model_copy(update={"text_provenance": {"sidecar": 25, "template": 75}})
    assert "75 % of its texts were templates" in said(strong(), card=templates)
    assert "hf:x; ask their publisher" in said(strong(), licences={"packaged:a": "mit", "hf:x": NOT_STATED})
    retrieval = said(make.retrieval_evaluation(20.0), task="retrieval")
    assert "among 1,000 photos and 5,000 texts; among more" in retrieval
    large = make.retrieval_evaluation(20.0) | {
        "n": 30_000,
        "n_texts": 150_000,
        "queries": 10_000,
        "text_queries": 50_000,
    }
    drawn = "30,000 photos and 150,000 texts, searched by 10,000 photos drawn from them and their 50,000 texts; among more"
    assert drawn in said(large, task="retrieval")


def test_use_follows_from_the_labels():
    (emotion, _), (plain, _) = (
        kind_of("emotion").text.uses(one, make.card("emotion"))
        for one in (spec(), spec(labels=("joy",), dimensions=()))
    )
    assert "26 categories, and ratings of valence, arousal, dominance" in emotion
    assert "1 categories, as" in plain
    assert "match a text" in kind_of("retrieval").text.uses(spec("retrieval"), make.card("retrieval"))[0]


@pytest.mark.parametrize("task", ["emotion", "retrieval"])
def test_the_markdown_holds_the_figures(task):
    evaluation = strong() if task == "emotion" else make.retrieval_evaluation(20.0)
    fields = card_fields(
        kind_of(task).text, spec(task), manifest(), make.card(task), make.record(evaluation), LICENCES
    )
    assert "analyses" not in json.loads(json.dumps(fields, allow_nan=False))["evaluation"]
    text = to_markdown(fields)
    assert text == to_markdown(fields)
    assert text.count("\n# ") == 0
    for part in (
        "# Joint",
        "`model/0123abcd`",
        "seed 7",
        "Synthetic data",
        "torch 2.14.0",
        '"epochs": 3',
        "Apache-2.0",
    ):
        assert part in text, part
    for raw in evaluation["metrics"].values():
        assert f"{raw.low:.1f}" in text
    for record in evaluation.get("per_category", ()):
        assert f"| {record['name']} | 60.0 (56.0–64.0) | 20.0 |" in text
    assert "| hf\\:b\\|c |" in text
    # Every table keeps its number of columns.
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    for head, rule in pairwise(rows):
        if set(rule) <= set("| -:"):
            assert head.count("|") == rule.count("|")
