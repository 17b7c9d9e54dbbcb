"""What in a network is the same for all images, and what is left as it was by looking for it."""

import builtins
import pickle

import pytest
import torch
from torch import nn

from mmer_core.incremental.constants import Constants
from mmer_core.incremental.layers import IsNotLocal
from mmer_core.incremental.sizes import settle_sizes
from mmer_core.incremental.tracer import traced

EXAMPLE = torch.rand(1, 3, 4, 6)


class Beside(nn.Module):
    """The images, and something made without them."""

    def __init__(self, made) -> None:
        super().__init__()
        self.made = made
        self.register_buffer("table", torch.arange(6.0))

    def forward(self, x):
        return x * self.made(self, x)


def beside(made) -> tuple[Constants, torch.fx.Node]:
    """The constants of such a network, and the node of what it makes."""
    graph = traced(Beside(made).eval(), EXAMPLE)
    settle_sizes(graph, EXAMPLE)
    product = next(iter(reversed(graph.graph.nodes))).args[0]
    return Constants(graph), product.args[1]


def test_of_a_tensor_with_a_row_for_each_image_one_is_the_constant():
    constants, node = beside(lambda self, x: self.table.expand(len(x), 3, 4, -1))
    assert torch.equal(constants.value(node), torch.arange(6.0).expand(1, 3, 4, 6))


def test_what_is_written_into_what_was_made_counts_and_the_buffer_stays():
    constants, node = beside(lambda self, x: (self.table.repeat(x.shape[2], 1) + 1).div_(2).sub_(1))
    for _ in range(2):
        assert torch.equal(constants.value(node), ((torch.arange(6.0) + 1) / 2 - 1).repeat(4, 1))
    assert torch.equal(constants._graph.table, torch.arange(6.0))


def test_looking_writes_into_no_buffer():
    constants, node = beside(lambda self, x: self.table.view(1, -1).add_(1))
    before = constants._graph.table.clone()
    constants.value(node)
    assert torch.equal(constants._graph.table, before)


def written_after_it_was_read(self, x):
    table = self.table + 1
    tripled = 3 * table
    return tripled + table.mul_(2)


@pytest.mark.parametrize("made", [lambda self, x: self.table.mul_(2), written_after_it_was_read])
def test_what_is_written_into_a_buffer_or_into_what_others_read_is_none(made):
    constants, node = beside(made)
    assert node not in constants


@pytest.mark.parametrize(
    "made",
    [
        lambda self, x: torch.full((1, 1, 1, 1), x.shape[0]),
        lambda self, x: torch.arange(x.shape[0] * 6.0).view(len(x), 1, 1, 6),
    ],
)
def test_what_differs_between_batches_or_their_rows_is_none(made):
    constants, node = beside(made)
    with pytest.raises(IsNotLocal, match="depends on the size of the batch"):
        constants.value(node)


def test_what_is_made_of_the_images_is_none():
    constants, node = beside(lambda self, x: x.mean((2, 3), keepdim=True))
    assert node not in constants
    with pytest.raises(IsNotLocal, match="computed where a constant is needed"):
        constants.value(node)


def test_functions_that_are_followed_are_as_before_afterwards_and_are_pickled_meanwhile():
    before = builtins.len, torch.zeros, torch.arange
    pickled = []

    def failing(self, x):
        pickled.append(pickle.loads(pickle.dumps(len)))
        raise KeyError("as networks may")

    with pytest.raises(KeyError):
        traced(Beside(failing), EXAMPLE)
    assert (builtins.len, torch.zeros, torch.arange) == before
    assert pickled[0]("ab") == 2
