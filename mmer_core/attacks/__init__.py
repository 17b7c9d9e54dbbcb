"""Few-pixel attacks: how little it takes to change what a model says about an image.

Pixels are attacked at the victim's input resolution, as uint8 values, before normalisation. An ``Attack``
proposes sparse ``Candidates``; a ``Victim`` scores them; a ``Criterion`` turns scores into margins, 0 or
less being a success; ``run_attack`` pools the candidates of many images into batches and keeps the books.

    victim = ClassifierVictim(network, mean, std, size=(224, 224))
    criterion = DominantEmotionFlip(predictions)
    outcomes = run_attack(victim, criterion, DifferentialEvolution(), images, ids, pixels=1, budget=400)
"""

from mmer_core.attacks.attack import Attack, BlackBoxAttack, Generation, Search, Targets, WhiteBoxAttack
from mmer_core.attacks.candidates import (
    Candidates,
    Pixel,
    apply,
    changed_pixels,
    list_changes,
    write_changes,
)
from mmer_core.attacks.corner_search import CornerSearch
from mmer_core.attacks.criteria import (
    AllOf,
    AnyOf,
    CategoryAppears,
    CategorySuppressed,
    Columns,
    ComposableCriterion,
    Criterion,
    DominantEmotionBecomes,
    DominantEmotionFlip,
    ImageRankDrop,
    ImageRankRise,
    LabelsChange,
    RankDrop,
    RankRise,
    RatingShift,
    TopEmotionsChange,
    image_bars,
)
from mmer_core.attacks.curves import success_by_queries, success_curves
from mmer_core.attacks.differential_evolution import DifferentialEvolution
from mmer_core.attacks.engine import run_attack
from mmer_core.attacks.exhaustive import ExhaustiveOnePixel
from mmer_core.attacks.guided_sparse_rs import GradientGuidedSparseRS
from mmer_core.attacks.outcomes import Outcome, outcomes_table, read_outcomes, write_outcomes
from mmer_core.attacks.pixle import Pixle
from mmer_core.attacks.random_pixels import RandomPixels
from mmer_core.attacks.registry import ATTACKS
from mmer_core.attacks.sparse_rs import SparseRS
from mmer_core.attacks.victims import (
    ClassifierVictim,
    EncodedVictim,
    ImageEncoder,
    IncrementalVictim,
    Victim,
    WhiteBoxVictim,
)
from mmer_core.attacks.vulnerability import OnePixelMap, one_pixel_map

__all__ = [
    "ATTACKS",
    "AllOf",
    "AnyOf",
    "Attack",
    "BlackBoxAttack",
    "Candidates",
    "CategoryAppears",
    "CategorySuppressed",
    "ClassifierVictim",
    "Columns",
    "ComposableCriterion",
    "CornerSearch",
    "Criterion",
    "DifferentialEvolution",
    "DominantEmotionBecomes",
    "DominantEmotionFlip",
    "EncodedVictim",
    "ExhaustiveOnePixel",
    "Generation",
    "GradientGuidedSparseRS",
    "ImageEncoder",
    "ImageRankDrop",
    "ImageRankRise",
    "IncrementalVictim",
    "LabelsChange",
    "OnePixelMap",
    "Outcome",
    "Pixel",
    "Pixle",
    "RandomPixels",
    "RankDrop",
    "RankRise",
    "RatingShift",
    "Search",
    "SparseRS",
    "Targets",
    "TopEmotionsChange",
    "Victim",
    "WhiteBoxAttack",
    "WhiteBoxVictim",
    "apply",
    "changed_pixels",
    "image_bars",
    "list_changes",
    "one_pixel_map",
    "outcomes_table",
    "read_outcomes",
    "run_attack",
    "success_by_queries",
    "success_curves",
    "write_changes",
    "write_outcomes",
]
