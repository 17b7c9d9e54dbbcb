"""The few-pixel attacks of other libraries, each run with a number of queries on one image.

Install them by ``pip install --no-deps adversarial-robustness-toolbox torchattacks``: the versions that torchattacks
pins are too old for everything else, and are not needed here.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

Peer = Callable[[np.ndarray, int, int, int], np.ndarray]
"""``peer(image (H, W, 3) uint8, label, pixels, queries)`` to its adversarial image, ``(H, W, 3)`` float in 0..255; the
number of queries is a target rather than a limit."""

_POPULATION = 100


class CountedClassifier(nn.Module):
    """Pixels in 0..1 to logits; counts the images it evaluates."""

    mean: Tensor
    std: Tensor

    def __init__(self, module: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.module, self.queries = module, 0
        self.register_buffer("mean", mean.view(1, 3, 1, 1))
        self.register_buffer("std", std.view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        self.queries += len(pixels)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        return self.module((pixels - self.mean) / self.std)


def peers(victim: CountedClassifier, classes: int) -> dict[str, Peer]:
    """The attacks by name.

    Raises:
        ImportError: One of the libraries is not installed.
    """
    import torchattacks
    from art.attacks.evasion import PixelAttack
    from art.estimators.classification import PyTorchClassifier

    def tensor(image: np.ndarray) -> Tensor:
        return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255

    def image_of(adversarial: Tensor) -> np.ndarray:
        return 255 * adversarial[0].permute(1, 2, 0).numpy()

    def pixel_attack(image: np.ndarray, label: int, pixels: int, queries: int) -> np.ndarray:
        shape = (3, *image.shape[:2])
        classifier = PyTorchClassifier(
            _On255(victim), nn.CrossEntropyLoss(), shape, classes, clip_values=(0, 255)
        )
        generations = max(0, queries // 400 - 1)  # after a first population of about 400, whatever K
        attack = PixelAttack(classifier, th=pixels, es=1, max_iter=generations)
        found = attack.generate(image.transpose(2, 0, 1)[None].astype(np.float32), np.array([label]))
        return found[0].transpose(1, 2, 0)

    def one_pixel(image: np.ndarray, label: int, pixels: int, queries: int) -> np.ndarray:
        generations = max(1, queries // _POPULATION - 1)
        attack = torchattacks.OnePixel(victim, pixels=pixels, steps=generations, popsize=_POPULATION)
        return image_of(attack(tensor(image), torch.tensor([label])))

    def pixle(image: np.ndarray, label: int, pixels: int, queries: int) -> np.ndarray:
        height = next(side for side in range(int(pixels**0.5), 0, -1) if pixels % side == 0)
        attack = torchattacks.Pixle(
            victim,
            x_dimensions=pixels // height,
            y_dimensions=height,
            restarts=max(1, queries // 10),
            max_iterations=10,
        )
        return image_of(attack(tensor(image), torch.tensor([label])))

    return {"ART PixelAttack": pixel_attack, "torchattacks OnePixel": one_pixel, "torchattacks Pixle": pixle}


class _On255(nn.Module):
    """The victim for pixels in 0..255, as PixelAttack outputs them."""

    def __init__(self, victim: nn.Module) -> None:
        super().__init__()
        self.victim = victim

    def forward(self, pixels: Tensor) -> Tensor:
        return self.victim(pixels / 255)
