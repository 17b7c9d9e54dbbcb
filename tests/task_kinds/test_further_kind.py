"""A further kind of task and its networks are found by being there."""

import pytest

import mmer_core.models
import mmer_core.task_kinds
from mmer_core.config import EncoderConfig
from mmer_core.models import JointEmotionModel, ModelSpec, build_model
from mmer_core.models.checkpoint import MODELS
from mmer_core.task_kinds import KINDS, kind_of

KIND = """
from mmer_core.models import JointEmotionModel
from mmer_core.task_kinds.emotion import EmotionKind


class SceneKind(EmotionKind):
    name = "scenes"
    summary = "places"


class JointSceneModel(JointEmotionModel):
    name = "joint scenes"
"""


@pytest.mark.parametrize("registry", [KINDS, MODELS])
def test_a_module_is_enough(registry, tmp_path, monkeypatch):
    (tmp_path / f"added_{registry.kind[:5]}.py").write_text(KIND)
    package = mmer_core.task_kinds if registry is KINDS else mmer_core.models
    assert {name.split()[-1] for name in registry} == {"classification", "emotion", "retrieval"}
    with monkeypatch.context() as patch:
        patch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        registry.__dict__.pop("_found")
        if registry is KINDS:
            assert kind_of("scenes").labelled
        else:
            spec = ModelSpec(
                task="scenes", family="joint", streams={"context": 4}, embedding=4, hidden=0, dropout=0, labels=("hill", "sea"),
                encoders=EncoderConfig(), dataset="places",
            )  # fmt: skip
            assert isinstance(build_model(spec), JointEmotionModel)
    registry.__dict__.pop("_found")
