"""Incremental evaluation gives what the network itself gives, for whatever is changed wherever."""

import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.incremental_helpers import CPU, draw_candidates, normalise, plain
from support.random_networks import networks
from torch import nn

from mmer_core.attacks.candidates import apply
from mmer_core.encoders.packaged import load_image
from mmer_core.incremental.evaluator import CandidateEvaluator
from mmer_core.incremental.planning import Planner


def difference(planner: Planner, module: nn.Module, pixels: int, seed: int, count: int = 18) -> float:
    """Largest error relative to the largest output, over candidates of three images."""
    images = torch.randint(
        0, 256, (3, *planner.size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )
    candidates = draw_candidates(planner.size, count, pixels, seed)
    rows = torch.arange(count) % 3
    expected = plain(module, apply(images[rows], candidates))
    found = CandidateEvaluator(planner)(
        images,
        rows.tolist(),
        candidates.positions(images.shape[2]),
        candidates.colours,
    )
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.long
@pytest.mark.parametrize("pixels", [1, 2, 5])
@pytest.mark.parametrize("cut", [0, 5, -1])
def test_openvino_computes_windows_and_rest_in_one_pass_exactly(pixels, cut):
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    module = torchvision.models.get_model("mobilenet_v2", weights=None, num_classes=7).eval()
    planner = Planner(module, normalise, (64, 64), CPU, method="incremental", runtime="openvino")
    plan = planner.use(pixels, planner.cuts[cut])
    assert "OpenVINO runs all of it" in plan.sentence
    assert difference(planner, module, pixels, seed=pixels) < 1e-4


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(network=networks(), pixels=st.integers(1, 6), seed=st.integers(0, 2**16), data=st.data())
def test_random_networks_are_evaluated_exactly(network, pixels, seed, data):
    module, size = network
    planner = Planner(module, normalise, size, CPU, method="incremental", runtime="torch")
    assert planner.cuts, planner.reason
    planner.use(pixels, data.draw(st.sampled_from(planner.cuts)))
    assert difference(planner, module, pixels, seed) < 1e-4


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["efficientnet_lite0", "resnet18", "mobilenet_v2", "squeezenet1_1", "vgg11_bn"]
)
@pytest.mark.parametrize("pixels", [1, 5])
def test_networks_in_use_are_evaluated_exactly_at_full_size(name, pixels):
    torch.manual_seed(0)
    if name == "efficientnet_lite0":
        module = load_image(name, None).module
    else:
        module = torchvision.models.get_model(name, weights=None, num_classes=7).eval()
    planner = Planner(module, normalise, (224, 224), CPU, method="incremental", runtime="torch")
    assert planner.plan(pixels).cut is not None
    assert difference(planner, module, pixels, seed=pixels, count=6) < 1e-4
