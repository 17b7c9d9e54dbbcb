"""Adapters on tiny encoders of the real classes: what is tuned, what stays, and the way to disk and back."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.encoder_helpers import pictures, refused
from support.hf_folders import TEXTS, build
from torchvision.models import resnet18
from transformers import CLIPModel

from mmer_core.config import EncoderConfig, FinetuneConfig
from mmer_core.encoders import encoder_identity, load_image_encoder, load_text_encoder
from mmer_core.encoders.adapters import ADAPTER_FILE, AdapterSpec, adapt, save_tower, tuned
from mmer_core.encoders.dual import Similarity, dual_similarity

LORA, LAST = FinetuneConfig(method="lora", rank=3), FinetuneConfig(method="last")
IMAGE = ["clip", "clip_vision", "siglip", "siglip2", "blip", "vit", "dinov2", "dinov3"]
TEXT = ["clip", "clip_text", "siglip", "blip", "bert", "roberta"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {name: build(name, tmp_path_factory.mktemp(name)) for name in {*IMAGE, *TEXT}}


def features(encoder) -> torch.Tensor:
    return encoder.encode(
        TEXTS if encoder.module.__class__.__name__ == "TextTower" else pictures(3, encoder.size[0])
    )


def load(folders, name: str, modality: str):
    return (load_image_encoder if modality == "image" else load_text_encoder)(f"hf:{folders[name]}")


BOTH = [(name, "image") for name in IMAGE] + [(name, "text") for name in TEXT]


@pytest.mark.parametrize(("name", "modality"), BOTH)
def test_low_rank_additions_begin_as_nothing_in_the_tower_that_is_used(folders, name, modality):
    encoder = load(folders, name, modality)
    before, weights = features(encoder), sum(p.numel() for p in encoder.module.parameters())
    parts = adapt(encoder, LORA)
    assert torch.equal(features(encoder), before)
    other = "text" if modality == "image" else "vision"
    assert parts
    assert not any(other in part for part in parts)
    parameters = tuned(encoder.module)
    assert len(parameters) == 2 * len(parts)
    assert all(min(parameter.shape) == 3 for parameter in parameters.values())
    assert sum(p.numel() for p in encoder.module.parameters()) == weights + sum(
        p.numel() for p in parameters.values()
    )
    # Every one of them has a say once B is no longer zero.
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.normal_()
    assert not torch.allclose(features(encoder), before, atol=1e-3)


@pytest.mark.parametrize(("name", "modality"), BOTH)
def test_the_last_block_is_the_last_of_the_tower_that_is_used(folders, name, modality):
    encoder = load(folders, name, modality)
    weights = dict(encoder.module.named_parameters())
    parts = adapt(encoder, LAST)
    assert set(tuned(encoder.module)) == set(parts)
    assert any(".1." in part for part in parts), "two blocks there are, and the second is the last"
    assert not any(".0." in part and "layer" in part.partition(".0.")[0][-6:] for part in parts)
    assert not any("embeddings" in part for part in parts)
    other = "text" if modality == "image" else "vision"
    assert not any(other in part for part in parts)
    behind = ("visual_projection",) if modality == "image" else ("text_projection", "final_layer_norm")
    after = {key for key in weights if any(word in key for word in behind) and other not in key}
    assert after <= set(parts)


def written(folders, tmp_path: Path, name: str, method: FinetuneConfig, modalities=("image", "text"), seed=1):
    """An adapter of random weights, and its encoders as they were when it was written."""
    base, loaded, parts = f"hf:{folders[name]}", {}, {}
    torch.manual_seed(seed)
    for modality in modalities:
        loaded[modality] = load(folders, name, modality)
        parts[modality] = adapt(loaded[modality], method)
        with torch.no_grad():
            for parameter in tuned(loaded[modality].module).values():
                parameter.add_(0.3 * torch.randn_like(parameter))
        save_tower(loaded[modality], tmp_path, modality)
        loaded[modality].module.requires_grad_(
            False
        )  # torch's attention has another path for weights in tuning
    spec = AdapterSpec(
        method=method.method, rank=method.rank, alpha=method.alpha, parts=parts,
        encoders=EncoderConfig(image=base, text=base), similarity=(2.0, -1.0),
        identities={modality: encoder_identity(base, modality) for modality in ("image", "text")},
    )  # fmt: skip
    (tmp_path / ADAPTER_FILE).write_text(spec.model_dump_json())
    return loaded


@pytest.mark.parametrize("method", [LORA, LAST], ids=["lora", "last"])
@pytest.mark.parametrize("name", ["clip", "siglip", "blip"])
def test_an_adapter_comes_back_from_disk_bit_for_bit(folders, tmp_path, name, method):
    loaded = written(folders, tmp_path, name, method)
    for modality, before in loaded.items():
        load_adapted = load_image_encoder if modality == "image" else load_text_encoder
        again = load_adapted(f"adapted:{tmp_path}")
        assert torch.equal(features(again), features(before))
        assert not torch.allclose(features(again), features(load(folders, name, modality)), atol=1e-3)
        assert not any(parameter.requires_grad for parameter in again.module.parameters())
    assert dual_similarity(f"adapted:{tmp_path}", f"adapted:{tmp_path}").bias == -1.0


def test_the_identity_is_the_content_and_not_the_place(folders, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    written(folders, one, "clip", LORA)
    written(folders, other, "clip", LORA, seed=2)
    moved = shutil.copytree(one, tmp_path / "moved")
    first, second, third = (encoder_identity(f"adapted:{place}", "image") for place in (one, moved, other))
    assert first == second != third
    assert first != encoder_identity(f"hf:{folders['clip']}", "image")
    text = AdapterSpec.read(one).model_dump(mode="json") | {"alpha": 99.0}
    (moved / ADAPTER_FILE).write_text(AdapterSpec.model_validate(text).model_dump_json())
    assert encoder_identity(f"adapted:{moved}", "image") != first


def test_a_tower_that_was_not_adapted_is_its_base(folders, tmp_path):
    written(folders, tmp_path, "clip", LORA, modalities=("image",))
    base = load(folders, "clip", "text")
    assert torch.equal(load_text_encoder(f"adapted:{tmp_path}").encode(TEXTS), base.encode(TEXTS))
    assert encoder_identity(f"adapted:{tmp_path}", "text") == encoder_identity(
        f"hf:{folders['clip']}", "text"
    )


def test_what_does_not_fit_is_refused(folders, tmp_path):
    with refused("is not an adapter: it has no usable adapter.json"):
        load_image_encoder(f"adapted:{tmp_path}")
    own = {"clip": shutil.copytree(folders["clip"], tmp_path / "clip")}
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    written(own, adapter, "clip", LORA)
    file = adapter / "image.safetensors"
    whole = file.read_bytes()
    state = load_file(file)
    name, tensor = next(iter(state.items()))
    for wrong in (state | {name: tensor[:1].clone()}, {k: v for k, v in state.items() if k != name}):
        save_file(wrong, file)
        with refused("belongs to another encoder"):
            load_image_encoder(f"adapted:{adapter}")
    file.write_bytes(whole[:-100])
    with refused("cannot read the adapter"):
        load_image_encoder(f"adapted:{adapter}")
    file.write_bytes(whole)
    build("clip", own["clip"], seed=5)
    with refused("is not what the adapter .* was made for"):
        load_image_encoder(f"adapted:{adapter}")


def test_encoders_without_attention_or_blocks_say_what_they_have(folders, tmp_path):
    encoder = load(folders, "vit", "image")
    with refused("no linear layer named nothing to add to; it has .*fc1.*q_proj"):
        adapt(encoder, FinetuneConfig(targets=("nothing",)))
    assert all("fc1" in part for part in adapt(encoder, FinetuneConfig(targets=("fc1",))))
    torch.save(
        {"arch": "resnet18", "state_dict": resnet18(num_classes=365).state_dict()}, tmp_path / "places"
    )
    scenes = load_image_encoder(f"places365:{tmp_path / 'places'}", 64)
    with refused("it has none"):
        adapt(scenes, LORA)
    with refused("no stack of blocks"):
        adapt(scenes, LAST)


def test_the_similarity_of_a_dual_encoder_is_its_own(folders, tmp_path):
    clip = f"hf:{folders['clip']}"
    scale = CLIPModel.from_pretrained(folders["clip"]).logit_scale.exp().item()
    assert dual_similarity(clip, clip) == Similarity(pytest.approx(scale), 0.0)
    siglip = build("siglip", tmp_path / "siglip")
    state = load_file(siglip / "model.safetensors")
    known = {"logit_scale": torch.tensor([4.7]), "logit_bias": torch.tensor([-16.5])}
    save_file(state | known, siglip / "model.safetensors", {"format": "pt"})
    found = dual_similarity(f"hf:{siglip}", f"hf:{siglip}")
    assert (found.scale, found.bias) == (pytest.approx(109.947, rel=1e-3), -16.5)
    blip = f"hf:{folders['blip']}"
    assert dual_similarity(blip, blip) == Similarity(1 / 0.07, 0.0)
    for pair in ((clip, blip), ("packaged:efficientnet_lite0", "packaged:all-MiniLM-L6-v2")):
        with refused("not the two towers of one dual encoder"):
            dual_similarity(*pair)
