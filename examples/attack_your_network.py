"""Attack your own torch network: how few pixels change its answer?

    python examples/attack_your_network.py

Any `torch.nn.Module` that maps images to scores can be attacked. This one is a small classifier of drawn pictures: is the
bright disc on the left or on the right?
"""

import numpy as np
import torch
from torch import nn

import mmer_core as mmer

SIDE, MEAN, STD = 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def draw(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pictures ``(count, SIDE, SIDE, 3)`` uint8, and 0 or 1 for a disc on the left or on the right."""
    images = rng.integers(80, 140, (count, SIDE, SIDE, 3), dtype=np.uint8)
    labels = rng.integers(0, 2, count)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for image, label in zip(images, labels, strict=True):
        y, x = rng.integers(6, SIDE - 6), SIDE // 4 + label * SIDE // 2
        image[(rows - y) ** 2 + (columns - x) ** 2 < 6] = rng.integers(130, 180, 3)
    return images, labels


def normalised(images: np.ndarray) -> torch.Tensor:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def train(images: np.ndarray, labels: np.ndarray) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(128, 2)
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(30):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(network(normalised(images)), torch.from_numpy(labels))
        loss.backward()
        optimiser.step()
    return network


def main() -> None:
    rng = np.random.default_rng(0)
    network = train(*draw(200, rng))
    images, labels = draw(10, rng)
    for pixels in (1, 10):  # an attack, beside as many queries without a search
        attacked = mmer.attack(network, images, labels, pixels=pixels, budget=100, mean=MEAN, std=STD)
        for row in attacked.table.itertuples():
            print(
                f"{row.attack:>9}, {row.pixels} changed pixels: {row.fooled:3.0f} % of {row.attacked} pictures "
                f"(95 % interval {row.fooled_low:.0f} to {row.fooled_high:.0f})"
            )


if __name__ == "__main__":
    main()
