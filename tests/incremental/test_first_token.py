"""Networks that read the first token only compute the same, and less."""

import pytest
import torch
import torchvision
from support.incremental_helpers import CPU, normalise
from test_exactness import difference
from torch import nn

from mmer_core.incremental.lowering import behind
from mmer_core.incremental.planning import Planner


def transformer() -> nn.Module:
    torch.manual_seed(0)
    module = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=4).eval()
    nn.init.normal_(module.heads[0].weight)  # nothing to begin with
    nn.init.normal_(module.class_token)
    return module


class AllTokens(nn.Module):
    """Reads every token of its transformer, by their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 16, 8, 8), nn.Linear(16, 4)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x.mean(dim=1))


class Masked(AllTokens):
    """Reads the first token and another one, so all are needed."""

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = self.attention(x, x, x, need_weights=False)[0]
        return self.head(x[:, 0] + x[:, 1])


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.parametrize("network", [transformer, AllTokens, Masked])
def test_what_is_read_is_as_before(network, runtime):
    if runtime != "torch":
        pytest.importorskip(runtime)
    torch.manual_seed(0)
    module = network().eval()
    planner = Planner(module, normalise, (32, 32), CPU, method="incremental", runtime=runtime)
    assert difference(planner, module, 2, seed=3) < 1e-4


@pytest.mark.parametrize(("network", "counts"), [(transformer, [17, 17, 1, 1]), (Masked, [16])])
def test_attention_and_perceptron_of_the_last_block_see_one_token(network, counts):
    planner = Planner(network().eval(), normalise, (32, 32), CPU, method="incremental", runtime="torch")
    late, seen = behind(planner._program, planner.cuts[-1]), []
    for name, module in late.named_modules():
        if isinstance(module, nn.MultiheadAttention) or name.endswith("mlp.0"):
            module.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[1]))
    late(torch.zeros(2, 16, 4, 4))
    assert seen == counts
