"""The control of wrong labels or captions without a trigger."""

from mmer_core.poisoning.plans import Mode, PoisonPlan, caption_shuffle, label_flip
from mmer_core.poisoning.poison import PoisonControl, TrainingSet


class Shuffle(PoisonControl):
    """Labels that samples do not carry, or texts of other samples."""

    name = "shuffle"
    summary = "flipped labels, or captions of other images, without a trigger"

    def plan(self, train: TrainingSet, count: int, mode: Mode, seed: int) -> PoisonPlan:
        if train.column is not None:
            return label_flip(train.labels, count, mode=mode, seed=seed)
        return caption_shuffle(train.texts, count, mode=mode, seed=seed)
