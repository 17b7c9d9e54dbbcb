"""Any torchvision architecture with weights from a file, and files that must be refused."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.encoder_helpers import pictures, refused
from torch import nn
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor

from mmer_core.encoders import encoder_identity, load_image_encoder
from mmer_core.encoders.weights import load_state

IMAGENET_MEAN, IMAGENET_STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class Marker:
    """Writes a file when it is unpickled: stands for any code that a pickle may run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def saved(architecture: str, file: Path, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    network = get_model(architecture, weights=None).eval()
    save = save_file if file.suffix == ".safetensors" else torch.save
    save(network.state_dict(), file)
    return network


@pytest.mark.parametrize(
    ("architecture", "pooled", "suffix"),
    [
        ("resnet18", "flatten", ".safetensors"),
        ("shufflenet_v2_x0_5", "mean", ".pth"),
        # Its classifier is a small network: only the last layer goes.
        ("mobilenet_v3_small", "classifier.2", ".safetensors"),
    ],
)
def test_the_features_are_those_before_the_last_layer(tmp_path, architecture, pooled, suffix):
    file = tmp_path / f"weights{suffix}"
    extract = create_feature_extractor(saved(architecture, file), {pooled: "features"})
    encoder = load_image_encoder(f"torchvision:{architecture}@{file}", 64)
    images = pictures(3, 64)
    normalised = ((images / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(0, 3, 1, 2).astype(np.float32)
    with torch.inference_mode():
        expected = extract(torch.from_numpy(normalised))["features"]
    encoded = encoder.encode(images)
    assert encoded.shape == (3, encoder.width)
    torch.testing.assert_close(encoded, expected, rtol=1e-3, atol=1e-5)


def test_the_native_size_is_that_of_the_published_weights(tmp_path):
    saved("shufflenet_v2_x0_5", tmp_path / "weights.pth")
    assert load_image_encoder(f"torchvision:shufflenet_v2_x0_5@{tmp_path / 'weights.pth'}").size == (224, 224)


def test_the_identity_is_the_content_of_the_file(tmp_path):
    file = tmp_path / "weights.pth"
    saved("shufflenet_v2_x0_5", file)
    name = f"torchvision:shufflenet_v2_x0_5@{file}"
    first = encoder_identity(name, "image")
    assert first["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    moved = file.rename(tmp_path / "elsewhere.pth")
    assert encoder_identity(f"torchvision:shufflenet_v2_x0_5@{moved}", "image") == first
    saved("shufflenet_v2_x0_5", file, seed=1)
    assert encoder_identity(name, "image") != first


def test_weights_of_another_architecture_are_refused(tmp_path):
    saved("shufflenet_v2_x0_5", tmp_path / "weights.pth")
    with refused("another architecture than ResNet.*tensors missing"):
        load_image_encoder(f"torchvision:resnet18@{tmp_path / 'weights.pth'}")
    with refused("another architecture than ShuffleNetV2: 0 tensors missing, 0 unexpected"):
        load_image_encoder(f"torchvision:shufflenet_v2_x1_0@{tmp_path / 'weights.pth'}")


def test_unknown_architectures_and_missing_files_are_refused(tmp_path):
    with refused("no classification architecture 'resnet19'"):
        load_image_encoder("torchvision:resnet19")
    with refused("there is no weights file .*nowhere.pth"):
        load_image_encoder(f"torchvision:resnet18@{tmp_path / 'nowhere.pth'}")
    with refused("cannot read the weights .*nowhere.pth"):
        encoder_identity(f"torchvision:resnet18@{tmp_path / 'nowhere.pth'}", "image")


def test_an_architecture_without_a_last_linear_layer_is_refused(tmp_path):
    saved("squeezenet1_1", tmp_path / "weights.pth")
    with refused("does not end in a linear layer"):
        load_image_encoder(f"torchvision:squeezenet1_1@{tmp_path / 'weights.pth'}")


def test_checkpoints_of_a_training_are_unpacked(tmp_path):
    network, other = nn.Linear(2, 3), nn.Linear(2, 3)
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "checkpoint.pth")
    load_state(other, tmp_path / "checkpoint.pth")
    assert torch.equal(network.weight, other.weight)


@pytest.mark.parametrize(
    "save", [torch.save, lambda what, file: file.write_bytes(pickle.dumps(what, protocol=2))]
)
def test_a_pickle_is_refused_and_never_run(tmp_path, save):
    marker, file = tmp_path / "it ran", tmp_path / "weights.pth"
    save({"weight": Marker(marker)}, file)
    with refused("not a file of plain tensors"):
        load_state(nn.Linear(2, 3), file)
    assert not marker.exists()
    # The file is dangerous indeed: the check above can fail.
    torch.load(file, weights_only=False) if save is torch.save else pickle.loads(file.read_bytes())
    assert marker.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"a", b"not weights at all\n" * 100], ids=["empty", "short", "text"]
)
def test_other_files_are_refused(tmp_path, suffix, content):
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    with refused("not a file of plain tensors"):
        load_state(nn.Linear(2, 3), file)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_refused(tmp_path, suffix):
    file = tmp_path / f"weights{suffix}"
    saved("shufflenet_v2_x0_5", file)
    file.write_bytes(file.read_bytes()[:-1000])
    with refused("not a file of plain tensors"):
        load_state(get_model("shufflenet_v2_x0_5", weights=None), file)


@pytest.mark.parametrize(
    "state", [[torch.ones(2)], {"weight": 3}, torch.ones(2)], ids=["list", "number", "tensor"]
)
def test_a_file_without_a_state_is_refused(tmp_path, state):
    torch.save(state, tmp_path / "weights.pth")
    with refused("does not hold a state_dict"):
        load_state(nn.Linear(2, 3), tmp_path / "weights.pth")
