"""Operations that work on each position by itself, as people write them, do not end the windows; what mixes positions does."""

import copy
import math
import warnings

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.incremental_helpers import CPU, normalise
from test_exactness import difference
from torch import nn
from torch.nn.utils import parametrizations, prune, weight_norm
from torch.nn.utils import spectral_norm as old_spectral_norm

from mmer_core.incremental.planning import Planner

WIDTH = 8
SIZE = (24, 32)


class Between(nn.Module):
    """An operation between convolutions of eight channels."""

    def __init__(self, operation, *parts: nn.Module, wide: int = WIDTH) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before, self.after = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Conv2d(wide, WIDTH, 3)
        self.last, self.head = nn.Conv2d(WIDTH, WIDTH, 1), nn.Linear(WIDTH, 4)
        self.operation, self.parts = operation, nn.ModuleList(parts)
        self.gamma = nn.Parameter(torch.rand(WIDTH) + 0.5)
        self.register_buffer("mean", torch.rand(1, WIDTH, 1, 1))
        self.register_buffer("std", torch.rand(WIDTH, 1, 1) + 0.5)

    def forward(self, x):
        x = self.operation(self, self.before(x))
        return self.head(self.last(F.relu(self.after(x))).mean((2, 3)))


class LayerNormOfChannels(nn.Module):
    """As ConvNeXt's authors wrote it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(WIDTH)), nn.Parameter(torch.rand(WIDTH))

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


def spatial_attention(self, x):
    """As in CBAM."""
    seen = torch.cat([torch.mean(x, dim=1, keepdim=True), torch.max(x, dim=1, keepdim=True)[0]], dim=1)
    return x * torch.sigmoid(self.parts[0](seen))


def asserted(self, x):
    batch, channels, height, width = x.shape
    assert channels == WIDTH
    if height % 2 or x.dim() != 4 or len(x.shape) != 4 or x.ndim in (2, 3):
        x = F.pad(x, (0, 0, 0, 1))
    x = torch.cat([x[:, number : number + 1] for number in range(channels)], 1) / math.sqrt(channels)
    return x.view(batch, channels, height, width)


def written_into(self, x):
    """Statements whose value nobody takes."""
    F.relu(x, inplace=True)
    x.clamp_(0, 2)
    x += 1
    return x


def masked(self, x):
    above, below = x > 0, x < 0.5
    between = above & below
    return x * between + 2 * x * above


def old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return weight_norm(layer)


def pruned(layer: nn.Module) -> nn.Module:
    """Twice, of which the second mask is joined with the first; weights and biases."""
    for name, share in (("weight", 0.3), ("weight", 0.2), ("bias", 0.5)):
        prune.l1_unstructured(layer, name, share)
    return layer


def standardised(self, x):
    weight = self.parts[0].weight
    weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / (weight.std((1, 2, 3), keepdim=True) + 1e-5)
    return F.conv2d(x, weight, None, 1, 1)


def unblocked(x):
    """Blocks of 2 x 2 positions to channels, as in TResNet."""
    batch, channels, height, width = x.shape
    x = x.view(batch, channels, height // 2, 2, width // 2, 2)
    return x.permute(0, 3, 5, 1, 2, 4).contiguous().view(batch, channels * 4, height // 2, width // 2)


def blocked(x):
    """The other way round."""
    batch, channels, height, width = x.size()
    x = x.reshape(batch, 2, 2, channels // 4, height, width)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels // 4, height * 2, width * 2)


def merged(self, x):
    """As Swin transformers make patches of patches."""
    batch, channels, height, width = x.shape
    x = x.permute(0, 2, 3, 1).reshape(batch, height // 2, 2, width // 2, 2, channels)
    return x.permute(0, 1, 3, 4, 2, 5).flatten(3).movedim(-1, 1)


class Table(nn.Module):
    """A parameter of this shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.rand(shape))


class Places(nn.Module):
    """A buffer of positions, and some that say what to do."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("places", torch.rand(1, WIDTH, *shape))
        self.register_buffer("times", torch.tensor(2))
        self.register_buffer("on", torch.tensor(True))

    def forward(self, x):
        if (self.places > 2).any():
            return -x
        for number in range(int(self.times)):
            x = x * (number + 2) if self.on and self.times.item() > 1 else -x
        return x


def coordinates(self, x):
    """As in CoordConv."""
    batch, _, height, width = x.size()
    down = (
        torch.linspace(-1, 1, height, device=x.device).view(1, 1, height, 1).expand(batch, 1, height, width)
    )
    right = torch.arange(width).type_as(x).div(width - 1)[None, None, None].repeat(batch, 1, height, 1)
    return self.parts[0](torch.cat([x, down, right * 2 - 1], 1))


class Residual(nn.Module):
    """As in blocks of transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.wider, self.back = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 16), nn.Linear(16, WIDTH)

    def forward(self, x):
        return x + self.back(F.gelu(self.wider(self.norm(x))))


