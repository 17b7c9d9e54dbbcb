"""Hugging Face towers from folders against the models' own methods, and folders that must be refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file
from support.encoder_helpers import pictures, refused
from support.hf_folders import BUILDERS, TEXTS, build
from torch.nn.functional import normalize
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    BlipForImageTextRetrieval,
    Siglip2Model,
    ViTForImageClassification,
)

from mmer_core.encoders import encoder_identity, load_image_encoder, load_text_encoder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: build(name, tmp_path_factory.mktemp(name)) for name in BUILDERS}


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of one's own, to spoil."""
    return build(request.param, tmp_path / "model")


def class_token(model, pixels):
    return model(pixel_values=pixels).last_hidden_state[:, 0]


IMAGE_FEATURES = {
    "clip": lambda model, pixels: model.get_image_features(pixel_values=pixels).pooler_output,
    "siglip": lambda model, pixels: model.get_image_features(pixel_values=pixels).pooler_output,
    "vit": lambda model, pixels: model(pixel_values=pixels).pooler_output,
    "vit_classifier": class_token,
    "dinov2": class_token,
    "dinov2_registers": class_token,
    "dinov3": lambda model, pixels: model(pixel_values=pixels).pooler_output,
    "clip_vision": lambda model, pixels: model(pixel_values=pixels).image_embeds,
}


def own_class(folder: Path) -> type:
    """The class that wrote the folder where it has a projection, which AutoModel would drop."""
    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    return getattr(transformers, name) if name.endswith("WithProjection") else transformers.AutoModel


@pytest.mark.parametrize("name", IMAGE_FEATURES)
def test_image_features_are_the_models_own_behind_its_own_processor(folders, name):
    encoder = load_image_encoder(f"hf:{folders[name]}")
    images = pictures(4, encoder.size[0])
    processor = AutoImageProcessor.from_pretrained(folders[name])
    pillows = [Image.fromarray(image) for image in images]
    # Images of the input size already: what is left of the processor is its normalisation.
    pixels = processor(pillows, do_resize=False, return_tensors="pt")["pixel_values"]
    model = own_class(folders[name]).from_pretrained(folders[name]).eval()
    with torch.inference_mode():
        expected = IMAGE_FEATURES[name](model, pixels)
    assert encoder.width == expected.shape[1]
    torch.testing.assert_close(encoder.encode(images), expected, rtol=1e-4, atol=1e-5)


def test_a_classifiers_missing_pooler_is_not_invented(folders):
    """A pooler that nobody trained would be drawn anew each time."""
    name, images = f"hf:{folders['vit_classifier']}", pictures(2, 32)
    first, second = (load_image_encoder(name).encode(images) for _ in range(2))
    assert torch.equal(first, second)
    classifier = ViTForImageClassification.from_pretrained(folders["vit_classifier"]).eval()
    pixels = torch.from_numpy(
        ((images / 255 - 0.5) / [0.2, 0.3, 0.4]).transpose(0, 3, 1, 2).astype(np.float32)
    )
    with torch.inference_mode():
        torch.testing.assert_close(classifier.classifier(first), classifier(pixel_values=pixels).logits)


def test_siglip2_of_any_aspect_ratio_is_given_squares(folders):
    encoder = load_image_encoder(f"hf:{folders['siglip2']}")
    assert encoder.size == (32, 32)
    images = pictures(3, 32)
    inputs = AutoImageProcessor.from_pretrained(folders["siglip2"])(
        [Image.fromarray(image) for image in images], return_tensors="pt"
    )
    model = Siglip2Model.from_pretrained(folders["siglip2"]).eval()
    with torch.inference_mode():
        expected = model.get_image_features(**inputs).pooler_output
    torch.testing.assert_close(encoder.encode(images), expected, rtol=1e-4, atol=1e-5)
    assert load_image_encoder(f"hf:{folders['siglip2']}", 48).encode(pictures(1, 48)).shape == (1, 32)
    with refused("does not encode images of 44 pixels .*multiple of 8"):
        load_image_encoder(f"hf:{folders['siglip2']}", 44)


