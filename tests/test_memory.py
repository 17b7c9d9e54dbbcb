"""A device whose memory is full: passes are halved once, and shards share it."""

import logging

import numpy as np
import pytest
import torch
from support.encoder_helpers import pictures
from support.incremental_helpers import CPU, draw_candidates, network, normalise, plain
from support.poison_toys import SIDE, toy_encoder
from support.simulated_cuda import simulated_cuda
from support.toy_training import config, emotion_data, spec
from torch import nn

from mmer_core.attacks import ClassifierVictim, DominantEmotionFlip, Outcome, SparseRS, apply, run_attack
from mmer_core.encoders import TextEncoder
from mmer_core.errors import ConfigError
from mmer_core.incremental.evaluator import CandidateEvaluator
from mmer_core.incremental.network import IncrementalNetwork
from mmer_core.incremental.planning import Method, Planner
from mmer_core.memory import Passes, clean_maps_bytes
from mmer_core.models import build_model
from mmer_core.runtimes import compile_network
from mmer_core.threads import shared_cores
from mmer_core.training.emotion_learner import EmotionLearner
from mmer_core.training.learner import Losses
from mmer_core.training.loop import Progression, fit, initialisation

FULL: dict[str, RuntimeError] = {
    "allocator": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cuDNN": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "launch": torch.AcceleratorError("CUDA error: out of memory"),
    "MPS": RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GB, max allowed: 1.10 GB)."),
}
"""What PyTorch raises where a device has no memory left."""


class Small(nn.Module):
    """Is out of memory for more than some items at a time, and keeps how many there were."""

    def __init__(self, inner: nn.Module, most: int, error: RuntimeError = FULL["allocator"]) -> None:
        super().__init__()
        self.inner, self.most, self.error, self.seen = inner, most, error, []

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        if len(maps) > self.most:
            raise self.error
        self.seen.append(len(maps))
        return self.inner(maps)


@pytest.mark.parametrize("kind", FULL)
def test_an_encoder_goes_on_with_half_and_warns_once(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    encoder, images = toy_encoder(), pictures(10, SIDE)
    whole = encoder.encode(images)
    encoder.module = small = Small(encoder.module, 5, FULL[kind])
    with caplog.at_level(logging.WARNING):
        found = [encoder.encode(images) for _ in range(2)]
    for one in found:
        torch.testing.assert_close(one, whole)
    assert small.seen == [5, 5, 5, 5]  # the second time without a failure
    assert [record.message.partition(",")[0] for record in caplog.records] == [
        "the memory of the device is too small for 10 items in a pass"
    ]
    small.most = 4
    with pytest.raises(
        ConfigError, match="too small even for 5 items in a pass; give a smaller --batch-size"
    ):
        encoder.encode(images)


def test_texts_and_classifiers_too() -> None:
    texts = TextEncoder(
        "t", Small(nn.Identity(), 2), lambda lines: {"maps": torch.tensor([[len(one)] for one in lines])}, 1
    )
    assert texts.encode(["a", "bbb", "cc", "dddd"])[:, 0].tolist() == [1, 3, 2, 4]
    network = Small(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), 3)
    victim = ClassifierVictim(network, (0.0,) * 3, (1.0,) * 3, (8, 8))
    images = torch.from_numpy(pictures(6, 8))
    expected = images.float().mean(dim=(1, 2)) / 255
    torch.testing.assert_close(victim.scores(images, torch.arange(6)), expected)


def test_a_device_that_is_full() -> None:
    with simulated_cuda(most_bytes=4 * 3 * SIDE * SIDE * 6):  # six images in float32
        encoder = toy_encoder().to(torch.device("cuda", 0))
        found = encoder.encode(pictures(10, SIDE)).cpu()
    torch.testing.assert_close(found, toy_encoder().encode(pictures(10, SIDE)))


