"""Sparse-RS on a victim that scores exchanges on the maps of the set in use, beside the same without."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.incremental_helpers import network

from mmer_core.attacks import ClassifierVictim, DominantEmotionFlip, SparseRS, run_attack
from mmer_core.incremental.planning import Planner

MEAN, STD = (0.5,) * 3, (0.25,) * 3
SIZE = (40, 32)


class WithoutExchanges(ClassifierVictim):
    """Scores every candidate by all of its pixels."""

    def candidate_scores(self, images, rows, candidates):
        assert candidates.exchange is not None
        return super().candidate_scores(images, rows, replace(candidates, exchange=None))


def outcomes(kind: type[ClassifierVictim], pixels: int, shards: int = 1):
    images = np.random.default_rng(0).integers(0, 256, (6, *SIZE, 3), dtype=np.uint8)
    victim = kind(network(), MEAN, STD, SIZE, method="incremental", runtime="torch")
    clean = victim.scores(torch.from_numpy(images), torch.arange(6)).argmax(dim=1)
    found = []
    for part in np.array_split(np.arange(6), shards):
        criterion = DominantEmotionFlip(clean[part])
        ids = [str(number) for number in part]
        found += run_attack(victim, criterion, SparseRS(), images[part], ids, pixels=pixels, budget=80)
    return found


@pytest.mark.parametrize("pixels", [3, 20])
def test_a_search_takes_the_same_way(pixels):
    together, apart = outcomes(ClassifierVictim, pixels), outcomes(WithoutExchanges, pixels)
    for mine, other in zip(together, apart, strict=True):
        assert mine.final_margin == pytest.approx(other.final_margin, rel=1e-4, abs=1e-5)
        assert (mine.queries, mine.status, mine.changed) == (other.queries, other.status, other.changed)
    assert any(one.queries > 20 for one in together)


@pytest.mark.parametrize(("pixels", "planned"), [(1, (1, False)), (20, (2, True))])
def test_only_what_is_scored_is_planned(monkeypatch, pixels, planned):
    """Planning takes seconds: candidates of 20 pixels that exchange one are planned as such, and not as 20 pixels too."""
    asked, plan = set(), Planner.plan

    def asking(self, pixels, converted=None, *, with_windows=False):
        asked.add((pixels, with_windows))
        return plan(self, pixels, converted, with_windows=with_windows)

    monkeypatch.setattr(Planner, "plan", asking)
    outcomes(ClassifierVictim, pixels)
    assert asked == {planned}


def test_shards_change_nothing():
    assert outcomes(ClassifierVictim, 12, shards=3) == outcomes(ClassifierVictim, 12)


def test_one_pixel_is_no_exchange():
    """Both the pixel that leaves and the one that enters would change: twice as many as against the image."""
    with pytest.raises(AssertionError):
        outcomes(WithoutExchanges, 1)
