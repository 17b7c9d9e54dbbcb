"""The person detector against torchvision's own network, and what it refuses."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.detector_file import ARCHITECTURE, PERSON, detector_file
from torchvision.models import get_model
from torchvision.transforms.functional import pil_to_tensor

from mmer_core.datasets.boxes import clamp
from mmer_core.errors import ConfigError, EncoderError
from mmer_core.prediction import PersonDetector

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> str:
    return detector_file(tmp_path_factory.mktemp("detector") / "weights.safetensors")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((240, 180), Image.Resampling.BILINEAR)


def test_people_are_torchvisions_boxes_of_persons(spec, picture):
    network = get_model(ARCHITECTURE, weights=None, weights_backbone=None).eval()
    network.load_state_dict(load_file(spec.partition("@")[2]))
    with torch.inference_mode():
        (raw,) = network([pil_to_tensor(picture).float() / 255])
    people = PersonDetector.load(spec, 0.3, CPU).people(picture)
    kept = (raw["labels"] == PERSON) & (raw["scores"] >= 0.3)
    assert kept.any()
    assert [person.score for person in people] == pytest.approx(
        sorted(raw["scores"][kept].tolist(), reverse=True)
    )
    best = raw["boxes"][kept][raw["scores"][kept].argmax()].numpy()
    expected = [*np.floor(best[:2]).astype(int).tolist(), *np.ceil(best[2:]).astype(int).tolist()]
    assert people[0].box == clamp(tuple(expected), picture.size)
    for person in people:
        x1, y1, x2, y2 = person.box
        assert 0 <= x1 < x2 <= 240
        assert 0 <= y1 < y2 <= 180


def test_a_higher_threshold_keeps_the_surest(spec, picture):
    some = PersonDetector.load(spec, 0.3, CPU).people(picture)
    middle = some[len(some) // 2].score
    assert PersonDetector.load(spec, middle, CPU).people(picture) == [
        one for one in some if one.score >= middle
    ]
    assert PersonDetector.load(spec, 1.0, CPU).people(picture) == []


def test_weights_are_read_from_pth_too(spec, picture, tmp_path):
    torch.save(load_file(spec.partition("@")[2]), tmp_path / "weights.pth")
    other = PersonDetector.load(f"torchvision:{ARCHITECTURE}@{tmp_path / 'weights.pth'}", 0.3, CPU)
    assert other.people(picture) == PersonDetector.load(spec, 0.3, CPU).people(picture)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("yolo", ConfigError, "fasterrcnn_resnet50_fpn_v2"),
        ("torchvision:resnet18@x.pth", ConfigError, "resnet18"),
        (f"torchvision:{ARCHITECTURE}", EncoderError, "download.pytorch.org"),
        (f"torchvision:{ARCHITECTURE}@missing.pth", EncoderError, "missing.pth"),
    ],
)
def test_unusable_detectors_are_refused(name, error, message):
    with pytest.raises(error, match=message):
        PersonDetector.load(name, 0.5, CPU)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(get_model("squeezenet1_1", weights=None).state_dict(), tmp_path / "other.pth")
    with pytest.raises(EncoderError, match="another architecture"):
        PersonDetector.load(f"torchvision:{ARCHITECTURE}@{tmp_path / 'other.pth'}", 0.5, CPU)


def test_a_threshold_is_a_share(spec):
    with pytest.raises(ConfigError, match=r"0\.\.1"):
        PersonDetector.load(spec, 50, CPU)
