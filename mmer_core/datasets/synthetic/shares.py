"""How a miniature dataset is split and seeded; the same for both layouts."""

import numpy as np

from mmer_core.datasets.synthetic.draw import Drawing, render
from mmer_core.datasets.synthetic.scene import Scene, sample_scene
from mmer_core.datasets.synthetic_config import SyntheticConfig


def split_sizes(config: SyntheticConfig) -> dict[str, int]:
    """Photos by split: 70/10/20 %."""
    val, test = config.images // 10, config.images // 5
    return {"train": config.images - val - test, "val": val, "test": test}


def generator(config: SyntheticConfig, purpose: str, number: int = 0) -> np.random.Generator:
    """A generator for one photo or one purpose, independent of what was drawn before."""
    return np.random.default_rng([config.seed, number, *purpose.encode()])


def draw_photo(rng: np.random.Generator) -> tuple[Scene, Drawing]:
    """A scene and its picture."""
    scene = sample_scene(rng)
    return scene, render(scene, rng)
