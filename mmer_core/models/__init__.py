"""The trained part: projections, embedding spaces and heads on top of frozen features.

Networks need PyTorch to be imported at all, so each is imported when it is first used: ``models.EmotionModel``.
"""

from typing import TYPE_CHECKING

from mmer_core.lazily import lazily
from mmer_core.models.spec import ModelSpec as ModelSpec

if TYPE_CHECKING:
    from mmer_core.models.checkpoint import build_model as build_model
    from mmer_core.models.checkpoint import load_model as load_model
    from mmer_core.models.checkpoint import save_model as save_model
    from mmer_core.models.emotion import EmotionModel as EmotionModel
    from mmer_core.models.emotion import EmotionOutput as EmotionOutput
    from mmer_core.models.emotion import JointEmotionModel as JointEmotionModel
    from mmer_core.models.emotion import Presence as Presence
    from mmer_core.models.emotion import SeparateEmotionModel as SeparateEmotionModel
    from mmer_core.models.retrieval import JointRetrievalModel as JointRetrievalModel
    from mmer_core.models.retrieval import RetrievalModel as RetrievalModel
    from mmer_core.models.retrieval import SeparateRetrievalModel as SeparateRetrievalModel
    from mmer_core.models.zero_shot import ZeroShotEmotionModel as ZeroShotEmotionModel
    from mmer_core.models.zero_shot import ZeroShotRetrievalModel as ZeroShotRetrievalModel
    from mmer_core.models.zero_shot import start_from_towers as start_from_towers

__getattr__ = lazily(
    __name__,
    {
        ".checkpoint": ("build_model", "load_model", "save_model"),
        ".emotion": (
            *("EmotionModel", "EmotionOutput", "JointEmotionModel", "Presence", "SeparateEmotionModel"),
        ),
        ".retrieval": ("JointRetrievalModel", "RetrievalModel", "SeparateRetrievalModel"),
        ".zero_shot": ("ZeroShotEmotionModel", "ZeroShotRetrievalModel", "start_from_towers"),
    },
)
