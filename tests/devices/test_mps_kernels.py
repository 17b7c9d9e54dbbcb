"""Attacks ask for no operation that PyTorch lacks on MPS, which ``device = "auto"`` prefers on a Mac."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from support.incremental_helpers import network
from support.on_device import CUDA, REAL
from support.simulated_cuda import _SIMULATION, simulated_cuda

from mmer_core.attacks import ClassifierVictim, DominantEmotionFlip, run_attack
from mmer_core.attacks.registry import ATTACKS

pytestmark = pytest.mark.skipif(REAL, reason="the simulated device notes what it is asked")
SIDE = 12


@cache
def declared() -> dict[str, dict[str, Any]]:
    """What PyTorch's list of operations says of each."""
    listed = files("torchgen").joinpath("packaged/ATen/native/native_functions.yaml").read_text("utf-8")
    return {entry["func"].partition("(")[0]: entry for entry in yaml.load(listed, Loader=yaml.CSafeLoader)}


def is_on_mps(name: str) -> bool:
    entry = declared()[name]
    if delegate := entry.get("structured_delegate"):
        entry = declared()[delegate]
    kernels = entry.get("dispatch", {"CompositeImplicitAutograd": ""})
    return any("MPS" in where or where.startswith("Composite") for where in kernels)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The operations on tensors of a device."""
    names: set[str] = set()
    run = _SIMULATION.run

    def noted(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        names.add(func._schema.name.removeprefix("aten::") + (f".{name}" if (name := func._schema.overload_name) else ""))  # fmt: skip
        return run(func, args, kwargs)

    monkeypatch.setattr(_SIMULATION, "run", noted)
    with simulated_cuda(float64=False):
        yield names


def test_the_list_says_what_there_is() -> None:
    assert is_on_mps("add.Tensor")
    assert is_on_mps("searchsorted.Tensor")
    assert not is_on_mps("take")


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("pixels", [1, 3])
def test_an_attack_runs_on_mps(name: str, pixels: int, asked: set[str]) -> None:
    attack = ATTACKS[name]()
    if name == "exhaustive" and pixels > 1:
        pytest.skip("it changes one pixel")
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    victim = ClassifierVictim(network().to(CUDA), (0.5,) * 3, (0.2,) * 3, (SIDE, SIDE))
    tops = victim.scores(torch.from_numpy(images), torch.arange(2)).argmax(dim=1).cpu().numpy()
    run_attack(victim, DominantEmotionFlip(tops), attack, images, ["a", "b"], pixels=pixels, budget=12)
    assert {"add.Tensor", "convolution"} & asked
    assert sorted(one for one in asked if not is_on_mps(one)) == []
