"""Convolutional networks drawn by hypothesis, out of every layer that can be computed in windows."""

import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import nn

ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.SiLU,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Sigmoid,
    nn.Tanh,
    nn.GELU,
    nn.ELU,
    nn.LeakyReLU,
    nn.Softplus,
    nn.Mish,
    lambda: nn.ReLU(inplace=True),
    lambda: nn.Dropout(0.5),
    nn.Identity,
)


class Residual(nn.Module):
    """``body(x) + x``, or with another function of two maps."""

    def __init__(self, body: nn.Module, how: str) -> None:
        super().__init__()
        self.body, self.how = body, how

    def forward(self, x):
        y = self.body(x)
        if self.how == "cat":
            return torch.cat([y, x], dim=1)
        if self.how == "+=":
            y += x
            return y
        if self.how == "mul":
            return 0.5 * y * x
        return torch.relu(y) - 0.5 * x if self.how == "sub" else y + x


class Placed(nn.Module):
    """Coordinates as a channel more, or as a factor of all channels."""

    def __init__(self, beside: bool) -> None:
        super().__init__()
        self.beside = int(beside)

    def forward(self, x):
        places = torch.linspace(-1, 1, x.shape[2])[:, None] * torch.arange(x.shape[3])
        if not self.beside:
            return x * (places / x.shape[3])
        return torch.cat([places.expand(len(x), 1, -1, -1), x], dim=1)


class Tokens(nn.Module):
    """A layer of transformers, on all positions in one row."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.mixed = nn.LayerNorm(channels), nn.Linear(channels, channels)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return (tokens + self.mixed(self.norm(tokens))).transpose(1, 2).reshape(x.shape)


def norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels)
    nn.init.uniform_(layer.running_mean, -0.5, 0.5)
    nn.init.uniform_(layer.running_var, 0.5, 2.0)
    nn.init.uniform_(layer.weight, 0.5, 1.5)
    nn.init.uniform_(layer.bias, -0.5, 0.5)
    return layer


def convolution(draw, channels: int, *, same: bool) -> tuple[nn.Module, int]:
    """A convolution and its output channels; ``same`` keeps channels and size."""
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (5, 5), (1, 3), (3, 2)]))
    dilation = draw(st.integers(1, 2))
    if same:
        groups = draw(st.sampled_from([1, 1 + (channels % 2 == 0), channels]))
        return nn.Conv2d(
            channels, channels, kernel, padding="same", dilation=dilation, groups=groups
        ), channels
    stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 3)))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    out = draw(st.sampled_from([channels, 4, 6]))
    groups = 2 if out % 2 == 0 and channels % 2 == 0 and draw(st.booleans()) else 1
    border = draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate"]))
    bias = draw(st.booleans())
    return nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups, bias, border), out


@st.composite
def networks(draw) -> tuple[nn.Module, tuple[int, int]]:
    """A network of seeded random weights and the size ``(H, W)`` of its input."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    channels = 4
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=draw(st.integers(0, 1)))]
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(
            st.sampled_from(
                [
                    *("convolution", "padded", "norm", "activation", "pool", "residual", "larger", "smaller"),
                    *("placed", "tokens"),
                ]
            )
        )
        if kind == "convolution":
            layer, channels = convolution(draw, channels, same=False)
            layers.append(layer)
        elif kind == "padded":  # the asymmetric padding of TensorFlow's networks
            sides = draw(st.tuples(*[st.integers(0, 2)] * 4))
            value = draw(st.sampled_from([0.0, 0.0, 0.7]))
            other = draw(st.sampled_from([nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d]))
            layers.append(nn.ConstantPad2d(sides, value) if value else other(sides))
            layer, channels = convolution(draw, channels, same=False)
            layers.append(layer)
        elif kind == "norm":
            layers.append(norm(channels))
        elif kind == "activation":
            layers.append(draw(st.sampled_from(ACTIVATIONS))())
        elif kind == "pool":
            kernel, padding = draw(st.sampled_from([(2, 0), (3, 1), (3, 0)]))
            pool = draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))
            others = {"ceil_mode": draw(st.booleans())}
            if pool is nn.AvgPool2d:
                others["count_include_pad"] = draw(st.booleans())
            layers.append(pool(kernel, draw(st.integers(1, 2)), padding, **others))
        elif kind == "larger":
            layers.append(nn.Upsample(scale_factor=draw(st.sampled_from([(2, 2), (1, 2), (3, 1)]))))
        elif kind == "smaller":
            mode = draw(st.sampled_from(["nearest", "nearest-exact", "bilinear", "area"]))
            layers.append(nn.Upsample(scale_factor=0.5, mode=mode))
        elif kind == "tokens":
            layers.append(Tokens(channels))
        elif kind == "placed":
            layers.append(Placed(draw(st.booleans())))
            channels += layers[-1].beside
        else:
            body: list[nn.Module] = []
            for _ in range(draw(st.integers(1, 3))):
                body += [convolution(draw, channels, same=True)[0], norm(channels)]
                body.append(draw(st.sampled_from(ACTIVATIONS))())
            how = draw(st.sampled_from(["add", "+=", "sub", "mul", "cat"]))
            # A layer that works in place must not be the first: the shortcut reads the same map.
            layers.append(Residual(nn.Sequential(*body), how))
            channels *= 2 if how == "cat" else 1
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5)]
    size = draw(st.tuples(st.integers(24, 36), st.integers(24, 36)))
    module = nn.Sequential(*layers, *head).eval()
    try:
        module(torch.zeros(1, 3, *size))
    except RuntimeError:
        assume(False)  # strides left nothing of the map
    return module, size
