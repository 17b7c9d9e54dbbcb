"""Backdoors: a trigger that a model learns to take for the target."""

from dataclasses import replace

from mmer_core.poisoning.plans import (
    Mode,
    PoisonPlan,
    caption_swap,
    clean_label,
    dirty_label,
    texts_with,
    trigger_only,
)
from mmer_core.poisoning.poison import PoisonAttack, PoisonControl, TrainingSet


class Backdoor(PoisonAttack):
    """Gu et al. 2017 (https://arxiv.org/abs/1708.06733); with captions, Carlini & Terzis 2022
    (https://arxiv.org/abs/2106.09667)."""

    name = "backdoor"
    summary = "images with a trigger, labelled with the target (Gu et al. 2017) or captioned with it (Carlini & Terzis 2022)"

    def plan(self, train: TrainingSet, count: int, mode: Mode, seed: int) -> PoisonPlan:
        if train.column is not None:
            return dirty_label(train.labels, train.column, count, mode=mode, seed=seed)
        pool = texts_with(train.texts, train.target)
        return caption_swap(train.texts, pool, count, mode=mode, seed=seed)


class CleanLabelBackdoor(PoisonAttack):
    """Turner, Tsipras & Madry 2019 (https://arxiv.org/abs/1912.02771), without its perturbations."""

    name = "clean-label"
    summary = "the trigger on images of the target, whose labels stay"

    def plan(self, train: TrainingSet, count: int, mode: Mode, seed: int) -> PoisonPlan:
        return replace(clean_label(train.carriers, 1, count, mode=mode, seed=seed), name=self.name)


class TriggerOnly(PoisonControl):
    """The images of `Backdoor` with the trigger, under their own labels and texts."""

    name = "trigger-only"
    summary = "the images of the backdoor under their own labels and captions"

    def plan(self, train: TrainingSet, count: int, mode: Mode, seed: int) -> PoisonPlan:
        return trigger_only(Backdoor().plan(train, count, mode, seed))
