"""The trained part: projections, embedding spaces and heads on top of frozen features."""

from mmer_core.models.emotion import EmotionModel, EmotionOutput, JointEmotionModel, SeparateEmotionModel
from mmer_core.models.retrieval import JointRetrievalModel, RetrievalModel, SeparateRetrievalModel
from mmer_core.models.spec import ModelSpec, build_model, load_model, save_model

__all__ = [
    "EmotionModel",
    "EmotionOutput",
    "JointEmotionModel",
    "JointRetrievalModel",
    "ModelSpec",
    "RetrievalModel",
    "SeparateEmotionModel",
    "SeparateRetrievalModel",
    "build_model",
    "load_model",
    "save_model",
]
