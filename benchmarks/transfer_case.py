"""A minimal transfer-learning case on drawn photos, in which the effect of one poison is known from the literature.

Shafahi et al. 2018 (https://arxiv.org/abs/1804.00792, section 3) train the last layer of a frozen network to
distinguish two kinds of photos, add one feature-collision poison, and observe that it flips its target in every trial.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from mmer_core.datasets.synthetic.draw import render
from mmer_core.datasets.synthetic.scene import sample_scene
from mmer_core.encoders.base import ImageEncoder
from mmer_core.encoders.packaged import load_image
from mmer_core.poisoning.attack import Crafted, CraftedAttack
from mmer_core.poisoning.detectors.deep_knn import deep_knn

PLACES = ("forest", "street")
"""The two classes, defined by the place of the drawn scene; all other factors vary freely."""

Photos = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TransferCase:
    """Photos ``(n, H, W, 3)`` and classes ``(n,)``: a training set, targets, and a pool of bases."""

    encoder: ImageEncoder
    train: Photos
    train_labels: Integers
    targets: Photos
    target_labels: Integers
    pool: Photos
    pool_labels: Integers


@dataclass(frozen=True, eq=False)
class Trials:
    """The effect of one poison on each target; ``(T,)`` each.

    Attributes:
        right_before: Whether the head trained without the poison classifies the target correctly.
        flipped: Whether the head trained with the poison assigns the poison's label to the target.
        found: Whether deep k-NN flags the poison at the required false-positive rate.
        right_elsewhere: Share of the other targets that the poisoned head classifies correctly.
    """

    right_before: npt.NDArray[np.bool_]
    flipped: npt.NDArray[np.bool_]
    found: npt.NDArray[np.bool_]
    right_elsewhere: Floats
    crafted: Crafted

    @property
    def success(self) -> float:
        """Share of the targets classified correctly before that are flipped."""
        return float(self.flipped[self.right_before].mean())


def draw_case(size: int, train: int, targets: int, seed: int = 0) -> TransferCase:
    """Draw ``train`` photos per class, ``targets`` of alternating class, and a pool of as many bases as training photos."""
    encoder = load_image("efficientnet_lite0", size)
    rng = np.random.default_rng(seed)
    train_labels, pool_labels, target_labels = (
        np.arange(2 * train) % 2,
        np.arange(2 * train) % 2,
        np.arange(targets) % 2,
    )
    return TransferCase(
        encoder,
        _photos(encoder, train_labels, rng),
        train_labels,
        _photos(encoder, target_labels, rng),
        target_labels,
        _photos(encoder, pool_labels, rng),
        pool_labels,
    )


def run_trials(
    case: TransferCase,
    attack: CraftedAttack,
    *,
    batch_size: int = 32,
    false_positives: float = 0.05,
    k: int = 10,
) -> Trials:
    """One poison per target, made from the nearest base of the other class; it alone is added to the training set."""
    features, targets, pool = (
        case.encoder.encode(photos).numpy().astype(np.float64)
        for photos in (case.train, case.targets, case.pool)
    )
    bases = _nearest_of_other_class(targets, case.target_labels, pool, case.pool_labels)
    ids = [f"target {number}" for number in range(len(targets))]
    crafted = attack.craft([case.encoder], case.pool[bases], case.targets, ids, batch_size=batch_size)
    poisons = case.encoder.encode(crafted.images).numpy().astype(np.float64)
    right_before = _head(features, case.train_labels).predict(targets) == case.target_labels
    flipped, found, elsewhere = [], [], []
    for number, poison in enumerate(poisons):
        label = case.pool_labels[bases[number]]
        poisoned, labels = np.vstack([features, poison]), np.append(case.train_labels, label)
        read = _head(poisoned, labels).predict(targets)
        flipped.append(read[number] == label)
        elsewhere.append((np.delete(read, number) == np.delete(case.target_labels, number)).mean())
        scores = deep_knn(poisoned, labels, k)
        found.append((scores[:-1] >= scores[-1]).mean() <= false_positives)
    return Trials(right_before, np.array(flipped), np.array(found), np.array(elsewhere), crafted)


def _head(features: Floats, labels: Integers) -> LogisticRegression:
    """The last layer, trained to convergence; weak decay, because the paper has none."""
    return LogisticRegression(C=100.0, max_iter=2000).fit(features, labels)


def _nearest_of_other_class(
    targets: Floats, target_labels: Integers, pool: Floats, pool_labels: Integers
) -> Integers:
    distance = np.linalg.norm(targets[:, None] - pool, axis=2)  # (T, pool)
    distance[target_labels[:, None] == pool_labels] = np.inf
    return distance.argmin(axis=1)


def _photos(encoder: ImageEncoder, labels: Integers, rng: np.random.Generator) -> Photos:
    return np.concatenate([_photo(encoder, PLACES[label], rng) for label in labels])


def _photo(encoder: ImageEncoder, place: str, rng: np.random.Generator) -> Photos:
    drawn = render(replace(sample_scene(rng), place=place), rng)
    return encoder.resize(np.asarray(drawn.image.convert("RGB"))[None])
