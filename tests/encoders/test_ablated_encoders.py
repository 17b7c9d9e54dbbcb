"""Encoders that see a few random pixels: which, of what, and what they are refused for."""

import numpy as np
import pytest
import torch
from support.encoder_helpers import pictures, refused

from mmer_core.encoders import load_image_encoder
from mmer_core.encoders.ablation import ablated_features, ablation_of
from mmer_core.encoders.networks.ablation import Ablation, kept_pixels
from mmer_core.encoders.registry import bare_name, encoder_identity, is_defended, wrappers
from mmer_core.incremental.encoded import planner_of

LITE = "packaged:efficientnet_lite0"
MEAN, STD = (120.0, 110.0, 100.0), (60.0, 65.0, 70.0)


def normalised(images: np.ndarray) -> torch.Tensor:
    levels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (levels - mean) / std


def test_so_many_pixels_are_kept_and_the_others_are_the_mean_colour() -> None:
    images = normalised(pictures(20, 12))
    seen = Ablation(17, MEAN, STD)(images)
    kept = (seen != 0).any(dim=1)
    assert (kept.flatten(1).sum(dim=1) == 17).all()
    assert torch.equal(seen, torch.where(kept[:, None], images, torch.zeros_like(images)))
    assert len({tuple(one.flatten().tolist()) for one in kept}) == 20  # a drawing each


def test_a_drawing_depends_on_the_image_alone() -> None:
    images = pictures(6, 10)
    ablation = Ablation(9, MEAN, STD)
    together = ablation(normalised(images))
    assert torch.equal(together, torch.cat([ablation(one) for one in normalised(images).split(1)]))
    # However the same image is normalised, as other devices round it.
    shaken = normalised(images) * (1 + 1e-6)
    assert torch.equal(ablation(shaken) != 0, together != 0)
    other = images.copy()
    other[:, 0, 0, 0] ^= 1
    assert not torch.equal(ablation(normalised(other)) != 0, together != 0)


def test_an_encoder_behind_an_ablation() -> None:
    ablated = load_image_encoder(f"ablation:41:{LITE}", 32)
    assert ablated.name == f"ablation:41:{LITE}"
    assert encoder_identity(ablated.name, "image") == {
        "filter": "ablation 41",
        **encoder_identity(LITE, "image"),
    }
    assert bare_name(f"mirror:{ablated.name}") == LITE
    assert is_defended(f"mirror:{ablated.name}")
    assert [one.name for one in wrappers(f"mirror:{ablated.name}")] == ["mirror", "ablation"]
    assert ablation_of(ablated.name) == (41, LITE)
    assert ablation_of(f"ablation:{LITE}") == (2000, LITE)
    assert ablation_of(LITE) is None
    images = pictures(2, 32)
    assert torch.allclose(ablated.encode(images)[1], ablated.encode(images[1:])[0], atol=1e-4)


def test_features_of_drawings_are_those_of_the_encoder_on_what_is_kept() -> None:
    encoder, (image,) = load_image_encoder(LITE, 32), pictures(1, 32)
    found = ablated_features(encoder, image, 100, 35, np.random.default_rng(3))
    again = np.random.default_rng(3)
    masks = torch.cat([kept_pixels(again, (32, 32), 100, count) for count in (32, 3)])
    with torch.inference_mode():
        for number in (0, 7, 34):
            seen = encoder.normalise(image[None]) * masks[number]
            assert torch.allclose(found[number], encoder.module(seen)[0], atol=1e-3)
    assert found.shape == (35, 1280)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"ablation:0:{LITE}", "an ablation keeps 1 pixel or more"),
        (
            f"ablation:1024:{LITE}",
            "keeps no fewer than all 1,024 pixels .* give ablation:41, the usual share",
        ),
        (f"ablation:{LITE}", "ablation:2000 keeps no fewer than all 1,024"),
        ("ablation:9:", "unknown image encoder"),
    ],
)
def test_an_ablation_that_cannot_be(name: str, said: str) -> None:
    with refused(said):
        load_image_encoder(name, 32)


def test_one_drawing_is_not_attacked() -> None:
    for name in (f"ablation:41:{LITE}", f"mirror:ablation:41:{LITE}"):
        with refused("an attack on one drawing says nothing .* mmer robustness --defence ablation"):
            planner_of(load_image_encoder(name, 32))


@pytest.mark.filterwarnings("ignore:.torch.jit.trace")
def test_a_network_that_is_written_to_a_file_draws_nothing() -> None:
    with refused("which no exported network does"):
        torch.jit.trace(Ablation(3, MEAN, STD), normalised(pictures(1, 8)))
