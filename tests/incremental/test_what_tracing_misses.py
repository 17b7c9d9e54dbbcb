"""Networks of which a trace shows something else than they do are scored as they are: densely, or in windows up to there."""

import random
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.incremental_helpers import CPU, draw_candidates, normalise, plain
from test_exactness import difference
from torch import nn

from mmer_core.attacks import apply
from mmer_core.incremental.evaluator import CandidateEvaluator
from mmer_core.incremental.planning import Planner

WIDTH, SIZE = 8, (24, 32)


class Body(nn.Module):
    """Three convolutions, and something between the first and the second."""

    def __init__(self, between=None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.norm, self.other = nn.BatchNorm2d(WIDTH), nn.BatchNorm2d(WIDTH)
        for norm in (self.norm, self.other):
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2)
        self.head, self.between = nn.Linear(WIDTH, 4), between or (lambda self, x: x)

    def forward(self, x):
        return self.head(F.relu(self.b(self.between(self, self.a(x)))).mean((2, 3)))


class SharedConvolution(Body):
    def forward(self, x):
        x = F.relu(self.norm(self.b(self.a(x))))
        return self.head(F.relu(self.other(self.b(x))).mean((2, 3)))


class Scaled(Body):
    def __call__(self, x):
        return super().__call__(2 * x + 1)


def hooked() -> Body:
    body = Body()
    body.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0] + 1,))
    return body


def patched(name: str, forward) -> Body:
    body = Body()
    layer = body.get_submodule(name) if name else body
    layer.forward = types.MethodType(forward, layer)
    return body


def circular(layer, x, weight, bias):
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), weight, bias)


def tiled() -> Body:
    body = Body()
    body.b._conv_forward = types.MethodType(circular, body.b)
    return body


def skip(self, x):
    before = x
    x += self.b(x)
    return x + before


def written_view(self, x):
    y = x[:, :, ::2, ::2]
    y.relu_()
    return x


def written_part(self, x):
    y = x[:, :4]
    y *= 0.5
    return x


def written_copy(self, x):
    y = x.contiguous()
    y.relu_()
    return x


def into(self, x):
    torch.sigmoid(x, out=x)
    return x


def padded_twice(self, x):
    x = F.pad(x, (1, 1, 1, 1))
    return F.conv2d(F.dropout(x, 0.5, False), self.b.weight) + F.conv2d(x, self.b.weight)


NETWORKS = {
    "a convolution before two norms": SharedConvolution,
    "a hook of the whole network": hooked,
    "a call of its own": Scaled,
    "a forward of its own": lambda: patched("", lambda self, x: Body.forward(self, 2 * x + 1)),
    "a layer's own forward": lambda: patched(
        "b", lambda self, x: F.conv2d(x.flip(3), self.weight, self.bias, padding=1)
    ),
    "a layer's own convolution": tiled,
    "another name of a sum": lambda: Body(skip),
    "every second pixel written": lambda: Body(written_view),
    "some channels written": lambda: Body(written_part),
    "what contiguous gives written": lambda: Body(written_copy),
    "out": lambda: Body(into),
    "one number for all positions": lambda: Body(lambda self, x: F.avg_pool2d(x, x.shape[2:]) * x),
    "gated by its mean": lambda: Body(lambda self, x: x * torch.sigmoid(F.avg_pool2d(x, x.size()[2:]))),
    "the first pixel": lambda: Body(lambda self, x: x - x[:, :, :1, :1]),
    "a row": lambda: Body(lambda self, x: torch.maximum(x, x[:, :, :1])),
    "another stride": lambda: Body(
        lambda self, x: x.as_strided((x.shape[0], 8, 12, 16), (8 * 24 * 32, 24 * 32, 64, 2))
    ),
    "a pad with two readers": lambda: Body(padded_twice),
    "keywords of cat": lambda: Body(lambda self, x: torch.cat(tensors=[x, x], dim=1)[:, :8]),
    "keywords of split": lambda: Body(
        lambda self, x: torch.cat(torch.split(x, split_size_or_sections=4, dim=1), 1)
    ),
    "keywords of a layer": lambda: Body(lambda self, x: self.norm(input=self.b(input=x))),
    "numbers seen as bits": lambda: Body(lambda self, x: x.view(torch.int32).bitwise_and(-65536).view(torch.float32)),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_the_networks_own(name):
    module = NETWORKS[name]().eval()
    planner = Planner(module, normalise, SIZE, CPU, method="incremental", runtime="torch")
    for cut in (None, *planner.cuts):
        planner.use(2, cut)
        assert difference(planner, module, 2, seed=1) < 1e-4, cut
        if planner.reason:
            break


def test_a_network_that_differs_in_windows_has_no_exchanges_either(tmp_path):
    module = NETWORKS["another name of a sum"]().eval()
    planner = Planner(module, normalise, SIZE, CPU, method="incremental", runtime="torch")
    assert planner.cuts
    assert not planner.exchanges(1)
    assert planner.plan(2, with_windows=True).cut is None
    assert planner.bytes_per_image(2) == 0
    assert planner.convert(2, tmp_path) is None


def test_a_number_that_is_read_off_the_map_is_no_constant():
    module = Body(lambda self, x: x / x.abs().max().item()).eval()
    planner = Planner(module, normalise, SIZE, CPU, method="incremental", runtime="torch")
    planner.use(2, planner.cuts[-1])
    assert "in windows it gives other numbers than by itself" in planner.reason


def test_batch_norm_reads_the_second_dimension_wherever_channels_are():
    torch.manual_seed(0)
    body = Body(lambda self, x: self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)).eval()
    planner = Planner(body, normalise, (WIDTH, 10), CPU, method="incremental", runtime="torch")
    for cut in planner.cuts:
        planner.use(2, cut)
        assert difference(planner, body, 2, seed=1) < 1e-4


