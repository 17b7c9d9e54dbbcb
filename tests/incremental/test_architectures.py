"""How much of networks in use is computed in windows, and that it is right."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from support.incremental_helpers import CPU, normalise
from test_exactness import difference
from torch import nn

from mmer_core.incremental.planning import Planner


class Shaped(nn.Module):
    """As many write it: sizes asked for, functions instead of modules, and a flattening view."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3)
        self.norm, self.head = nn.BatchNorm2d(8), nn.Linear(12 * 4 * 4, 5)

    def forward(self, x):
        n, _, height, width = x.shape
        x = F.relu(self.norm(self.first(x * (2.0 / 3))))
        x = F.max_pool2d(x, 2, ceil_mode=True)
        x = F.dropout(self.second(x).relu(), 0.5, self.training)
        x = F.adaptive_avg_pool2d(x, (height // 10, width // 10))
        return self.head(x.view(n, -1)) / x.size()[1]


class Shuffled(nn.Module):
    """Channels in halves, put together again and shuffled; then squeeze-and-excitation, which is global."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(4, 4, 3, padding=1)
        self.squeeze, self.late = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 6, 3)

    def forward(self, x):
        x = F.hardswish(self.stem(x))
        x = torch.cat([x[:, :4], self.deep(x[:, 4:])], dim=1)
        b, c, h, w = x.size()
        x = x.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)
        x = x * torch.sigmoid(self.squeeze(x.mean((2, 3), keepdim=True)))
        return self.late(x).flatten(2).mean(2)


class Normalised(nn.Module):
    """Group normalisation after the third convolution; the batch's size reaches over all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1))
        self.norm, self.tail, self.head = nn.GroupNorm(2, 8), nn.Conv2d(8, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        batch = x.size(0)
        x = self.tail(F.relu(self.norm(self.body(x))))
        return self.head(x.mean(dim=[-2, -1]).reshape(batch, 8))


class Placed(nn.Module):
    """Coordinates beside the colours, blocks of positions as channels by hand, and two resolutions put together."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fine = nn.Conv2d(4 * 5, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.coarse, self.head = nn.Conv2d(8, 8, 3, 2, 1), nn.Linear(8, 4)
        self.embedding = nn.Parameter(torch.rand(1, 8, 20, 20))

    def forward(self, x):
        b, _, h, w = x.shape
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        places = torch.stack([rows / h, columns / w]).unsqueeze(0).expand(b, -1, -1, -1).to(x.device)
        x = torch.cat([x, places], dim=1)
        x = x.reshape(b, -1, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
        x = F.relu(self.stem(x)) + self.embedding
        x = self.fine(x) + F.interpolate(self.coarse(x), size=x.shape[-2:], mode="nearest")
        return self.head(F.relu(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("network", "layers", "stopped"),
    [
        (Shaped, (2, 3), "adaptive_avg_pool2d"),
        (Shuffled, (2, 4), "mean"),
        (Normalised, (3, 5), "GroupNorm"),
        (Placed, (3, 4), "mean"),
    ],
)
def test_networks_as_people_write_them_are_computed_in_windows_up_to_what_is_global(network, layers, stopped):
    torch.manual_seed(0)
    module = network().eval()
    planner = Planner(module, normalise, (40, 40), CPU, method="incremental", runtime="torch")
    assert planner.layers == layers
    assert stopped in planner.stopped
    for cut in planner.cuts:
        planner.use(3, cut)
        assert difference(planner, module, 3, seed=1) < 1e-4


SHARES = {
    "resnet18": (20, 21),
    "regnet_x_400mf": (71, 72),
    "mobilenet_v2": (52, 53),
    "mobilenet_v3_small": (2, 54),  # squeeze-and-excitation in its first block
    "densenet121": (120, 121),
    "shufflenet_v2_x0_5": (56, 57),
    "squeezenet1_1": (26, 26),
    "mnasnet0_5": (52, 53),
    "googlenet": (57, 58),
    "convnext_tiny": (58, 59),
}


def of_torchvision(name: str) -> nn.Module:
    """A network of seven classes with drawn weights."""
    torch.manual_seed(0)
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    return torchvision.models.get_model(name, weights=None, num_classes=7, **options).eval()


@pytest.mark.parametrize("name", SHARES)
def test_the_share_of_layers_computed_in_windows(name):
    module = of_torchvision(name)
    planner = Planner(module, normalise, (64, 64), CPU, method="incremental", runtime="torch")
    assert planner.layers == SHARES[name]
    planner.use(2, planner.cuts[len(planner.cuts) // 2])
    assert difference(planner, module, 2, seed=2, count=6) < 1e-4


def test_the_transformed_input_of_torchvisions_pretrained_networks_is_computed_in_windows():
    torch.manual_seed(0)
    options = {"init_weights": False, "aux_logits": False, "transform_input": True}
    module = torchvision.models.googlenet(weights=None, num_classes=7, **options).eval()
    planner = Planner(module, normalise, (64, 64), CPU, method="incremental", runtime="torch")
    assert planner.layers == SHARES["googlenet"]
    planner.use(2, planner.cuts[len(planner.cuts) // 2])
    assert planner.reason is None
    assert difference(planner, module, 2, seed=2, count=6) < 1e-4


def test_attention_ends_the_windows_after_the_patches():
    module = torchvision.models.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=4).eval()
    nn.init.normal_(module.heads[0].weight)  # nothing to begin with
    planner = Planner(module, normalise, (32, 32), CPU, method="incremental", runtime="torch")
    assert planner.layers[0] == 1
    assert difference(planner, module, 2, seed=3) < 1e-4


@pytest.mark.parametrize("cut", ["maxpool", "cat", "cat_1"])
def test_openvino_runs_all_of_a_network_that_cuts_its_maps_up(cut):
    """ShuffleNet takes each map apart again where windows end."""
    pytest.importorskip("openvino")
    module = of_torchvision("shufflenet_v2_x0_5")
    planner = Planner(module, normalise, (64, 64), CPU, method="incremental", runtime="auto")
    assert "OpenVINO runs all of it" in planner.use(2, cut).sentence
    assert difference(planner, module, 2, seed=1) < 1e-4
