"""Data poisoning: what changes in a model when somebody else wrote a part of its training set.

A ``CraftedAttack`` crafts images that look like one thing and are another to an encoder; a ``Trigger`` marks images; a
``PoisonPlan`` says which rows of a training set are poisoned, and how; `mmer_core.poisoning.detectors` look for them.

    crafted = FeatureCollision().craft([encoder], bases, targets, ids)
    plan = caption_swap(texts, texts_with(texts, "snow"), count=60, held_out=rows)
    images = PixelTrigger().apply(images[plan.rows])
"""

from mmer_core.poisoning.attack import Crafted, CraftedAttack, PoisonRecord
from mmer_core.poisoning.collision import FeatureCollision
from mmer_core.poisoning.plans import (
    PoisonPlan,
    caption_shuffle,
    caption_swap,
    clean_label,
    dirty_label,
    label_flip,
    texts_with,
    trigger_only,
)
from mmer_core.poisoning.poison import PoisonAttack, PoisonControl, TrainingSet
from mmer_core.poisoning.polytope import BullseyePolytope
from mmer_core.poisoning.registry import CONTROLS, DETECTORS, POISON_ATTACKS, TRIGGERS, is_crafted
from mmer_core.poisoning.triggers import PatchTrigger, PixelTrigger, Trigger
from mmer_core.poisoning.visibility import Visibility, structural_similarity, visibility

__all__ = [
    "CONTROLS",
    "DETECTORS",
    "POISON_ATTACKS",
    "TRIGGERS",
    "BullseyePolytope",
    "Crafted",
    "CraftedAttack",
    "FeatureCollision",
    "PatchTrigger",
    "PixelTrigger",
    "PoisonAttack",
    "PoisonControl",
    "PoisonPlan",
    "PoisonRecord",
    "TrainingSet",
    "Trigger",
    "Visibility",
    "caption_shuffle",
    "caption_swap",
    "clean_label",
    "dirty_label",
    "is_crafted",
    "label_flip",
    "structural_similarity",
    "texts_with",
    "trigger_only",
    "visibility",
]
