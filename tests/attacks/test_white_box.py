"""White-box attacks on a network, through every criterion."""

import numpy as np
import pytest
import torch
from support.attack_table import ROWS
from support.attack_toys import small_network

from mmer_core.attacks import (
    CategoryAppears,
    CategorySuppressed,
    DominantEmotionBecomes,
    DominantEmotionFlip,
    ImageRankDrop,
    ImageRankRise,
    LabelsChange,
    RankDrop,
    RankRise,
    RatingShift,
    TopEmotionsChange,
    WhiteBoxAttack,
    run_attack,
    write_changes,
)

ATTACKS = [type(row.attack)() for row in ROWS if isinstance(row.attack, WhiteBoxAttack)]


@pytest.fixture(scope="module")
def case():
    """A victim with six scores, an image, and its scores."""
    victim = small_network(16)
    image = np.random.default_rng(0).integers(90, 160, (16, 16, 3), dtype=np.uint8)
    return victim, image, victim.scores(torch.from_numpy(image[None]), torch.tensor([0]))[0].numpy()


def criteria(scores):
    first, second, *_, last = np.argsort(-scores).tolist()
    below, above = scores - 0.02, scores + 0.02
    return [
        DominantEmotionFlip([first]),
        DominantEmotionBecomes([second]),
        TopEmotionsChange([[first, second]]),
        LabelsChange(scores[None] > above, above),
        CategorySuppressed(first, below[first]),
        CategoryAppears(last, above[last]),
        *(RatingShift([scores[2]], 2, 0.01, direction) for direction in ("either", "up", "down")),
        RankDrop([[first]], top=1),
        RankRise([last], top=5),
        ImageRankDrop([[first]], torch.from_numpy(below)),
        ImageRankRise([last], torch.from_numpy(above[[last]])),
    ]


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_every_criterion_can_be_met(attack, case):
    victim, image, scores = case
    for criterion in criteria(scores):
        (outcome,) = run_attack(victim, criterion, attack, image[None], ["a"], pixels=40, budget=100)
        assert outcome.clean_margin > 0
        assert outcome.status == "fooled", criterion
        attacked = torch.from_numpy(write_changes(image, outcome.changed)[None])
        margin = criterion.margin(victim.scores(attacked, torch.tensor([0])), torch.tensor([0]))
        assert float(margin) == outcome.final_margin <= 0
