"""``mirror:`` and ``meanmax:`` in front of an encoder's name, against the plain encoder and loops."""

import numpy as np
import pytest
import torch
from support.encoder_helpers import pictures, refused
from torch import Tensor, nn

from mmer_core.encoders import encoder_identity, load_image_encoder, load_text_encoder
from mmer_core.encoders.base import TextEncoder
from mmer_core.encoders.meanmax import mean_and_max

IMAGE = "packaged:efficientnet_lite0"
TEXT = "packaged:all-MiniLM-L6-v2"
TEXTS = ["a dog", "Two dogs run through deep snow, and a man in red looks on.", "ball"]


def test_mirror_averages_an_image_and_its_mirror_image():
    plain, both = load_image_encoder(IMAGE, 64), load_image_encoder(f"mirror:{IMAGE}", 64)
    images = pictures(3, 64)
    found = both.encode(images)
    expected = (plain.encode(images) + plain.encode(images[:, :, ::-1].copy())) / 2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, plain.encode(images), atol=1e-2)
    torch.testing.assert_close(both.encode(images[:, :, ::-1].copy()), found, rtol=1e-4, atol=1e-4)
    assert (both.name, both.width, both.size) == (f"mirror:{IMAGE}", plain.width, plain.size)


def test_meanmax_pools_every_text_by_itself():
    plain, pooled = load_text_encoder(TEXT), load_text_encoder(f"meanmax:{TEXT}")
    found = pooled.encode(TEXTS)
    assert found.shape == (len(TEXTS), pooled.width) == (3, 2 * plain.width)
    model: nn.Module = plain.module.model
    for row, text in zip(found, TEXTS, strict=True):
        with torch.inference_mode():
            states = model(**plain.tokenize([text])).last_hidden_state[0]  # alone: nothing is padded
        mean = states.mean(dim=0)
        torch.testing.assert_close(row[: plain.width], mean / mean.norm(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(row[plain.width :], states.max(dim=0).values, rtol=1e-3, atol=1e-4)
    means = nn.functional.normalize(plain.encode(TEXTS), dim=-1)
    torch.testing.assert_close(found[:, : plain.width], means, rtol=1e-3, atol=1e-4)


def test_an_encoder_and_its_variants_have_features_of_their_own():
    for name, prefix, modality in ((IMAGE, "mirror", "image"), (TEXT, "meanmax", "text")):
        plain, variant = encoder_identity(name, modality), encoder_identity(f"{prefix}:{name}", modality)
        assert plain != variant
        assert plain.items() <= variant.items()


class Pooled(nn.Module):
    def forward(self, length: Tensor) -> Tensor:
        return torch.stack([length, length**2], dim=1).float()


def test_what_has_no_token_states_is_refused():
    def tokenize(texts: list[str]) -> dict[str, Tensor]:
        return {"length": torch.tensor([len(text) for text in texts])}

    with refused("lengths has no states of single tokens to pool; name it without meanmax:"):
        mean_and_max(TextEncoder("lengths", Pooled(), tokenize, width=2))


@pytest.mark.parametrize("name", ["mirror:", "mirror:nothing:x", "mirror:packaged:nothing"])
def test_a_variant_of_an_unknown_encoder_is_unknown(name):
    with refused("unknown image encoder|no packaged image encoder"):
        load_image_encoder(name)


def test_rounding_of_one_view_does_not_depend_on_the_batch():
    both = load_image_encoder(f"mirror:{IMAGE}", 64)
    images = pictures(4, 64)
    alone = np.concatenate([both.encode(images[i : i + 1]).numpy() for i in range(4)])
    np.testing.assert_allclose(both.encode(images).numpy(), alone, rtol=1e-3, atol=1e-4)