def gated(x):
    """Of channels that are last."""
    value, gate = x.chunk(2, -1)
    return torch.cat([value * torch.sigmoid(gate), gate], -1)


def written(self, x):
    y = torch.zeros_like(x)
    y[:, ::2] = x[:, :4]
    y[:, 1] = 2.0
    y[:, 3:] *= self.gamma[3:, None, None]
    y[y > 1] = 1
    return y + x


def written_by_list(self, x):
    y = x.clone()
    y[:, [2, 5]] = -1.0
    y[:, [6, 4]] = torch.tanh(y[:, :2])
    return y


def written_rows(self, x):
    y = x.clone()
    y[:, 2:4] = torch.linspace(0, 1, x.shape[2])[:, None]
    return y


def repeated(self, x):
    y = x.clone()
    y[:, 2:4] = x[:, :1]
    return y


OPERATIONS = {
    "buffers": lambda self, x: (x - self.mean) / self.std,
    "an indexed parameter": lambda self, x: x * self.gamma[None, :, None, None],
    "a parameter seen otherwise": lambda self, x: self.gamma.view(1, -1, 1, 1) * x,
    "arithmetic": lambda self, x: 1 - 2 * x / 255.0 - 0.1,
    "minus": lambda self, x: -x,
    "powers": lambda self, x: x**2 + x.pow(3),
    "functions": lambda self, x: torch.exp(-x.abs()) + torch.sqrt(x * x + 1e-3) + x.sin(),
    "clamp_": lambda self, x: x.clamp_(0, 6),
    "relu_": lambda self, x: x.relu_(),
    "statements": written_into,
    "maximum": lambda self, x: torch.maximum(x, torch.zeros_like(x)),
    "where": lambda self, x: torch.where(x > 0, x, 0.1 * x),
    "a mask": lambda self, x: x * (x > 0).float(),
    "masks": masked,
    "masked_fill": lambda self, x: x.masked_fill(x < 0, 0.0),
    "channels in another order": lambda self, x: x[:, [3, 2, 1, 0, 7, 6, 5, 4]],
    "channels one by one": lambda self, x: torch.cat([torch.unsqueeze(x[:, i], 1) * 0.9 for i in range(-1, WIDTH - 1)], 1),
    "channels by None": lambda self, x: torch.cat([x[:, i, :, :][:, None] for i in range(WIDTH)], 1),
    "channels padded": lambda self, x: F.pad(x[:, 2:-2], (0, 0, 0, 0, 2, 2)),
    "the largest": lambda self, x: x - torch.max(x, 1, keepdim=True).values,
    "channels flipped": lambda self, x: x.flip(1),
    "softmax of channels": lambda self, x: x.softmax(1),
    "unit length": lambda self, x: F.normalize(x, dim=1),
    "sum": lambda self, x: sum([x, F.relu(x)]),
    "alpha": lambda self, x: torch.add(x, x, alpha=0.5),
    "clone": lambda self, x: x.clone().detach().float().to(torch.float32).type_as(x),
    "asserted": asserted,
    "standardised weight": (standardised, nn.Conv2d(WIDTH, WIDTH, 3)),
    "layer norm by hand": (lambda self, x: self.parts[0](x), LayerNormOfChannels()),
    "PReLU": (lambda self, x: self.parts[0](x), nn.PReLU(WIDTH)),
    "Softsign": (lambda self, x: self.parts[0](x), nn.Softsign()),
    "LogSigmoid": (lambda self, x: self.parts[0](x), nn.LogSigmoid()),
    "Softmax2d": (lambda self, x: self.parts[0](x), nn.Softmax2d()),
    "AlphaDropout": (lambda self, x: self.parts[0](x), nn.AlphaDropout()),
    "ChannelShuffle": (lambda self, x: self.parts[0](x), nn.ChannelShuffle(4)),
    "frozen norm": (lambda self, x: self.parts[0](x), torchvision.ops.FrozenBatchNorm2d(WIDTH)),
    "weight norm": (lambda self, x: self.parts[0](x), parametrizations.weight_norm(nn.Conv2d(WIDTH, WIDTH, 3))),
    "spectral norm": (
        lambda self, x: self.parts[0](x),
        parametrizations.spectral_norm(nn.Conv2d(WIDTH, WIDTH, 3)),
    ),
    "weight norm by hooks": (lambda self, x: self.parts[0](x), lambda: old_weight_norm(nn.Conv2d(WIDTH, WIDTH, 3))),
    "spectral norm by hooks": (lambda self, x: self.parts[0](x), lambda: old_spectral_norm(nn.Conv2d(WIDTH, WIDTH, 3))),
    "pruned": (lambda self, x: self.parts[0](x), lambda: pruned(nn.Conv2d(WIDTH, WIDTH, 3))),
    "data parallel": (lambda self, x: self.parts[0](x), nn.DataParallel(nn.Conv2d(WIDTH, WIDTH, 3))),
    "compiled": (lambda self, x: self.parts[0](x), lambda: torch.compile(nn.Conv2d(WIDTH, WIDTH, 3), backend="eager")),
    "len": lambda self, x: x.view(len(x), len(self.mean[0]), *x.shape[2:]) * len(x.shape),
    "sizes in a row": lambda self, x: x.reshape(x.shape[0], -1, *x.shape[2:]),
    "parts one by one": lambda self, x: torch.cat([part * (number + 1) for number, part in enumerate(x.chunk(4, 1))], 1),
    "parts of parts": lambda self, x: torch.cat([torch.tanh(part) for part in reversed(list(x.split((3, 5), 1)))], 1),
    "shifted": (lambda self, x: self.parts[0](F.pad(x, (-1, 1, 2, -2))), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)),
    "mean of what is inside": lambda self, x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    "mean with the padding": (lambda self, x: self.parts[0](x), nn.AvgPool2d(3, 1, 1, ceil_mode=True)),
    "mean by another number": lambda self, x: F.avg_pool2d(x, 3, stride=1, padding=(1, 0), count_include_pad=False, divisor_override=4),
    "spatial attention": (spatial_attention, nn.Conv2d(2, 1, 7, padding=3)),
    "channels last": (lambda self, x: torch.tanh(self.parts[0](x.movedim(1, -1)) * self.gamma).movedim(-1, 1), nn.Linear(WIDTH, WIDTH)),
    "nearest, smaller again": lambda self, x: F.interpolate(x, scale_factor=2)[:, :, ::2, 1::2],
    "nearest": (lambda self, x: F.max_pool2d(self.parts[0](x), (2, 3), (2, 3)), nn.Upsample(scale_factor=(2, 3))),
    "nearest to a size": lambda self, x: F.avg_pool2d(F.interpolate(x, (2 * x.shape[2], 3 * x.shape[3]), mode="nearest-exact"), 3, 2),
    "repeated": lambda self, x: F.max_pool2d(x.repeat_interleave(2, 2).repeat_interleave(repeats=2, dim=-1), 3, 2),
    "merged with what is smaller": (lambda self, x: x + self.parts[1](self.parts[0](x)), nn.Conv2d(WIDTH, WIDTH, 3, 2, 1), nn.UpsamplingNearest2d(scale_factor=2)),
    "PixelShuffle": (lambda self, x: F.pixel_unshuffle(torch.tanh(self.parts[0](x)), 2), nn.PixelShuffle(2)),
    "transposed convolution": (lambda self, x: F.max_pool2d(self.parts[0](x), 2), nn.ConvTranspose2d(WIDTH, WIDTH, 2, 2, groups=2)),
    "transposed convolution by its function": (lambda self, x: F.max_pool2d(F.conv_transpose2d(x, self.parts[0].table, self.gamma, stride=(2, 3)), 2, (1, 2)), lambda: Table(WIDTH, WIDTH, 2, 3)),
    "channels shuffled by hand": lambda self, x: x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2),
    "depth to space and back by hand": lambda self, x: unblocked(torch.tanh(blocked(x))),
    "columns of positions": lambda self, x: torch.tanh(x.flatten(2).transpose(1, 2).mT.clone().unflatten(2, x.shape[2:])),
    "a mask, shuffled": lambda self, x: torch.where((x > 0).view(len(x), 2, 4, *x.shape[2:]).transpose(1, 2).reshape(x.shape), x, -x),
    "a copy written into": lambda self, x: x * x.clone().add_(1),
    "a number by column": lambda self, x: x * torch.linspace(0, 1, x.shape[3]),
    "an embedding of positions": (lambda self, x: x + self.parts[0].table, lambda: Table(1, WIDTH, 24, 32)),
    "of each batch": (lambda self, x: self.parts[0].table.repeat(x.shape[0], 1, 1, 1) - x, lambda: Table(1, WIDTH, 24, 32)),
    "a table for all channels": (lambda self, x: torch.where(self.parts[0].table > 0.5, x, -x), lambda: Table(24, 32)),
    "positions, channels last": (lambda self, x: (x.movedim(1, 3) + self.parts[0].table).movedim(3, 1), lambda: Table(24, 32, WIDTH)),
    "rows and columns repeated by hand": lambda self, x: F.max_pool2d(x.unsqueeze(3).unsqueeze(5).expand(-1, -1, -1, 2, -1, 2).reshape(len(x), WIDTH, 2 * x.shape[2], -1), 2),
    "groups one by one": lambda self, x: torch.cat([x.view(len(x), 2, 4, *x.shape[2:])[:, 1] * 2, x.view(len(x), 4, 2, *x.shape[2:])[:, :, 0]], 1),
    "into one row and back": lambda self, x: torch.tanh(x.flatten(1).unflatten(1, x.shape[1:])),
    "every second, channels last": lambda self, x: torch.cat([each[:, 1::2, ::2, :4] for each in (x.permute(0, 2, 3, 1),) * 2], 3).permute(0, 3, 1, 2),
    "coordinates, written into": lambda self, x: x * torch.arange(x.shape[3], dtype=x.dtype).div_(x.shape[3] - 1).mul_(2).sub_(1),
    "a buffer of positions": (lambda self, x: x + self.parts[0].places.expand(x.shape[0], -1, -1, -1), lambda: Places(24, 32)),
    "resized positions": (lambda self, x: x + F.interpolate(self.parts[0].places, size=x.shape[-2:], mode="bicubic"), lambda: Places(6, 8)),
    "decided by buffers": (lambda self, x: self.parts[0](x), lambda: Places(3, 3)),
    "zeros beside it": (lambda self, x: self.parts[0](torch.cat([x, torch.zeros(len(x), 2, *x.shape[2:])], 1)), nn.Conv2d(WIDTH + 2, WIDTH, 3)),
    "new zeros": (lambda self, x: self.parts[0](torch.cat([x.new_zeros(x.size(0), 1, x.size(2), x.size(3)), x], 1)), nn.Conv2d(WIDTH + 1, WIDTH, 3)),
    "new numbers": lambda self, x: x * x.new_full((1, x.shape[1], 1, 1), 0.5) + x.new_ones(()),
    "numbers of columns": lambda self, x: x * torch.arange(x.shape[3]) + torch.arange(x.size(2))[:, None].double().to(x.dtype),
    "coordinates": (coordinates, nn.Conv2d(WIDTH + 2, WIDTH, 3)),
    "tokens": (lambda self, x: self.parts[0](x.flatten(2).transpose(1, 2)).transpose(1, 2).view(x.shape), lambda: Residual()),
    "tokens with positions": (lambda self, x: (x.flatten(2).mT + self.parts[0].table).mT.unflatten(2, x.shape[2:]), lambda: Table(1, 768, WIDTH)),
    "tokens, gated": lambda self, x: gated(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape),
    "tokens, channels last": (lambda self, x: self.parts[0](x.flatten(2).permute(0, 2, 1)).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2), nn.LayerNorm(WIDTH)),
    "channels last, gated": lambda self, x: gated(x.movedim(1, 3)).movedim(3, 1),
    "positions in one row": lambda self, x: F.normalize(x.flatten(2), dim=1).view(x.shape),
    "padded by reflection": (lambda self, x: self.parts[0](x), nn.Conv2d(WIDTH, WIDTH, 3, padding=1, padding_mode="reflect")),
    "padded by what is at the border": (lambda self, x: self.parts[0](x), nn.Conv2d(WIDTH, WIDTH, 5, 2, 2, padding_mode="replicate")),
    "padded by reflection, then read": (lambda self, x: F.avg_pool2d(self.parts[0](x), 3, 2), nn.ReflectionPad2d((1, 2, 3, 0))),
    "padded, read twice": lambda self, x: (lambda y: F.max_pool2d(y, 3, 1) + y[:, :, 1:-1, 1:-1])(F.pad(x, (1, 1, 1, 1), "replicate")),
    "padded twice": (lambda self, x: self.parts[1](self.parts[0](x)), nn.ReplicationPad2d((1, 0, 2, 1)), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)),
    "nearest, smaller": lambda self, x: F.interpolate(x, scale_factor=0.5),
    "nearest, smaller, of what is in the middle": lambda self, x: F.interpolate(x, (8, 16), mode="nearest-exact"),
    "bilinear, smaller": (lambda self, x: self.parts[0](x), nn.Upsample(scale_factor=0.25, mode="bilinear")),
    "bilinear, a third": lambda self, x: F.interpolate(x, (8, 16), mode="bilinear", align_corners=False),
    "area": lambda self, x: F.interpolate(x, (12, 8), mode="area"),
    "adaptive mean": (lambda self, x: self.parts[0](x), nn.AdaptiveAvgPool2d((None, 8))),
    "adaptive maximum": lambda self, x: F.adaptive_max_pool2d(x, (6, 8)),
    "adaptive to its own size": lambda self, x: F.relu_(F.adaptive_avg_pool2d(x, x.shape[2:])) - x,
    "maximum and mean, as in CBAM": (lambda self, x: x * torch.sigmoid(self.parts[0](torch.cat((torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1))), nn.Conv2d(2, 1, 7, padding=3)),
    "less their mean": lambda self, x: x - x.mean(1)[:, None],
    "the place of the largest": lambda self, x: x * x.argmax(1, keepdim=True) + x.max(1)[1].unsqueeze(1),
    "the largest four": lambda self, x: torch.cat([x.topk(4, dim=1)[0], x.sort(1)[0][:, :4]], 1),
    "branches added": lambda self, x: torch.stack([x, torch.tanh(x), x * x]).sum(0),
    "the larger of branches": lambda self, x: torch.stack([x, torch.tanh(x)], -1).max(-1).values,
    "branches weighted": lambda self, x: (torch.stack([x, -x], 1).softmax(1) * torch.stack([x, x * x], dim=1)).mean(1),
    "branches taken apart": lambda self, x: (lambda one, other: one * other)(*torch.stack([x, torch.tanh(x)], 1).unbind(1)),
    "branches in turn": lambda self, x: torch.stack([x[:, :4], x[:, 4:]], 2).flatten(1, 2),
    "maxout": lambda self, x: torch.cat([x.view(len(x), 4, 2, *x.shape[2:]).max(2)[0], x.view(len(x), 2, 4, *x.shape[2:]).amax(1)], 1),
    "softmax of groups": lambda self, x: x.view(len(x), 2, 4, *x.shape[2:]).softmax(2).reshape(x.shape),
    "weights of groups": lambda self, x: (x.view(len(x), 2, 4, *x.shape[2:]) * self.gamma.view(2, 4, 1, 1)).flatten(1, 2),
    "norm of groups": lambda self, x: F.layer_norm(x.unflatten(1, (2, 4)).movedim(2, -1), (4,)).movedim(-1, 2).flatten(1, 2),
    "norm of heads": lambda self, x: F.normalize(x.flatten(2).mT.reshape(len(x), -1, 2, 4).transpose(1, 2), dim=-1).transpose(1, 2).flatten(2).mT.reshape(x.shape),
    "a product with weights": (lambda self, x: (x.permute(0, 2, 3, 1) @ self.parts[0].table + self.gamma).permute(0, 3, 1, 2), lambda: Table(WIDTH, WIDTH)),
    "weights before tokens": (lambda self, x: (self.parts[0].table @ x.flatten(2)).view(x.shape), lambda: Table(WIDTH, WIDTH)),
    "weights for all images": (lambda self, x: torch.matmul(self.parts[0].table, x.view(len(x), WIDTH, -1)).reshape(x.shape), lambda: Table(1, WIDTH, WIDTH)),
    "F.linear of channels last": (lambda self, x: F.linear(x.movedim(1, 3), self.parts[0].table, bias=self.gamma).movedim(3, 1), lambda: Table(WIDTH, WIDTH)),
    "a score of each position": lambda self, x: x * torch.sigmoid(x.permute(0, 2, 3, 1) @ self.gamma)[:, None],
    "F.linear by name": (lambda self, x: F.linear(x.movedim(1, 3), weight=self.parts[0].table).movedim(3, 1), lambda: Table(WIDTH, WIDTH)),
    "numbers of rows written": written_rows,
    "a channel written into others": repeated,
    "einsum": (lambda self, x: torch.einsum("bchw,oc->bohw", x, self.parts[0].table), lambda: Table(WIDTH, WIDTH)),
    "einsum of tokens": (lambda self, x: torch.einsum("...c, cd -> ...d", x.flatten(2).mT, self.parts[0].table).mT.view(x.shape), lambda: Table(WIDTH, WIDTH)),
    "einsum of groups": (lambda self, x: torch.einsum("ngchw,gcd->ngdhw", x.view(len(x), 2, 4, *x.shape[2:]), self.parts[0].table).flatten(1, 2), lambda: Table(2, 4, 4)),
    "einsum of two maps": lambda self, x: x * torch.einsum("bchw,bchw->bhw", x, torch.tanh(x)).unsqueeze(1),
    "einsum without an arrow": lambda self, x: x + torch.einsum("bchw,c", x, self.gamma)[:, None],
    "heads of each position": lambda self, x: (lambda y: (torch.softmax(y @ y.transpose(-2, -1), -1) @ y).flatten(3).movedim(3, 1))(x.movedim(1, 3).unflatten(3, (2, 4))),
    "Conv1d of tokens": (lambda self, x: self.parts[1](self.parts[0](x.flatten(2))).view(x.shape), nn.Conv1d(WIDTH, WIDTH, 1, groups=2), nn.BatchNorm1d(WIDTH)),
    "a channel written": lambda self, x: (lambda y: (y.__setitem__((slice(None), 0), 0.0), y)[1])(x.clone()),
    "channels written": written,
    "channels written by a list": written_by_list,
    "on its side": lambda self, x: torch.tanh(x.transpose(2, 3)).transpose(2, 3),
    "images last": lambda self, x: torch.tanh(x.permute(1, 2, 3, 0)).permute(3, 0, 1, 2),
    "every second": lambda self, x: x[:, :, ::2, 1::2],
    "cropped": lambda self, x: x[..., 1:-1, 2:],
}  # fmt: skip
WIDER = {
    "mean, rounded up": (lambda self, x: F.avg_pool2d(x, 3, 2, 0, True), WIDTH),
    "mean of what is inside, rounded up": (lambda self, x: F.avg_pool2d(x, (3, 2), 2, 1, True, False), WIDTH),
    "mean by another number, rounded up": (lambda self, x: F.avg_pool2d(x, 3, 2, 1, True, True, 5), WIDTH),
    "gated": (lambda self, x: x[:, :4] * torch.sigmoid(x[:, 4:]), WIDTH // 2),
    "F.glu": (lambda self, x: F.glu(x, 1), WIDTH // 2),
    "space to depth by hand": (lambda self, x: unblocked(x), 4 * WIDTH),
    "patches merged": (merged, 4 * WIDTH),
    "pixel_unshuffle": (lambda self, x: F.pixel_unshuffle(x, 2), 4 * WIDTH),
    "focus": (
        lambda self, x: torch.cat(
            [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1
        ),
        4 * WIDTH,
    ),
}
GLOBAL = {
    "a mean that counts its padding, rounded up": lambda self, x: F.avg_pool2d(x, 3, 2, 1, True),
    "shifted": lambda self, x: F.pad(x, (1, -1, 0, 0, 0, 0)),
    "rolled": lambda self, x: x.roll(1, 2),
    "flipped": lambda self, x: x.flip(3),
    "transposed": lambda self, x: x.transpose(2, 3),
    "a mean of rows": lambda self, x: x - x.mean(2, keepdim=True),
    "softmax of rows": lambda self, x: x.softmax(3),
    "a running sum": lambda self, x: x.cumsum(2),
    "sorted": lambda self, x: x.sort(dim=3)[0],
    "products of rows": lambda self, x: x @ torch.eye(x.shape[3]),
    "the mean of the batch's own image": lambda self, x: x / x.amax((1, 2, 3), keepdim=True).clamp(min=1e-3),
    "interpolated": lambda self, x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "nearest by a factor that is rounded": lambda self, x: F.interpolate(x, scale_factor=2.01),
    "nearest by more than is even": lambda self, x: F.interpolate(x[..., :2, :3], scale_factor=41),
    "nearest to other sizes": lambda self, x: F.interpolate(x, (36, 32)),
    "overlapping blocks": (lambda self, x: self.parts[0](x), nn.ConvTranspose2d(WIDTH, WIDTH, 3, 2)),
    "rows as columns": lambda self, x: x.flatten(2).unflatten(2, (x.shape[3], x.shape[2])),
    "blocks in another order": lambda self, x: x.unflatten(3, (2, -1)).transpose(3, 4).flatten(3),
    "padded by the other side": lambda self, x: F.pad(x, (1, 1, 1, 1), mode="circular"),
    "smaller by what is no whole number": lambda self, x: F.adaptive_avg_pool2d(x, (7, 16)),
    "smaller, corners aligned": lambda self, x: F.interpolate(
        x, (12, 16), mode="bilinear", align_corners=True
    ),
    "smaller, antialiased": lambda self, x: F.interpolate(x, (12, 16), mode="bilinear", antialias=True),
    "rows mixed": lambda self, x: x.transpose(2, 3).softmax(3).transpose(2, 3),
    "a convolution on its side": lambda self, x: F.avg_pool2d(x.transpose(2, 3), 3, 1, 1).transpose(2, 3),
    "the mean of branches and rows": lambda self, x: (
        x + torch.stack([x, -2 * x]).mean((0, 3), keepdim=True)[0]
    ),
    "branches of the largest position": lambda self, x: (
        x - torch.stack([x, -x], 1).flatten(3).max(3)[0].sum(1)[..., None, None]
    ),
    "a channel written that is read elsewhere": lambda self, x: (
        lambda y, part: (y.__setitem__((slice(None), 0), 5.0), y + part.sum(1, keepdim=True))[1]
    )(*(lambda y: (y, y.view(len(y), 2, 4, *y.shape[2:])[:, 0]))(x.clone())),
    "a channel written by way of its numbers": lambda self, x: (
        lambda y: (y.data.__setitem__((slice(None), 0), 5.0), y * 2)[1]
    )(x.clone()),
    "a row written": lambda self, x: (lambda y: (y.__setitem__((slice(None), slice(None), 0), 0.0), y)[1])(
        x.clone()
    ),
    "written by another map's rows": lambda self, x: (
        lambda y: (y.__setitem__((slice(None), 0), x[:, 0].flip(1)), y)[1]
    )(x.clone()),
    "a part written by an index": lambda self, x: (
        lambda y: (y.__setitem__((slice(None), slice(4)), 0.0), x)[1]
    )(x[:, :6]),
    "rows that are looked at while channels are written": lambda self, x: (
        lambda y, part: (y.__setitem__((slice(None), 0), 5.0), part * 1)[1]
    )(*(lambda y: (y, y[:, :, ::2, ::2]))(x.clone())),
    "positions inside written": lambda self, x: (lambda y: (y[:, :, 1:-1, 1:-1].clamp_(max=0.1), y)[1])(
        x.clone()
    ),
    "einsum over rows": lambda self, x: x + torch.einsum("bchw->bcw", x)[:, :, None],
    "einsum with weights of columns": lambda self, x: torch.einsum("bchw,wv->bchv", x, torch.eye(x.shape[3])),
    "einsum of images": lambda self, x: x + 0 * torch.einsum("bchw,bdhw->cdhw", x, x)[:, 0],
    "attention over positions": lambda self, x: (
        lambda y: (torch.softmax(y @ y.mT, -1) @ y).mT.view(x.shape)
    )(x.flatten(2).mT),
    "covariance of channels": lambda self, x: (lambda y: (y @ y.mT @ y / y.shape[2]).view(x.shape))(
        x.flatten(2)
    ),
    "Conv1d of neighbours": (
        lambda self, x: self.parts[0](x.flatten(2)).view(x.shape),
        nn.Conv1d(WIDTH, WIDTH, 3, padding=1),
    ),
    "the mean of all images": lambda self, x: x + 0 * x.mean(0),
    "strips": lambda self, x: x * F.adaptive_avg_pool2d(x, (None, 1)),
    "squeezed and excited": lambda self, x: x * F.adaptive_avg_pool2d(x, 1),
    "tokens shifted": lambda self, x: F.pad(x.flatten(2).mT, (0, 0, 1, -1)).mT.reshape(x.shape),
    "a mean of tokens": lambda self, x: x - x.flatten(2).mean(2)[:, :, None, None],
    "a token taken": lambda self, x: x - x.flatten(2).transpose(1, 2)[:, 5][:, :, None, None],
    "rows and columns exchanged": lambda self, x: torch.tanh(x.flatten(2)).unflatten(
        2, (x.shape[3], x.shape[2])
    ),
    "channels as rows": lambda self, x: x.reshape(x.shape[0], WIDTH, x.shape[3], x.shape[2]),
    "a group written into": lambda self, x: (x.view(len(x), 2, 4, *x.shape[2:])[:, 1].mul_(0.5), x)[1],
    "blocks that are moved": (lambda self, x: self.parts[0](x), nn.ConvTranspose2d(WIDTH, WIDTH, 3, 3, 1, 2)),
    "a part written into": lambda self, x: (x[:, :4].mul_(0.5), x)[1],
}


def between(operation) -> Between:
    function, *parts = operation if isinstance(operation, tuple) else (operation,)
    made = [copy.deepcopy(part) if isinstance(part, nn.Module) else part() for part in parts]
    return Between(function, *made).eval()


def planner_of(module: nn.Module, runtime: str = "torch") -> Planner:
    return Planner(module, normalise, SIZE, CPU, method="incremental", runtime=runtime)


def is_exact_at_every_cut(planner: Planner, module: nn.Module) -> bool:
    for cut in planner.cuts:
        planner.use(2, cut)
        assert difference(planner, module, 2, seed=1) < 1e-4, cut
    return True


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_works_on_each_position_does_not_end_the_windows(name):
    module = between(OPERATIONS[name])
    planner = planner_of(module)
    local, every = planner.layers
    assert local == every - 1, planner.stopped  # the head comes after the mean over the map
    assert is_exact_at_every_cut(planner, module)


@pytest.mark.parametrize("name", WIDER)
def test_nor_does_what_makes_more_or_fewer_channels(name):
    operation, wide = WIDER[name]
    module = Between(operation, wide=wide).eval()
    planner = planner_of(module)
    assert planner.layers == (3, 4), planner.stopped
    assert is_exact_at_every_cut(planner, module)


@pytest.mark.parametrize("name", GLOBAL)
def test_what_mixes_positions_ends_them(name):
    module = between(GLOBAL[name])
    planner = planner_of(module)
    assert planner.layers == (1, 4)
    assert is_exact_at_every_cut(planner, module)


class Several(nn.Module):
    """Operations one after another."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.every = nn.ModuleList([between(OPERATIONS[name]) for name in names])

    def forward(self, x):
        x = self.every[0].before(x)
        for one in self.every:
            x = one.operation(one, x)
        return self.every[0].after(x).mean((2, 3))


def runs(names: list[str]) -> bool:
    """Whether each operation takes the size of map that those before it leave, and numbers stay moderate."""
    try:
        found = Several(names).eval()(normalise(255 * torch.rand(1, 3, 24, 32)))
    except RuntimeError:
        return False
    return bool(found.abs().max() < 1e3)  # powers of powers overflow


SEVERAL = st.lists(st.sampled_from(list(OPERATIONS)), min_size=2, max_size=4).filter(runs)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(names=SEVERAL, data=st.data())
def test_any_of_them_in_a_row_are_exact(names, data):
    module = Several(names).eval()
    planner = planner_of(module)
    planner.use(2, data.draw(st.sampled_from(planner.cuts)))
    assert difference(planner, module, 2, seed=1) < 1e-4


@pytest.mark.parametrize(
    "name",
    [
        *("buffers", "where", "layer norm by hand", "statements", "spatial attention", "coordinates"),
        *("an embedding of positions", "a table for all channels", "nearest", "repeated", "PixelShuffle"),
        *("depth to space and back by hand", "transposed convolution", "a product with weights"),
        *("weights before tokens", "einsum", "einsum of groups", "heads of each position"),
        *("Conv1d of tokens", "channels written"),
    ],
)
def test_openvino_runs_them_too(name):
    pytest.importorskip("openvino")
    module = between(OPERATIONS[name])
    planner = planner_of(module, "openvino")
    assert "OpenVINO runs all of it" in planner.use(2, planner.cuts[-1]).sentence
    assert difference(planner, module, 2, seed=1) < 1e-4


@pytest.mark.parametrize(
    "name",
    ["weight norm", "weight norm by hooks", "spectral norm by hooks", "pruned", "data parallel", "compiled"],
)
def test_a_network_is_left_as_it_is(name):
    module = between(OPERATIONS[name])
    image = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        before, state, parts = module(image), copy.deepcopy(module.state_dict()), list(module.modules())
        planner_of(module)
        assert torch.equal(module(image), before)
    assert list(module.modules()) == parts
    assert module.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


class WithMore(nn.Module):
    """A network that takes a mask and options as well."""

    def __init__(self) -> None:
        super().__init__()
        self.network = between(OPERATIONS["buffers"])

    def forward(self, images, mask=None, *, doubled=False, **others):
        found = self.network(images if mask is None else images * mask)
        return 2 * found if doubled or others else found


class OfAny(WithMore):
    def forward(self, *images, **others):
        return super().forward(*images, **others)


@pytest.mark.parametrize("kind", [WithMore, OfAny])
def test_inputs_with_a_default_may_be_left_out(kind):
    module = kind().eval()
    planner = planner_of(module)
    assert planner.layers == (3, 4), planner.stopped or planner.reason
    assert is_exact_at_every_cut(planner, module)


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda module: torch.compile(module, backend="eager")])
def test_what_wraps_a_network_does_not_end_the_windows(wrap):
    module = wrap(between(OPERATIONS["buffers"])).eval()
    planner = planner_of(module)
    assert planner.layers == (3, 4), planner.stopped or planner.reason
    assert is_exact_at_every_cut(planner, module)


@pytest.mark.parametrize(
    "names",
    [
        ("squeeze", "view"),
        ("contiguous", "transpose"),
        ("chunk", "relu"),
        ("repeat_interleave", "unflatten"),
        ("permute", "clone"),
        ("split", "type_as"),
    ],
)
def test_layers_may_be_named_as_methods_are(names):
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            setattr(self, names[0], nn.Conv2d(3, WIDTH, 3, padding=1))
            setattr(self, names[1], nn.Conv2d(WIDTH, WIDTH, 3))

        def forward(self, x):
            first, second = (getattr(self, name) for name in names)
            return F.relu(second(first(x))).mean((2, 3))

    module = Named().eval()
    planner = planner_of(module)
    assert planner.layers == (2, 2), planner.stopped or planner.reason
    assert is_exact_at_every_cut(planner, module)


@pytest.mark.parametrize("which", ["after", "norm"])
def test_a_layer_with_a_hook_ends_the_windows(which):
    module = Between(lambda self, x: self.parts[0](x), nn.BatchNorm2d(WIDTH)).eval()
    hooked = module.after if which == "after" else module.parts[0]
    hooked.register_forward_hook(lambda layer, inputs, found: found.flip(3))
    planner = planner_of(module)
    assert planner.layers[0] == 1
    assert is_exact_at_every_cut(planner, module)


def test_a_condition_on_numbers_or_on_the_size_of_the_batch_is_not_settled():
    for operation in (
        lambda self, x: x if x.sum() > 0 else -x,
        lambda self, x: x if x.shape[0] == 2 else -x,
        lambda self, x: x if len(x) == 2 else -x,
        lambda self, x: torch.stack([x[number] for number in range(len(x))]),
        lambda self, x: torch.stack([image * (number + 1) for number, image in enumerate(x)]),
    ):
        planner = planner_of(between(operation))
        assert "depends on the images or on the size of the batch" in planner.reason
