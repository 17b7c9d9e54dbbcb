"""What every encoder does with pixels and texts, whatever network is inside."""

import numpy as np
import pytest
import torch
from PIL import Image
from support.encoder_helpers import pictures
from torch import nn

from mmer_core.encoders import ImageEncoder, TextEncoder
from mmer_core.encoders.base import Preprocessing

MEAN, STD = (10.0, 127.5, 200.0), (2.0, 50.0, 128.0)


class Flat(nn.Module):
    """Says exactly what it is shown, channel by channel."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.contiguous().flatten(1)


class TokenStatistics(nn.Module):
    """Sum and number of the tokens that are not padding."""

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return torch.stack([(ids * mask).sum(1), mask.sum(1)], dim=1).float()


def characters(texts: list[str]) -> dict[str, torch.Tensor]:
    longest = max(len(text) for text in texts)
    ids = torch.full((len(texts), longest), 999)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor([ord(letter) for letter in text])
        mask[row, : len(text)] = 1
    return {"ids": ids, "mask": mask}


@pytest.fixture
def flat() -> ImageEncoder:
    return ImageEncoder("flat", Flat(), Preprocessing(6, MEAN, STD), width=108)


def test_the_network_sees_normalised_channels_first_pixels(flat):
    images = pictures(3, 6)
    by_hand = ((images.astype(np.float64) - MEAN) / STD).transpose(0, 3, 1, 2).reshape(3, -1)
    for given in (images, torch.from_numpy(images)):
        encoded = flat.encode(given)
        assert encoded.dtype == torch.float32
        np.testing.assert_allclose(encoded.numpy(), by_hand, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "images",
    [pictures(1, 6).astype(np.float32), pictures(1, 5), pictures(1, 6)[..., :1], pictures(1, 6)[0]],
    ids=["float", "other size", "one channel", "no batch"],
)
def test_other_pixels_are_refused(flat, images):
    with pytest.raises(ValueError, match="flat encodes uint8 images of shape"):
        flat.encode(images)


def test_resize_is_antialiased_bilinear_of_the_same_kind(flat):
    large = pictures(2, 24, seed=1)
    small = flat.resize(large)
    assert (small.dtype, small.shape) == (np.uint8, (2, 6, 6, 3))
    for before, after in zip(large, small, strict=True):
        pillow = np.asarray(Image.fromarray(before).resize((6, 6), Image.Resampling.BILINEAR))
        assert np.abs(pillow.astype(int) - after).max() <= 1
    assert flat.resize(small) is small
    assert flat.resize(pictures(1, 4)).shape == (1, 6, 6, 3)


def test_an_encoder_is_frozen_and_in_evaluation_mode():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten())
    encoder = ImageEncoder("net", network, Preprocessing(4, MEAN, STD), width=64)
    images = pictures(4, 4)
    first = encoder.encode(images)
    assert not first.requires_grad
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(first, encoder.encode(images))
    assert network[1].num_batches_tracked == 0


def test_texts_come_back_in_the_order_given_however_they_are_batched():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdef"), size=n)) for n in rng.integers(1, 30, size=23)]
    texts += texts[4:9]  # some stand there twice
    by_hand = [[sum(map(ord, text)), len(text)] for text in texts]
    encoder = TextEncoder("letters", TokenStatistics(), characters, width=2)
    for batch_size in (1, 4, 28, 100):
        assert encoder.encode(texts, batch_size).tolist() == by_hand
    assert encoder.encode([]).shape == (0, 2)


def test_texts_are_read_as_one_line():
    """Captions are stored as they are; what encoders make of them does not depend on their blanks."""
    encoder = TextEncoder("letters", TokenStatistics(), characters, width=2)
    same = ["a dog", " a\r\n\t dog\u2028"]
    assert encoder.encode(same).tolist() == [[sum(map(ord, "a dog")), 5]] * 2
    assert encoder.tokens(same)["ids"].tolist() == [list(map(ord, "a dog"))] * 2
