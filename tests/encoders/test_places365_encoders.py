"""Checkpoints in the format of Places365, against the whole network, and files that must be refused."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.encoder_helpers import pictures, refused
from torch import nn
from torchvision.models import resnet18

from mmer_core.encoders import encoder_identity, load_image_encoder

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class Intruder:
    """Writes a file when it is unpickled: stands for any code that a pickle may run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def scenes(seed: int = 0, classes: int = 365) -> nn.Module:
    torch.manual_seed(seed)
    return resnet18(weights=None, num_classes=classes).eval()


def checkpoint(network: nn.Module, **fields: object) -> dict[str, object]:
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    return {"arch": "resnet18", "epoch": 90, "state_dict": state, **fields}


def cut(network: nn.Module, images: np.ndarray) -> torch.Tensor:
    """What goes into ``fc``, with the preprocessing that the authors' demo uses."""
    seen: list[torch.Tensor] = []
    hook = network.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pixels = ((images / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)
    with torch.inference_mode():
        network(torch.from_numpy(pixels))
    hook.remove()
    return seen[0]


def test_features_are_what_the_scene_layer_reads(tmp_path):
    network, file = scenes(), tmp_path / "resnet18_places365.pth.tar"
    torch.save(checkpoint(network), file)
    encoder = load_image_encoder(f"places365:{file}", 64)
    images = pictures(2, 64)
    assert (encoder.width, encoder.size) == (512, (64, 64))
    assert load_image_encoder(f"places365:{file}").size == (224, 224)
    torch.testing.assert_close(encoder.encode(images), cut(network, images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "extra",
    [
        {"best_prec1": 54.7},
        {"best_prec1": np.float64(54.7)},
        {"best_prec1": np.float32(54.7)},
        {"best_prec1": torch.tensor(54.7)},
    ],
    ids=["float", "float64", "float32", "tensor"],
)
@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "legacy"])
def test_what_a_training_left_in_the_file_is_read_over(tmp_path, extra, as_zip):
    network, file = scenes(), tmp_path / "old.pth.tar"
    torch.save(checkpoint(network, **extra), file, _use_new_zipfile_serialization=as_zip)
    images = pictures(1, 64)
    encoded = load_image_encoder(f"places365:{file}", 64).encode(images)
    torch.testing.assert_close(encoded, cut(network, images), rtol=1e-3, atol=1e-4)


class Python2(pickle._Pickler):
    """Writes text and bytes alike as byte strings, as Python 2 did."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_string(self, value: str | bytes) -> None:
        data = value if isinstance(value, bytes) else value.encode("ascii")
        self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def test_a_file_of_python_2_is_read(tmp_path):
    network, file = scenes(), tmp_path / "python2.pth.tar"
    by_python2 = SimpleNamespace(
        __name__="pickle",
        Pickler=Python2,
        dump=lambda value, out, protocol: Python2(out, protocol).dump(value),
    )
    saved = checkpoint(network, best_prec1=b"\xc0\xff")
    torch.save(saved, file, pickle_module=by_python2, _use_new_zipfile_serialization=False)
    images = pictures(1, 64)
    encoded = load_image_encoder(f"places365:{file}", 64).encode(images)
    torch.testing.assert_close(encoded, cut(network, images), rtol=1e-3, atol=1e-4)


def test_batch_norms_that_never_counted_their_batches_are_no_obstacle(tmp_path):
    """As files from before PyTorch 0.4 are, the published ones among them."""
    network = scenes()
    saved = checkpoint(network)
    saved["state_dict"] = {
        name: value for name, value in saved["state_dict"].items() if not name.endswith("num_batches_tracked")
    }
    torch.save(saved, tmp_path / "old.pth.tar")
    images = pictures(1, 64)
    encoded = load_image_encoder(f"places365:{tmp_path / 'old.pth.tar'}", 64).encode(images)
    torch.testing.assert_close(encoded, cut(network, images), rtol=1e-3, atol=1e-4)


def test_the_identity_is_the_content_of_the_file(tmp_path):
    one, moved, other = tmp_path / "one", tmp_path / "moved", tmp_path / "other"
    torch.save(checkpoint(scenes()), one)
    moved.write_bytes(one.read_bytes())
    torch.save(checkpoint(scenes(seed=1)), other)
    first, second, third = (encoder_identity(f"places365:{file}", "image") for file in (one, moved, other))
    assert first == second != third


def test_other_networks_are_refused(tmp_path):
    file = tmp_path / "wrong.pth.tar"
    torch.save(checkpoint(scenes(classes=1000)), file)
    with refused("another architecture than ResNet.*2 of another shape"):
        load_image_encoder(f"places365:{file}")
    torch.save(checkpoint(scenes(), arch="resnet18_cam"), file)
    with refused("'resnet18_cam', which torchvision does not have"):
        load_image_encoder(f"places365:{file}")
    with refused("there is no weights file"):
        load_image_encoder(f"places365:{tmp_path / 'nowhere'}")
    with refused("unknown text encoder"):
        encoder_identity(f"places365:{file}", "text")


def test_code_beside_the_weights_is_refused_and_never_run(tmp_path):
    marker, file = tmp_path / "it ran", tmp_path / "evil.pth.tar"
    torch.save(checkpoint(scenes(), best_prec1=Intruder(marker)), file)
    with refused("not a file of plain tensors"):
        load_image_encoder(f"places365:{file}")
    assert not marker.exists()
