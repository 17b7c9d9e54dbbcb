"""Networks that `torch.export` made are computed in windows as the networks that they were made of."""

import pytest
import torch
import torchvision
from support.incremental_helpers import CPU, normalise
from test_exactness import difference
from test_operations import OPERATIONS, SIZE, WIDER, Between, between
from torch import nn

from mmer_core.attacks import ClassifierVictim
from mmer_core.errors import AttackError
from mmer_core.incremental.planning import Planner

NAMES = (
    *("buffers", "functions", "clamp_", "masks", "channels padded", "the largest", "parts of parts"),
    *(
        "layer norm by hand",
        "PReLU",
        "spatial attention",
        "channels last",
        "nearest",
        "PixelShuffle",
        "tokens",
    ),
    *(
        "depth to space and back by hand",
        "transposed convolution",
        "mean with the padding",
        "cropped",
        "gated",
    ),
    *("einsum", "a product with weights", "Conv1d of tokens", "padded by reflection", "squeezed"),
    *(
        "tokens with positions",
        "nearest, smaller, of what is in the middle",
        "bilinear, a third",
        "where",
        "compiled",
        "channels in another order",
    ),
)


def exported(module: nn.Module, size: tuple[int, int], **shapes: object) -> nn.Module:
    example = torch.rand(2, 3, *size)
    any_batch = {"dynamic_shapes": ({0: torch.export.Dim("batch", max=4096)},)}
    return torch.export.export(module, (example,), **(shapes or any_batch)).module()


def networks() -> dict[str, nn.Module]:
    made = {name: between(OPERATIONS[name]) for name in NAMES if name in OPERATIONS}
    made |= {name: Between(WIDER[name][0], wide=WIDER[name][1]).eval() for name in NAMES if name in WIDER}
    made["squeezed"] = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
        *(torchvision.ops.SqueezeExcitation(8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    ).eval()
    return made


@pytest.mark.parametrize("name", NAMES)
def test_as_far_and_as_exactly_as_the_network_itself(name: str) -> None:
    torch.manual_seed(0)
    module = networks()[name]
    made = exported(module, SIZE)
    own, planner = (
        Planner(each, normalise, SIZE, CPU, method="incremental", runtime="torch") for each in (module, made)
    )
    assert planner.layers == own.layers, planner.stopped
    assert planner.cuts
    for cut in planner.cuts:
        planner.use(2, cut)
        assert planner.reason is None
        assert difference(planner, module, 2, seed=1) < 1e-4


@pytest.mark.parametrize("name", ["resnet18", "shufflenet_v2_x0_5"])
def test_an_architecture(name: str) -> None:
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, weights=None).eval()
    planner = Planner(
        exported(module, (64, 64)), normalise, (64, 64), CPU, method="incremental", runtime="torch"
    )
    local, every = planner.layers
    assert local == every - 1
    planner.use(2, planner.cuts[-1])
    assert difference(planner, module, 2, seed=1) < 1e-4


@pytest.mark.parametrize("wrap", [lambda made: made, lambda made: nn.Sequential(nn.Identity(), made)])
def test_a_victim(wrap) -> None:
    module = networks()["buffers"]
    images = torch.randint(0, 256, (3, *SIZE, 3), dtype=torch.uint8)
    scores = [
        ClassifierVictim(each, (0.5,) * 3, (0.25,) * 3, SIZE).scores(images, torch.arange(3))
        for each in (module, wrap(exported(module, SIZE)))
    ]
    torch.testing.assert_close(*scores)


def test_one_for_a_single_size_of_a_batch_is_refused_with_the_cure() -> None:
    made = exported(networks()["buffers"], SIZE, dynamic_shapes=None)
    victim = ClassifierVictim(made, (0.5,) * 3, (0.25,) * 3, SIZE)
    with pytest.raises(AttackError, match="export it with dynamic_shapes for any"):
        victim.scores(torch.zeros(3, *SIZE, 3, dtype=torch.uint8), torch.arange(3))
