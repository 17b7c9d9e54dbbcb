"""What counts as a success, apart from any attack and any model; composable with ``&`` and ``|``."""

from mmer_core.attacks.criteria.base import AllOf, AnyOf, ComposableCriterion, Criterion
from mmer_core.attacks.criteria.captions import RankDrop, RankRise
from mmer_core.attacks.criteria.dominant import (
    DominantEmotionBecomes,
    DominantEmotionFlip,
    TopEmotionsChange,
)
from mmer_core.attacks.criteria.images import ImageRankDrop, ImageRankRise, image_bars
from mmer_core.attacks.criteria.presence import CategoryAppears, CategorySuppressed, LabelsChange
from mmer_core.attacks.criteria.ratings import Columns, Direction, RatingShift

__all__ = [
    "AllOf",
    "AnyOf",
    "CategoryAppears",
    "CategorySuppressed",
    "Columns",
    "ComposableCriterion",
    "Criterion",
    "Direction",
    "DominantEmotionBecomes",
    "DominantEmotionFlip",
    "ImageRankDrop",
    "ImageRankRise",
    "LabelsChange",
    "RankDrop",
    "RankRise",
    "RatingShift",
    "TopEmotionsChange",
    "image_bars",
]