@pytest.mark.parametrize("method", ["dense", "incremental"])
def test_an_attack_goes_on_with_half_of_a_pass(method: Method, caplog: pytest.LogCaptureFixture) -> None:
    """Maps of 8 x 16 x 16 floats: a pass of 64 is too large, one of 32 is not."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(8 * 16 * 16, 4)).eval()
    images = pictures(3, 16)

    def attacked(victim: ClassifierVictim) -> list[Outcome]:
        tops = victim.scores(torch.from_numpy(images), torch.arange(3)).argmax(dim=1).cpu().numpy()
        criterion = DominantEmotionFlip(tops)
        return run_attack(victim, criterion, SparseRS(), images, list("abc"), pixels=2, budget=8)

    expected = attacked(ClassifierVictim(network, (0.5,) * 3, (0.2,) * 3, (16, 16), method=method))
    with simulated_cuda(most_bytes=4 * 8 * 16 * 16 * 40), caplog.at_level(logging.WARNING):
        there = network.to(torch.device("cuda", 0))
        found = attacked(ClassifierVictim(there, (0.5,) * 3, (0.2,) * 3, (16, 16), method=method))
    assert [one.status for one in found] == [one.status for one in expected]
    assert [one.queries for one in found] == [one.queries for one in expected]
    warned = [record.message.partition(",")[0] for record in caplog.records]
    assert warned == ["the memory of the device is too small for 64 items in a pass"]


class Full(EmotionLearner):
    """Is out of memory for more than some samples at a time."""

    most, seen = 8, 0

    def losses(self, rows: torch.Tensor) -> Losses:
        if len(rows) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.seen = max(self.seen, len(rows))
        return super().losses(rows)


def trained(
    learned: type[EmotionLearner], most: int = 8, **fields: object
) -> tuple[Progression, EmotionLearner]:
    asked = config(epochs=3, **fields)
    with initialisation(0):
        learner = learned(
            build_model(spec("emotion", "joint")), emotion_data(256, 1), emotion_data(64, 2), asked
        )
    learner.most = most
    return fit(learner, asked, device=torch.device("cpu")), learner


def test_training_goes_on_with_halves_as_if_they_had_been_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    expected, _ = trained(EmotionLearner, batch_size=16, accumulate=2)
    assert not expected.halved
    with caplog.at_level(logging.WARNING):
        found, learner = trained(Full, batch_size=16)
    assert (found.halved, learner.seen) == (1, 8)
    assert [record.message for record in caplog.records] == [
        "the memory of the device is too small to train on 16 samples in 1 part, so training goes on with 2, as with a "
        "doubled --training.accumulate"
    ]
    for row, other in zip(found.history, expected.history, strict=True):
        assert row == pytest.approx(other, rel=0.05)
    with pytest.raises(
        ConfigError, match=r"16 samples with --training.accumulate 2; give a smaller --training.batch-size"
    ):
        trained(Full, most=7, batch_size=16)


def test_shards_share_a_quarter_of_the_device() -> None:
    assert clean_maps_bytes(torch.device("cpu")) == 2**30
    with simulated_cuda():  # of 1 GiB
        for workers in (1, 4):
            with shared_cores(workers):
                assert clean_maps_bytes(torch.device("cuda", 0)) == 2**28 // workers


def test_another_error_is_none_of_memory() -> None:
    def wrong(_: np.ndarray) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        Passes()(wrong, torch.zeros(4, 2))


@pytest.mark.parametrize("failing", [0, 1, 3])
def test_an_image_whose_maps_found_no_memory_is_computed_again(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, module = (16, 16), network()
    planner = Planner(module, normalise, size, CPU, method="incremental", runtime="torch")
    planner.plan(2)  # which compares it with the network
    remember, calls = IncrementalNetwork.remember, iter(range(100))

    def full(self: IncrementalNetwork, slot: int, image: torch.Tensor) -> None:
        if next(calls) == failing:
            raise FULL["allocator"]
        remember(self, slot, image)

    monkeypatch.setattr(IncrementalNetwork, "remember", full)
    images = torch.from_numpy(pictures(4, 16))
    candidates, rows = draw_candidates(size, 8, 2, 0), torch.arange(8) % 4
    positions = candidates.positions(16)
    found = CandidateEvaluator(planner)(images, rows.tolist(), positions, candidates.colours)
    torch.testing.assert_close(found, plain(module, apply(images[rows], candidates)))


def test_a_device_that_is_full_while_a_network_is_prepared_does_not_change_its_layout() -> None:
    module = nn.Conv2d(3, 4, 3)
    compiled = compile_network(Small(module, 4), torch.zeros(8, 3, 8, 8), "torch")
    assert compiled.run(torch.zeros(4, 3, 8, 8)).is_contiguous(memory_format=torch.channels_last)
    assert module.weight.is_contiguous(memory_format=torch.channels_last)


def test_one_item_is_not_halved() -> None:
    def full(_: np.ndarray) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        Passes()(full, torch.zeros(1, 2))
