"""Which defences there are, and which models they are for."""

from typing import Any

import pytest
from pydantic import ValidationError

from mmer_core.config import DefencesJob


@pytest.mark.parametrize(
    "defence", ["median", "median:5", "jpeg", "jpeg:50", "adversarial", "ablation", "ablation:9"]
)
def test_a_defence_is_named(defence: str) -> None:
    assert not DefencesJob().several
    assert DefencesJob(defence=(defence,)).several


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"defence": ("mean",)},
            "no defence 'mean'; give some of .*ablation:2000.*median:3.*adversarial",
        ),
        ({"defence": ("median:",)}, "no defence 'median:'"),
        ({"defence": ("median:4",)}, "median:4: a median is of 3, 5 or 7 pixels a side"),
        ({"defence": ("jpeg:0",)}, "jpeg:0: the quality of a JPEG is 1 to 100"),
        ({"defence": ("adversarial:2",)}, "no defence 'adversarial:2'"),
        ({"defence": ("ablation:0",)}, "ablation:0: an ablation keeps 1 pixel or more"),
        (
            {"defence": ("ablation:9",), "attack": {"stream": "photo"}},
            "ablation certifies pixels of an image as",
        ),
        ({"ablation": {"draws": 9}}, "9 draws certify nothing at a confidence of 0.999, .*ablation.draws 10"),
        ({"ablation": {"confidence": 1.0}}, "less than 1"),
        ({"defence": ("jpeg", "jpeg")}, "a defence is named twice"),
        ({"defence": ("jpeg",), "trained": "model/1"}, "a defended model is trained anew"),
        ({"defence": ("adversarial",), "model": {"family": "zero-shot"}}, "zero-shot is not trained"),
        ({"defence": ("adversarial",), "attack": {"stream": "photo"}}, "give context or body as stream"),
        (
            {"defence": ("adversarial",), "attack": {"match_criterion": "caption-rises", "target": "a"}},
            "leave out target",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DefencesJob(**fields)
