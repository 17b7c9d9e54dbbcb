"""How exactly float32 is computed, by the flags that kernels look at, in blocks and in the places that judge."""

import threading

import numpy as np
import pytest
import torch
from support.toy_training import CPU, config, learner
from torch import nn

import mmer_core as mmer
from mmer_core.device import described
from mmer_core.kernels import exact_float32, float32_kernels
from mmer_core.training.loop import fit

EXACT, TF32 = ("ieee",) * 3, ("tf32",) * 3


def flags() -> tuple[str, str, str]:
    """Of products, convolutions and recurrent layers; the older names agree, or PyTorch refuses to tell them."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    found = (cuda.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision)
    assert cuda.allow_tf32 == (found[0] == "tf32")
    assert cudnn.allow_tf32 == (found[1] == "tf32")
    return found


class Looking(nn.Module):
    """A classifier that keeps the flags under which it ran."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, str, str]] = set()
        self.linear = nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.add(flags())
        return self.linear(images.mean(dim=(2, 3)))


@pytest.mark.parametrize("wanted", ["default", "older", "newer"])
def test_an_attack_judges_in_float32_and_leaves_the_flags_as_they_were(wanted: str) -> None:
    if wanted == "older":
        torch.backends.cuda.matmul.allow_tf32 = True
    if wanted == "newer":
        torch.backends.fp32_precision = "tf32"
    try:
        network, images = Looking(), np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
        read = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
        before = [part.fp32_precision for part in read]
        mmer.attack(network, images, [0, 0], budget=5)
        assert network.seen == {EXACT}
        assert [part.fp32_precision for part in read] == before
    finally:
        torch.backends.fp32_precision = "none"
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = False, True


def test_who_needs_float32_wins_over_who_would_take_less() -> None:
    before, entered, leave = flags(), threading.Event(), threading.Event()

    def judging() -> None:
        with exact_float32():
            entered.set()
            leave.wait()

    judge = threading.Thread(target=judging)
    with float32_kernels(tf32=True):
        assert flags() == TF32
        judge.start()
        entered.wait()
        assert flags() == EXACT
        leave.set()
        judge.join()
        assert flags() == TF32
    assert flags() == before


@pytest.mark.parametrize(("precision", "expected"), [("tf32", TF32), ("float32", EXACT)])
def test_training_takes_tf32_where_it_is_asked_for(precision, expected, monkeypatch) -> None:
    monkeypatch.setattr("mmer_core.training.loop.precision_on", lambda _, asked: asked.precision)
    one = learner("retrieval", "joint", config(epochs=1, precision=precision))
    seen, losses = set(), one.losses
    monkeypatch.setattr(one, "losses", lambda rows: (seen.add(flags()), losses(rows))[1])
    fit(one, config(epochs=1, precision=precision), device=CPU)
    assert seen == {expected}


def test_a_device_is_described_for_manifests() -> None:
    assert described(CPU).keys() == {"device", "device_name", "torch"}
    assert described(CPU)["device_name"]
