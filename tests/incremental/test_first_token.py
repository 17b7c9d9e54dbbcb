"""Networks that read the first token only compute the same, and less."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from support.incremental_helpers import CPU, normalise
from test_exactness import difference
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPVisionConfig, CLIPVisionModel, Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from mmer_core.encoders.networks.huggingface import ImageTower
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


class ByHand(nn.Module):
    """A block whose attention is written out, as in timm; heads of 8, of which there are 2."""

    def __init__(self, attend=None) -> None:
        super().__init__()
        self.attend = attend or (lambda q, k, v: (q @ k.transpose(-2, -1) / 8**0.5).softmax(dim=-1) @ v)
        self.patches, self.head = nn.Conv2d(3, 16, 8, 8), nn.Linear(16, 4)
        self.norm, self.qkv, self.project = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16)
        self.scale, self.up, self.down = nn.Parameter(torch.rand(16)), nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(batch, tokens, 3, 2, 8).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        attended = self.attend(q, k, v).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self.project(attended) * self.scale
        hidden = self.up(F.layer_norm(x, (width,)))
        x = x + self.down(hidden * torch.sigmoid(1.7 * hidden))
        return self.head(x[:, 0])


ATTENTIONS = {
    "written out": None,
    "fused": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=0.0),
    "of keys": lambda q, k, v: (q @ k.transpose(-2, -1)).softmax(dim=-2) @ v,
    "causal": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    "masked": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, torch.eye(16)),
    "with positions": lambda q, k, v: (q @ k.transpose(-2, -1) + torch.arange(16.0)[:, None]).softmax(-1) @ v,
    "of the transposed": lambda q, k, v: (k @ q.transpose(-2, -1)).transpose(-2, -1).softmax(-1) @ v,
    "without values": lambda q, k, v: q * (q @ k.transpose(-2, -1)).softmax(-1).mean(-2, keepdim=True).mean(-1, keepdim=True),
    "twice": lambda q, k, v: F.scaled_dot_product_attention(q, q, v) + F.scaled_dot_product_attention(v, k, v),
}  # fmt: skip
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def of_transformers(config, model):
    return ImageTower(model(config(**SIZES, intermediate_size=32)))


TOWERS = {
    "ViT": lambda: of_transformers(ViTConfig, ViTModel),
    "CLIP": lambda: of_transformers(CLIPVisionConfig, CLIPVisionModel),
    "DINOv2": lambda: of_transformers(Dinov2Config, Dinov2Model),
}


@pytest.mark.parametrize("name", [*ATTENTIONS, *TOWERS])
def test_attention_that_is_written_out_is_followed(name):
    torch.manual_seed(0)
    module = (TOWERS[name]() if name in TOWERS else ByHand(ATTENTIONS[name])).eval()
    for each in module.parameters():
        nn.init.normal_(each, std=0.3)
    planner = Planner(module, normalise, (32, 32), CPU, method="incremental", runtime="torch")
    assert difference(planner, module, 2, seed=3) < 1e-4
    assert planner.plan(2).cut is not None
    work = []
    for network in (module, planner._program.graph):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, 3, 32, 32))
        work.append(counter.get_total_flops())
    # The last block is computed for one token; where attention is written out, its queries are as well.
    assert work[1] < (0.72 if name == "written out" else 0.8) * work[0]


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.parametrize("network", [transformer, AllTokens, Masked, ByHand, TOWERS["CLIP"]])
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