def test_blip_gives_the_features_that_its_retrieval_head_compares(folders):
    image, text = (load(f"hf:{folders['blip']}") for load in (load_image_encoder, load_text_encoder))
    images = pictures(len(TEXTS), 32)
    processor = AutoImageProcessor.from_pretrained(folders["blip"])
    pixels = processor([Image.fromarray(one) for one in images], return_tensors="pt")["pixel_values"]
    tokens = AutoTokenizer.from_pretrained(folders["blip"])(
        TEXTS, padding=True, truncation=True, return_tensors="pt"
    )
    model = BlipForImageTextRetrieval.from_pretrained(folders["blip"]).eval()
    with torch.inference_mode():
        scores = model(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            pixel_values=pixels,
            use_itm_head=False,
        ).itm_score
    ours = normalize(image.encode(images)) @ normalize(text.encode(TEXTS)).T
    torch.testing.assert_close(ours, scores, rtol=1e-4, atol=1e-5)
    assert image.width == text.width == 12


def one_by_one(folder: Path, text: str) -> torch.Tensor:
    model = own_class(folder).from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    options = {"truncation": True, "return_tensors": "pt"}
    if folder.name.startswith(("roberta", "siglip2")):  # their tokenizers know no limit
        options["max_length"] = 16
    with torch.inference_mode():
        if model.config.model_type in ("siglip", "siglip2"):  # their cards: always pad to full length
            return model.get_text_features(**tokenizer(text, padding="max_length", **options)).pooler_output[
                0
            ]
        if model.config.model_type == "clip":
            return model.get_text_features(**tokenizer(text, **options)).pooler_output[0]
        output = model(**tokenizer(text, **options))
        if model.config.model_type == "clip_text_model":
            return output.text_embeds[0] if "text_embeds" in output else output.pooler_output[0]
        return output.last_hidden_state[0].mean(dim=0)


TEXT_ENCODERS = [
    "bert",
    "sentence_bert",
    "roberta",
    "clip",
    "clip_text",
    "clip_text_bare",
    "siglip",
    "siglip2",
]


@pytest.mark.parametrize("name", TEXT_ENCODERS)
def test_text_features_are_the_models_own_one_text_at_a_time(folders, name):
    encoder = load_text_encoder(f"hf:{folders[name]}")
    expected = torch.stack([one_by_one(folders[name], text) for text in TEXTS])
    for batch_size in (2, 128):
        encoded = encoder.encode(TEXTS, batch_size=batch_size)
        torch.testing.assert_close(encoded, expected, rtol=1e-4, atol=1e-5)
    assert encoder.width == expected.shape[1]
    assert len({tuple(row.tolist()) for row in encoded.round(decimals=6)}) == len(TEXTS)


def test_a_text_beyond_the_last_position_is_cut(folders):
    for name in TEXT_ENCODERS:
        assert torch.isfinite(load_text_encoder(f"hf:{folders[name]}").encode(["dogs run " * 500])).all()


@pytest.mark.parametrize("folder", ["vit"], indirect=True)
@pytest.mark.parametrize(
    ("settings", "mean", "std"),
    [
        ({"do_rescale": False, "image_mean": [1, 2, 3], "image_std": [4, 5, 6]}, (1, 2, 3), (4, 5, 6)),
        ({"do_normalize": False}, (0, 0, 0), (255, 255, 255)),
        ({"image_mean": 0.5, "image_std": [0.25]}, (127.5,) * 3, (63.75,) * 3),
        (
            {"rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]},
            (127.5,) * 3,
            (127.5,) * 3,
        ),
    ],
)
def test_the_processors_settings_are_followed(folder, settings, mean, std):
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    preprocessing = load_image_encoder(f"hf:{folder}").preprocessing
    assert preprocessing.mean == pytest.approx(mean)
    assert preprocessing.std == pytest.approx(std)


@pytest.mark.parametrize("folder", ["vit"], indirect=True)
@pytest.mark.parametrize(
    ("settings", "side"),
    [
        ({"size": {"shortest_edge": 32}, "do_center_crop": False}, 32),
        (
            {"size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}},
            32,
        ),
        ({"size": 32}, 32),
    ],
)
def test_the_side_is_that_of_the_square_a_processor_ends_with(folder, settings, side):
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    assert load_image_encoder(f"hf:{folder}").size == (side, side)


@pytest.mark.parametrize("folder", ["vit"], indirect=True)
@pytest.mark.parametrize("resample", [Image.Resampling.BICUBIC, Image.Resampling.BILINEAR])
def test_images_are_resized_as_the_processor_resizes(folder, resample):
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"resample": int(resample)}))
    encoder, image = load_image_encoder(f"hf:{folder}"), pictures(1, 50)[0]
    pillow = np.asarray(Image.fromarray(image).resize((32, 32), resample))
    # Pillow and torch round differently by a step.
    assert np.abs(encoder.resize(image[None])[0].astype(int) - pillow).max() <= 1


