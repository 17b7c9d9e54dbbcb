"""Names on the page for everything that a configuration can ask of an attack."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from support import report_factory as make

from mmer_core.attacks import ATTACKS
from mmer_core.config import AttackConfig, EmotionCriterion, MatchCriterion
from mmer_core.errors import ConfigError
from mmer_core.reporting import charts, labels
from mmer_core.reporting.report import to_html
from mmer_core.task_kinds import KINDS, kind_of


def test_every_attack_and_criterion_has_its_name():
    assert len({labels.attack_name(name) for name in ATTACKS} - set(ATTACKS)) == len(ATTACKS)
    assert "screened" in labels.WHITE_BOX < set(ATTACKS) - {"random", "sparse-rs"}
    assert set(labels.FOOLED) == {*get_args(EmotionCriterion), *get_args(MatchCriterion)}
    assert {kind.text.criterion for kind in KINDS.values()} < set(labels.FOOLED)
    assert {kind.text.headline for kind in KINDS.values()} < set(labels.METRICS)
    parameters = {"word": "emotion", **AttackConfig(category="Peace").model_dump()}
    said = [sentence.format(**parameters) for sentence in labels.FOOLED.values()]
    assert len(set(said)) == len(said)
    assert "valence moves by 1 points or more" in said


@pytest.mark.long
def test_the_report_says_what_counts_as_fooled():
    dataset = make.emotion_dataset()
    assert "counts as fooled when the dominant emotion changes" in to_html(make.report(dataset))
    page = to_html(make.report(replace(dataset, fooled="Peace is no longer found")))
    assert "counts as fooled when Peace is no longer found" in page
    assert "dominant emotion changes" not in page


@pytest.mark.parametrize(
    ("fields", "task", "expected"),
    [
        ({}, "emotion", ("Anger", "Fear")),
        ({"criterion": "suppress", "category": "Fear"}, "emotion", ("Fear", "no Fear")),
        ({"criterion": "appear", "category": "Fear"}, "emotion", ("no Fear", "Fear")),
        ({"criterion": "shift", "tau": 0.5}, "emotion", ("valence", "valence moved by 0.75")),
        ({"match_criterion": "caption-rises", "target": "x"}, "retrieval", ("Anger", "Fear")),
        ({}, "retrieval", ("own caption first: Anger", "own caption at rank 12; first: Fear")),
        (
            {"match_criterion": "text-to-image"},
            "retrieval",
            ("found by its own captions at ranks 1, 3", "found by its own captions at ranks 1,202"),
        ),
    ],
)
def test_a_picture_says_what_changed(fields, task, expected):
    outcome = {
        "clean_top": 0,
        "final_top": 1,
        "final_margin": -0.25,
        "clean_reading": [0.0, 2.0, 0.0],
        "final_reading": [11.0, 1201.0, np.nan],
    }
    words = kind_of(task).before_and_after(AttackConfig(**fields), outcome, ["Anger", "Fear"])
    assert words == expected


def test_attacks_on_one_model_are_told_apart_without_colour():
    styles = [charts._attack_style(attack) for attack in ATTACKS]
    assert len({marker for marker, _ in styles}) == len(styles) - 2  # the controls are hollow
    assert len({str(line) for _, line in styles}) == len(styles)


def test_a_further_kind_of_task_brings_its_own_words():
    words = replace(
        kind_of("emotion").text, samples="scenes", headline="f1_macro", skill=("name scenes", "names scenes")
    )
    page = to_html(make.report(replace(make.emotion_dataset(), text=words)))
    assert "scenes</th>" in page
    assert "the joint model names scenes better than the separate one" in page


def test_an_unknown_kind_of_task_is_an_error_that_names_it():
    with pytest.raises(
        ConfigError, match="no kind of task 'scenes'; give one of classification, emotion, retrieval"
    ):
        kind_of("scenes")
