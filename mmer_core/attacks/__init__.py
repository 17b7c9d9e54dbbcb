"""Few-pixel attacks: how little it takes to change what a model says about an image.

Pixels are attacked at the victim's input resolution, as uint8 values, before normalisation. An ``Attack``
proposes sparse ``Candidates``; a ``Victim`` scores them; a ``Criterion`` turns scores into margins, 0 or
less being a success; ``run_attack`` pools the candidates of many images into batches and keeps the books.

    victim = ClassifierVictim(network, mean, std, size=(224, 224))
    criterion = DominantEmotionFlip(predictions)
    outcomes = run_attack(victim, criterion, DifferentialEvolution(), images, ids, pixels=1, budget=400)
"""

from mmer_core.attacks.attack import Attack, Search
from mmer_core.attacks.candidates import (
    Candidates,
    Pixel,
    apply,
    changed_pixels,
    list_changes,
    write_changes,
)
from mmer_core.attacks.criteria import (
    AllOf,
    AnyOf,
    ComposableCriterion,
    Criterion,
    DominantEmotionFlip,
    RankDrop,
)
from mmer_core.attacks.curves import success_by_queries, success_curves
from mmer_core.attacks.differential_evolution import DifferentialEvolution
from mmer_core.attacks.engine import run_attack
from mmer_core.attacks.outcomes import Outcome, outcomes_table, read_outcomes, write_outcomes
from mmer_core.attacks.random_pixels import RandomPixels
from mmer_core.attacks.victims import ClassifierVictim, EncodedVictim, ImageEncoder, Victim

__all__ = [
    "AllOf",
    "AnyOf",
    "Attack",
    "Candidates",
    "ClassifierVictim",
    "ComposableCriterion",
    "Criterion",
    "DifferentialEvolution",
    "DominantEmotionFlip",
    "EncodedVictim",
    "ImageEncoder",
    "Outcome",
    "Pixel",
    "RandomPixels",
    "RankDrop",
    "Search",
    "Victim",
    "apply",
    "changed_pixels",
    "list_changes",
    "outcomes_table",
    "read_outcomes",
    "run_attack",
    "success_by_queries",
    "success_curves",
    "write_changes",
    "write_outcomes",
]
