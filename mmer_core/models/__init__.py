"""The trained part: projections, embedding spaces and heads on top of frozen features."""

from mmer_core.models.checkpoint import build_model, load_model, save_model
from mmer_core.models.emotion import EmotionModel, EmotionOutput, JointEmotionModel, SeparateEmotionModel
from mmer_core.models.retrieval import JointRetrievalModel, RetrievalModel, SeparateRetrievalModel
from mmer_core.models.spec import ModelSpec
from mmer_core.models.zero_shot import ZeroShotEmotionModel, ZeroShotRetrievalModel, start_from_towers

__all__ = [
    "EmotionModel",
    "EmotionOutput",
    "JointEmotionModel",
    "JointRetrievalModel",
    "ModelSpec",
    "RetrievalModel",
    "SeparateEmotionModel",
    "SeparateRetrievalModel",
    "ZeroShotEmotionModel",
    "ZeroShotRetrievalModel",
    "build_model",
    "load_model",
    "save_model",
    "start_from_towers",
]
