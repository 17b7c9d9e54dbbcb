"""First-order estimates against dense activations and autograd, and against the truth where they are exact."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.incremental_helpers import CPU, network, normalise, plain
from support.random_networks import networks
from torch import Tensor, fx, nn

from mmer_core.encoders.networks.mirror import MirrorAverage
from mmer_core.errors import AttackError
from mmer_core.incremental.first_order import FirstOrder
from mmer_core.incremental.lowering import lower
from mmer_core.incremental.planning import Planner


def one_pixel_changes(size: tuple[int, int], count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """An image, and pixels with their colours; the four corners are among them."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    pixels = rng.integers(0, size, (count, 2))
    bottom, right = size[0] - 1, size[1] - 1
    pixels[:4] = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    colours = rng.integers(0, 256, (count, 3), dtype=np.uint8)
    return torch.from_numpy(image), torch.from_numpy(pixels), torch.from_numpy(colours)


def changed(image: Tensor, pixels: Tensor, colours: Tensor) -> Tensor:
    images = image.repeat(len(pixels), 1, 1, 1)
    images[torch.arange(len(pixels)), pixels[:, 0], pixels[:, 1]] = colours
    return images


def read(image: Tensor) -> Tensor:
    return normalise(image.permute(0, 3, 1, 2).float())


def value(features: Tensor) -> Tensor:
    return features[:, 1] - features[:, [0, 2, 3, 4]].amax(dim=1)


class UpTo(fx.Interpreter):
    """What a traced network holds at one of its nodes."""

    def __init__(self, graph: fx.GraphModule, name: str) -> None:
        super().__init__(graph)
        self.name, self.found = name, torch.empty(0)

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if n.name == self.name:
            self.found = result.clone()  # what follows may work in place
        return result


@settings(max_examples=40)
@given(drawn=networks(), seed=st.integers(0, 1000))
def test_estimates_are_the_dense_activations_times_the_gradient(drawn, seed):
    module, size = drawn
    planner = Planner(module, normalise, size, CPU, method="incremental", runtime="torch")
    assume(planner.cuts)
    cut = planner._early_cut()
    if cut is None or planner.split.late is planner.module:
        cut = planner._program.source
    image, pixels, colours = one_pixel_changes(size, 10, seed)
    activations = UpTo(lower(module, planner.input(image[None])).graph, cut)
    with torch.no_grad():
        activations.run(read(image[None]))
        clean = activations.found
        activations.run(read(changed(image, pixels, colours)))
    leaf = clean.clone().requires_grad_()
    at_image = value(planner.split.late(leaf.clone()))
    try:
        (slope,) = torch.autograd.grad(at_image.sum(), leaf)
    except RuntimeError:  # a sum in place on the output of a ReLU, for example
        with pytest.raises(AttackError, match="no gradient"):
            FirstOrder(planner)(image, pixels, colours, value)
        return
    found = FirstOrder(planner)(image, pixels, colours, value)
    expected = at_image.detach() + ((activations.found - clean) * slope).sum(dim=(1, 2, 3))
    scale = float(expected.abs().max().clamp(min=1))
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * scale)


def test_what_is_linear_behind_the_early_layers_is_exact():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(4, 4, 3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5),
    ).eval()  # fmt: skip
    planner = Planner(module, normalise, (160, 120), CPU, runtime="torch")
    image, pixels, colours = one_pixel_changes((160, 120), 300, 1)
    assert planner._early_cut() not in (None, "_0"), "the ReLU must be among the early layers"
    found = FirstOrder(planner)(image, pixels, colours, lambda features: 1e4 * features[:, 2])
    truth = 1e4 * plain(module, changed(image, pixels, colours))[:, 2]
    assert torch.allclose(found, truth, rtol=0, atol=5e-3)
    assert found.std() > 5e-2


class Sign(torch.autograd.Function):
    """A straight-through estimator: the sign, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: object, maps: Tensor) -> Tensor:
        return maps.sign()

    @staticmethod
    def backward(ctx: object, slope: Tensor) -> Tensor:
        return slope


class Binary(nn.Module):
    """Two convolutions, the second of which reads signs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.second(Sign.apply(self.first(images)))
        return self.head(torch.relu(maps).mean(dim=(2, 3)))


def test_gradients_that_a_network_defines_itself_are_used():
    torch.manual_seed(0)
    module = Binary().eval()
    planner = Planner(module, normalise, (160, 120), CPU, runtime="torch")
    image, pixels, colours = one_pixel_changes((160, 120), 50, 4)
    assert planner._early_cut() is not None, "the signs must be behind a cut"
    found = FirstOrder(planner)(image, pixels, colours, value)
    leaf = read(image[None]).requires_grad_()
    at_image = value(module(leaf))
    (slope,) = torch.autograd.grad(at_image.sum(), leaf)
    difference = read(changed(image, pixels, colours)) - leaf.detach()
    assert slope.norm() > 0
    assert torch.allclose(found, at_image.detach() + (difference * slope).sum(dim=(1, 2, 3)), atol=1e-5)


def test_without_a_local_layer_it_is_the_gradient_of_the_pixels():
    torch.manual_seed(0)
    module = nn.Sequential(nn.GroupNorm(1, 3), nn.Flatten(), nn.Linear(3 * 12 * 9, 5), nn.Tanh()).eval()
    planner = Planner(module, normalise, (12, 9), CPU, runtime="torch")
    image, pixels, colours = one_pixel_changes((12, 9), 20, 2)
    found = FirstOrder(planner)(image, pixels, colours, value)
    leaf = read(image[None]).requires_grad_()
    at_image = value(module(leaf))
    (slope,) = torch.autograd.grad(at_image.sum(), leaf)
    difference = read(changed(image, pixels, colours)) - leaf.detach()
    assert torch.allclose(found, at_image.detach() + (difference * slope).sum(dim=(1, 2, 3)), atol=1e-5)


def test_both_views_of_a_mirrored_encoder_count():
    module, size = network(), (40, 32)
    planner = Planner(module, normalise, size, CPU, runtime="torch")
    image, pixels, colours = one_pixel_changes(size, 10, 3)
    found = FirstOrder(planner, mirrored=True)(image, pixels, colours, lambda features: features[:, 0])
    views = (
        FirstOrder(planner)(image, pixels, colours, lambda features: features[:, 0]),
        FirstOrder(planner)(
            image.flip(1),
            torch.stack([pixels[:, 0], size[1] - 1 - pixels[:, 1]], dim=1),
            colours,
            lambda features: features[:, 0],
        ),
    )
    assert torch.allclose(found, (views[0] + views[1]) / 2, atol=1e-5)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_gradient_by_pixels_is_that_of_the_plain_network(mirrored):
    module = network()
    planner = Planner(module, normalise, (40, 32), CPU, runtime="torch")
    pixels = torch.rand(40, 32, 3, generator=torch.Generator().manual_seed(5)) * 255
    found, slope = FirstOrder(planner, mirrored).gradient(pixels, value)
    leaf = pixels[None].clone().requires_grad_()
    whole = MirrorAverage(module) if mirrored else module
    expected = value(whole(read(leaf)))
    (gradient,) = torch.autograd.grad(expected.sum(), leaf)
    assert torch.allclose(found, expected.detach(), atol=1e-5)
    assert torch.allclose(slope, gradient[0], atol=1e-4 * float(gradient.abs().max()))