@pytest.mark.parametrize("folder", ["vit"], indirect=True)
def test_a_processor_without_statistics_is_refused(folder):
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"image_mean": [0.5, 0.5]}))
    with refused("needs one number or three"):
        load_image_encoder(f"hf:{folder}")


def test_dinov2_takes_another_size_and_vit_refuses_it(folders):
    assert load_image_encoder(f"hf:{folders['dinov2']}", 42).encode(pictures(1, 42)).shape == (1, 32)
    with refused("does not encode images of 48 pixels .its native side is 32"):
        load_image_encoder(f"hf:{folders['vit']}", 48)


@pytest.mark.parametrize("folder", ["clip"], indirect=True)
def test_the_identity_changes_with_weights_tokenizer_and_preprocessing(folder):
    def identities() -> list[dict[str, str]]:
        return [encoder_identity(f"hf:{folder}", modality) for modality in ("image", "text")]

    first = identities()
    assert identities() == first
    weights = load_file(folder / "model.safetensors")
    name, tensor = next(iter(weights.items()))
    save_file(weights | {name: tensor + 1e-3}, folder / "model.safetensors", {"format": "pt"})
    second = identities()
    (folder / "spiece.model").write_bytes(b"a vocabulary of sentencepiece")
    third = identities()
    file = folder / "preprocessor_config.json"
    file.write_text(file.read_text().replace("0.48", "0.49", 1))
    for before, after in ((first, second), (second, third), (third, identities())):
        assert before[0] != after[0]
        assert before[1] != after[1]


@pytest.mark.parametrize("folder", ["vit"], indirect=True)
@pytest.mark.parametrize(
    ("lost", "match"),
    [
        ("preprocessor_config.json", "has no usable preprocessor_config.json"),
        ("config.json", "needs config.json and"),
        ("model.safetensors", "needs config.json and"),
    ],
)
def test_an_incomplete_folder_is_refused(folder, lost, match):
    (folder / lost).unlink()
    with refused(match):
        load_image_encoder(f"hf:{folder}")


@pytest.mark.parametrize("folder", ["vit"], indirect=True)
def test_spoilt_weights_are_refused(folder, tmp_path):
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-500])
    with refused("cannot be loaded as hf:.*model"):
        load_image_encoder(f"hf:{folder}")
    file.write_bytes((build("bert", tmp_path / "bert") / file.name).read_bytes())
    with refused("weights of another architecture"):
        load_image_encoder(f"hf:{folder}")
    file.write_bytes(whole)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"intermediate_size": 64', '"intermediate_size": 48'))
    with refused("cannot be loaded|weights of another architecture"):
        load_image_encoder(f"hf:{folder}")


def test_the_other_modality_is_refused(folders):
    with refused("no usable preprocessor_config.json"):
        load_image_encoder(f"hf:{folders['bert']}")
    with refused("has no usable tokenizer"):
        load_text_encoder(f"hf:{folders['vit']}")


@pytest.mark.parametrize("folder", ["vit"], indirect=True)
def test_a_tokenizer_does_not_make_a_text_encoder(folder, folders):
    for file in folders["bert"].glob("tokenizer*"):
        (folder / file.name).write_bytes(file.read_bytes())
    with refused("does not encode texts"):
        load_text_encoder(f"hf:{folder}")


def test_missing_folders_and_the_hub_out_of_reach_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for load in (load_image_encoder, load_text_encoder):
        with refused("there is no model folder"):
            load(f"hf:{tmp_path / 'nowhere'}")
        with refused("is not in the hub cache") as refusal:
            load("hf:nobody/has-this-model")
        for message in (
            "config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json",
            "huggingface.co/nobody/has-this-model", str(tmp_path / "hub" / "models--nobody--has-this-model"),
        ):  # fmt: skip
            assert message in str(refusal.value)
        with refused("neither a folder nor a hub id"):
            load("hf:not a name at all?")
