"""The compiled pull, against autograd."""

import importlib.util

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.poison_toys import names, photos
from test_pulling import Mean, bent_encoder, order, slow_pull
from torch import nn

from mmer_core import runtimes
from mmer_core.encoders import ImageEncoder
from mmer_core.encoders.base import Preprocessing
from mmer_core.encoders.packaged import load_image
from mmer_core.poisoning import FeatureCollision, pulling
from mmer_core.poisoning.networks.pull_graph import pull_graph
from mmer_core.tracing import tracing


@pytest.fixture
def always(monkeypatch):
    """Batches as small as a test's are compiled too."""
    pytest.importorskip("openvino")
    monkeypatch.setattr(pulling, "_WORTH", 0)


def assert_close(found, expected, tolerance: float = 1e-5) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert float((one - other).abs().max()) <= tolerance * float(other.abs().max())


@settings(max_examples=12, deadline=None)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 4]),
    side=st.integers(9, 12),
)
def test_the_graph_is_the_gradient_of_any_convolution(kernel, stride, padding, dilation, groups, side):
    torch.manual_seed(0)
    bent = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), bent, nn.Hardtanh(-0.5, 0.7), nn.Conv2d(8, 5, 1), Mean())
    encoder = ImageEncoder("any", network, Preprocessing(side, (127.0,) * 3, (50.0,) * 3), 5)
    pixels = 255 * torch.rand(3, 3, side, side)
    given_ = pixels, torch.rand(3, 3), torch.randn(3, 5)
    with tracing():
        graph = pull_graph(encoder, *given_)
    left = [n for n in graph.graph.nodes if "backward" in str(n.target)]
    assert not left  # all of it in forward operations
    assert_close(graph(*given_), slow_pull(encoder, *given_))


def test_openvino_pulls_as_autograd_does(always):
    encoder = bent_encoder()
    assert pulling.pull_runtime(encoder, order()[0]) == "OpenVINO crafts"
    assert_close(pulling.pull(encoder, *order()), slow_pull(encoder, *order()))


@pytest.mark.long
def test_the_packaged_encoder_with_a_full_and_a_remaining_batch():
    pytest.importorskip("openvino")
    encoder = load_image("efficientnet_lite0", 64)
    stream = torch.Generator().manual_seed(2)
    for count in (5, 4):
        # Channels last, as crafting holds them.
        pixels = (255 * torch.rand(count, 64, 64, 3, generator=stream)).permute(0, 3, 1, 2)
        rest = torch.rand(count, count, generator=stream), torch.randn(count, 1280, generator=stream)
        assert pulling.pull_runtime(encoder, pixels) == "OpenVINO crafts"
        assert_close(pulling.pull(encoder, pixels, *rest), slow_pull(encoder, pixels, *rest))


def test_batch_sizes_change_poisons_by_rounding_only(always):
    bases, targets = photos(5, 1), photos(5, 2)
    encoder = bent_encoder()
    crafted = [
        FeatureCollision(iterations=5).craft([encoder], bases, targets, names(5), batch_size=size)
        for size in (5, 2)
    ]
    gap = crafted[0].images.astype(int) - crafted[1].images
    assert abs(gap).max() <= 1
    assert crafted[0].runtime == "OpenVINO crafts"


class Unknown(nn.Module):
    """An operation whose gradient no runtime knows."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.cummax(maps, dim=3).values.mean(dim=3).flatten(1)


def test_pytorch_pulls_what_openvino_does_not_know(always):
    encoder = ImageEncoder("unknown", Unknown(), Preprocessing(12, (127.0,) * 3, (50.0,) * 3), 36)
    pixels = order()[0]
    given_ = pixels, torch.rand(5, 5), torch.randn(5, 36)
    assert "PyTorch crafts, because OpenVINO cannot run" in pulling.pull_runtime(encoder, pixels)
    assert_close(pulling.pull(encoder, *given_), slow_pull(encoder, *given_))


def test_pytorch_pulls_where_openvino_is_not_installed(monkeypatch):
    monkeypatch.setattr(pulling, "_WORTH", 0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    encoder = bent_encoder()
    assert "pip install 'mmer[fast]'" in pulling.pull_runtime(encoder, order()[0])
    assert_close(pulling.pull(encoder, *order()), slow_pull(encoder, *order()))


def test_a_graph_that_gives_something_else_is_not_trusted(always, monkeypatch):
    def wrong(graph, example):
        return lambda *given: [1.01 * output for output in graph(*given)]

    monkeypatch.setattr(runtimes, "_openvino_graph", wrong)
    assert "differs from PyTorch by 1.0e-02" in pulling.pull_runtime(bent_encoder(), order()[0])
