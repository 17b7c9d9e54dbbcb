"""A device whose memory is full: passes are halved once, and shards share it."""

import logging

import numpy as np
import pytest
import torch
from support.encoder_helpers import pictures
from support.poison_toys import SIDE, toy_encoder
from support.simulated_cuda import simulated_cuda
from torch import nn

from mmer_core.attacks import ClassifierVictim
from mmer_core.encoders import TextEncoder
from mmer_core.errors import ConfigError
from mmer_core.memory import Passes, clean_maps_bytes
from mmer_core.threads import shared_cores


class Small(nn.Module):
    """Is out of memory for more than some items at a time, and keeps how many there were."""

    def __init__(self, inner: nn.Module, most: int) -> None:
        super().__init__()
        self.inner, self.most, self.seen = inner, most, []

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        if len(maps) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.seen.append(len(maps))
        return self.inner(maps)


def test_an_encoder_goes_on_with_half_and_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    encoder, images = toy_encoder(), pictures(10, SIDE)
    whole = encoder.encode(images)
    encoder.module = small = Small(encoder.module, most=5)
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


def test_shards_share_a_quarter_of_the_device() -> None:
    assert clean_maps_bytes(torch.device("cpu")) == 2**30
    with simulated_cuda():  # of 1 GiB
        for workers in (1, 4):
            with shared_cores(workers):
                assert clean_maps_bytes(torch.device("cuda", 0)) == 2**28 // workers


def test_one_item_is_not_halved() -> None:
    def full(_: np.ndarray) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        Passes()(full, torch.zeros(1, 2))
