"""``regions:`` and ``tokens:`` in front of an encoder's name, against loops and the models' own states."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from support.encoder_helpers import pictures, refused
from support.hf_folders import build
from transformers import AutoModel

from mmer_core.config import bare_name
from mmer_core.encoders import encoder_identity, load_image_encoder, load_text_encoder
from mmer_core.encoders.parts import GRID, TOKENS, parts

IMAGE = "packaged:efficientnet_lite0"
TEXT = "packaged:all-MiniLM-L6-v2"


def cells(maps: torch.Tensor) -> torch.Tensor:
    """``(B, D, h, w)`` to ``(B, GRID * GRID, D)``: means over windows that together cover every place."""
    height, width = maps.shape[2:]
    means = [
        maps[
            :,
            :,
            row * height // GRID : math.ceil((row + 1) * height / GRID),
            column * width // GRID : math.ceil((column + 1) * width / GRID),
        ].mean(dim=(2, 3))
        for row in range(GRID)
        for column in range(GRID)
    ]
    return torch.stack(means, dim=1)


@pytest.mark.parametrize("side", [128, 224])
def test_regions_are_means_of_the_last_feature_map(side):
    plain, divided = load_image_encoder(IMAGE, side), load_image_encoder(f"regions:{IMAGE}", side)
    images = pictures(2, side)
    found = divided.encode(images)
    assert found.shape == (2, divided.width) == (2, GRID * GRID * plain.width)
    with torch.inference_mode():
        maps = plain.module.network.extract_features(plain.normalise(images))
    torch.testing.assert_close(found.unflatten(1, (16, -1)), cells(maps), rtol=1e-4, atol=1e-4)
    if side == 128:  # a map of 4 x 4: the regions' mean is the plain encoder's pooling
        pooled = found.unflatten(1, (16, -1)).mean(dim=1)
        torch.testing.assert_close(pooled, plain.encode(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "tower", "first"),
    [
        ("vit", lambda model: model, 1),
        ("dinov2_registers", lambda model: model, 3),
        ("clip", lambda model: model.vision_model, 1),
        ("siglip", lambda model: model.vision_model, 0),
    ],
)
def test_regions_of_a_transformer_are_those_of_its_patches(name, tower, first, tmp_path: Path):
    folder = build(name, tmp_path / name)
    encoder = load_image_encoder(f"regions:hf:{folder}")
    images = pictures(2, encoder.preprocessing.size)
    with torch.inference_mode():
        model = tower(AutoModel.from_pretrained(folder).eval())
        states = model(pixel_values=encoder.normalise(images)).last_hidden_state[:, first:]
    side = math.isqrt(states.shape[1])
    assert side**2 == states.shape[1]
    expected = cells(states.transpose(1, 2).unflatten(2, (side, side)))
    torch.testing.assert_close(encoder.encode(images).unflatten(1, (16, -1)), expected, rtol=1e-4, atol=1e-5)


def test_the_mirror_image_has_the_mirrored_regions():
    encoder = load_image_encoder(f"regions:mirror:{IMAGE}", 128)
    images = pictures(2, 128)
    one, other = (
        encoder.encode(x).unflatten(1, (GRID, GRID, -1)) for x in (images, images[:, :, ::-1].copy())
    )
    torch.testing.assert_close(one, other.flip(2), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(one, other, atol=1e-2)


def test_tokens_are_the_states_of_a_text_alone():
    encoder = load_text_encoder(f"tokens:{TEXT}")
    texts = ["ball", "Two dogs run through deep snow, and a man in red looks on.", "dog " * 50]
    found = encoder.encode(texts).unflatten(1, (TOKENS, -1))
    for row, text in zip(found, texts, strict=True):
        with torch.inference_mode():
            states = encoder.module.model(**encoder.tokenize([text])).last_hidden_state[0, :TOKENS]
        torch.testing.assert_close(row[: len(states)], states, rtol=1e-3, atol=1e-4)
        assert not row[len(states) :].any()
    assert [int((row != 0).any(dim=1).sum()) for row in found] == [3, 17, TOKENS]


def test_parts_are_counted_by_name():
    names = (IMAGE, f"mirror:{IMAGE}", f"regions:{IMAGE}", f"regions:mirror:{IMAGE}", f"tokens:{TEXT}")
    assert [parts(name) for name in names] == [1, 1, 16, 16, 32]
    assert {bare_name(name) for name in names} == {IMAGE, TEXT}
    for name, modality in ((f"mirror:{IMAGE}", "image"), (TEXT, "text")):
        front = "regions" if modality == "image" else "tokens"
        assert encoder_identity(name, modality) != encoder_identity(f"{front}:{name}", modality)


def test_what_has_no_parts_is_refused(tmp_path: Path):
    with refused("has features of regions; name it the other way round: regions:mirror:"):
        load_image_encoder(f"mirror:regions:{IMAGE}", 64)
    for name in ("meanmax:tokens", "tokens:meanmax", "tokens:tokens"):
        with refused("has no states of single tokens"):
            load_text_encoder(f"{name}:{TEXT}")
    with refused("has no feature map to divide into regions"):
        load_image_encoder(f"regions:regions:{IMAGE}", 64)
    folder = build("clip", tmp_path / "clip")
    with refused("has no states of single tokens; name it without tokens:"):
        load_text_encoder(f"tokens:hf:{folder}")


def test_regions_do_not_depend_on_the_batch():
    encoder = load_image_encoder(f"regions:{IMAGE}", 96)
    images = pictures(3, 96)
    alone = np.concatenate([encoder.encode(images[i : i + 1]).numpy() for i in range(3)])
    np.testing.assert_allclose(encoder.encode(images).numpy(), alone, rtol=1e-3, atol=1e-4)
