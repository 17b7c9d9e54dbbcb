"""What the benchmarks of attacks attack: the classifier of `benchmarks.attack`, its photos, and its labels for them."""

import time

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.attack import MEAN, SIZE, STD, classifier, photos
from benchmarks.attack_peers import CountedClassifier
from mmer_core.attacks import (
    Attack,
    ClassifierVictim,
    DominantEmotionFlip,
    Outcome,
    run_attack,
    write_changes,
)


class AttackedPhotos:
    """A victim and its images.

    Attributes:
        plain: The classifier in PyTorch, for pixels in 0..1.
        images: ``(n, H, W, 3)`` uint8.
        labels: ``(n,)`` int, what the plain classifier reads in each.
    """

    def __init__(self, count: int, size: tuple[int, int] = SIZE) -> None:
        module = classifier()
        self._victim = ClassifierVictim(module, MEAN, STD, size)
        self.plain = CountedClassifier(module, torch.tensor(MEAN), torch.tensor(STD)).eval()
        self.images = photos(count, size)
        self.labels = self.read(self.images)

    def attack(
        self, attack: Attack, rows: slice, pixels: int, budget: int
    ) -> tuple[list[Outcome], np.ndarray, float]:
        """Outcomes, attacked images ``(n, H, W, 3)`` uint8, and CPU seconds, which exclude planning."""
        self._victim.planner.plan(pixels)
        images, criterion = self.images[rows], DominantEmotionFlip(self.labels[rows])
        ids = [str(row) for row in range(len(self.images))[rows]]
        start = time.process_time()
        outcomes = run_attack(self._victim, criterion, attack, images, ids, pixels=pixels, budget=budget)
        seconds = time.process_time() - start
        made = [write_changes(image, one.changed) for image, one in zip(images, outcomes, strict=True)]
        return outcomes, np.stack(made), seconds

    def fooled(
        self, attack: Attack, rows: slice, pixels: int, budget: int
    ) -> tuple[npt.NDArray[np.bool_], float]:
        """Whether each image was fooled, and CPU seconds; see `attack`."""
        outcomes, _, seconds = self.attack(attack, rows, pixels, budget)
        return np.array([one.status == "fooled" for one in outcomes]), seconds

    def read(self, images: np.ndarray) -> np.ndarray:
        """The plain classifier's label for each image, with batch size 1."""
        with torch.inference_mode():
            tensors = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2) / 255
            return np.array([int(self.plain(one).argmax()) for one in tensors.split(1)])
