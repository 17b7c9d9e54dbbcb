"""Maps as networks hold them, and as windows."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from mmer_core.incremental.arrangements import Arrangement, arrangements, first, inside


@st.composite
def arranged(draw) -> Arrangement:
    channels = tuple(draw(st.lists(st.integers(1, 3), max_size=3)))
    across = draw(st.integers(1, 2))
    kept = draw(st.permutations(range(1 + across + len(channels))))[: 1 + across]
    return Arrangement(tuple(kept), channels, (4, 5))


@given(arranged())
def test_each_number_is_where_its_dimensions_say(arrangement):
    channels = int(torch.tensor(arrangement.channels).prod())
    maps = torch.rand(2, channels, 4, 5)
    found = arrangement.of(maps)
    assert found.ndim == arrangement.dims
    assert arrangement.fits(arrangement.of_shape(found.shape))
    assert [found.shape[dim] for dim in arrangement.positions] == list(arrangement.positions.values())
    assert torch.equal(arrangement.back(found), maps)
    by_hand = found.movedim(arrangement.kept, (0, *range(-len(arrangement.positions), 0)))
    assert torch.equal(by_hand.flatten(), maps.flatten())
    assert arrangement in [*arrangements(found.shape, maps.shape)]
    window = maps[..., 1:3, 2:3]
    assert torch.equal(arrangement.back(arrangement.of(window), (2, 1)), window)


def test_a_function_of_tokens_as_one_of_windows():
    maps, tokens = torch.rand(2, 6, 4, 5), Arrangement((0, 1), (6,), (4, 5))
    mixed = inside(
        lambda one, other: one @ torch.ones(6, 3) + other.sum(2)[..., None], [tokens, tokens], tokens
    )
    expected = maps.sum(1, keepdim=True).expand(-1, 3, -1, -1) * 2
    assert torch.allclose(mixed(maps, maps), expected)
    assert torch.allclose(mixed(maps[..., :2], maps[..., :2]), expected[..., :2])
    assert inside(torch.add, [first(maps.shape)] * 2, first(maps.shape)) is torch.add