RANDOM = {
    "noise": lambda self, x: x + 0.5 * torch.randn_like(x),
    "a random weight": lambda self, x: F.conv2d(
        x, self.b.weight + torch.randn_like(self.b.weight), padding=1
    ),
    "dropout of weights": lambda self, x: F.conv2d(x, F.dropout(self.b.weight, 0.5, True), padding=1),
    "python": lambda self, x: x * random.random(),
    "numpy": lambda self, x: x * float(np.random.rand()),
}


@pytest.mark.parametrize("name", RANDOM)
def test_a_network_that_draws_random_numbers_draws_them_for_every_pass(name):
    module = Body(RANDOM[name]).eval()
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
    planner = Planner(module, normalise, SIZE, CPU, method="incremental", runtime="torch")
    assert "draws random numbers" in planner.reason
    after = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    images = torch.randint(0, 256, (1, *SIZE, 3), dtype=torch.uint8)
    candidates, evaluator = draw_candidates(SIZE, 16, 1, 0), CandidateEvaluator(planner)
    positions, attacked = candidates.positions(SIZE[1]), apply(images.repeat(16, 1, 1, 1), candidates)
    ours = torch.stack(
        [evaluator(images, [0] * 16, positions, candidates.colours).mean(0) for _ in range(100)]
    )
    theirs = torch.stack([plain(module, attacked).mean(0) for _ in range(100)])
    # The same distribution: a mean within five standard errors, and as wide.
    error = (ours.var(0) / 100 + theirs.var(0) / 100).sqrt()
    assert (ours.std(0) > 0).all()
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 5 * error).all()
    ratio = ours.std(0) / theirs.std(0)
    assert ((ratio > 0.5) & (ratio < 2)).all()


class Blocks(nn.Module):
    """Each asks for its sizes."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1) for _ in range(count)])
        self.calls = 0

    def forward(self, x):
        for layer in self.layers:
            assert x.shape[1] == 3
            assert x.shape[2] % 2 == 0
            x = layer(x)
        return x.mean((2, 3))


def test_a_condition_in_each_of_many_blocks_is_settled_once(monkeypatch):
    from mmer_core.incremental import tracer

    ran = []
    run = tracer._Tracer._run
    monkeypatch.setattr(
        tracer._Tracer, "_run", lambda self, node, *rest: (ran.append(node), run(self, node, *rest))[1]
    )
    planner = Planner(Blocks(30).eval(), normalise, SIZE, CPU, method="incremental", runtime="torch")
    assert planner.layers == (30, 30)
    assert len(ran) < 3 * 400  # a handful of nodes a block, for three sizes of the batch


def test_a_constant_that_is_much_larger_than_what_it_is_made_of_is_not_kept():
    def forward(self, x):
        weight = self.a.weight.flatten()[:, None]
        return x + (weight.expand(-1, 2000) * 1.0).sum()

    planner = Planner(Body(forward).eval(), normalise, SIZE, CPU, method="incremental", runtime="torch")
    assert planner._program is not None
    assert max(each.numel() for each in planner._program.graph.buffers()) < 2000
