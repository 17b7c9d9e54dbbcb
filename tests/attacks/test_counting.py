"""Random numbers by counting, against Python's integers and against chance."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from mmer_core.attacks.counting import Draws, key_of, mix

WRAP = 2**64
STEP = 0x9E3779B97F4A7C15


def slowly(state: int) -> int:
    """SplitMix64 as its authors write it, in unsigned integers."""
    z = (state + STEP) % WRAP
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % WRAP
    z = (z ^ z >> 27) * 0x94D049BB133111EB % WRAP
    return z ^ z >> 31


def test_the_hash_is_splitmix64():
    assert [slowly(STEP * number) for number in range(2)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    states = [0, 1, -1, 2**63 - 1, -(2**63), 123456789, -987654321]
    assert [value % WRAP for value in mix(torch.tensor(states)).tolist()] == [
        slowly(s % WRAP) for s in states
    ]


def test_every_number_is_a_hash_of_key_query_call_and_place():
    keys, queries = [key_of(3, "attack", 5, f"sample {n}") for n in range(3)], range(7, 11)
    draws = Draws(torch.tensor(keys), queries[0], len(queries))
    for call in range(4):
        found = draws.bits(5)
        for (n, key), (q, query), lane in itertools.product(enumerate(keys), enumerate(queries), range(5)):
            base = slowly((slowly((key + query * STEP) % WRAP) + call * STEP) % WRAP)
            assert int(found[n, q, lane]) == slowly((base + lane * STEP) % WRAP) >> 32


@pytest.mark.parametrize(("count", "high"), [(3, 5), (4, 4), (600, 601)])
def test_draws_without_replacement_are_even_and_in_random_order(count, high):
    """The second draw given the first, and the whole order where there are few."""
    draws = Draws(torch.arange(20_000 if count < 10 else 300), 0, 1)
    found = draws.distinct(count, torch.full((20_000 if count < 10 else 300,), high))[:, 0].numpy()
    assert (np.sort(found, axis=1)[:, 1:] > np.sort(found, axis=1)[:, :-1]).all()
    assert found.min() >= 0
    assert found.max() < high
    for column in (0, 1, count - 1):
        assert stats.chisquare(np.bincount(found[:, column], minlength=high)).pvalue > 1e-3
    if count < 10:
        orders = np.unique(found @ high ** np.arange(count), return_counts=True)[1]
        assert len(orders) == math.perm(high, count)
        assert stats.chisquare(orders).pvalue > 1e-3


def test_draws_without_replacement_depend_on_no_other_image():
    highs = torch.tensor([9, 40, 700])
    for count in (4, 600):
        together = Draws(torch.tensor([5, 6, 7]), 0, 2).distinct(count, highs)
        for row in range(3):
            alone = Draws(torch.tensor([[5, 6, 7][row]]), 0, 2).distinct(count, highs[row : row + 1])
            real = min(count, int(highs[row]))
            assert torch.equal(together[row, :, :real], alone[0, :, :real])
