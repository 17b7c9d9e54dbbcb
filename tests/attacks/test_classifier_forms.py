"""Classifiers that do not return plain float32 logits of RGB images."""

from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
)
from transformers.modeling_outputs import ImageClassifierOutput

from mmer_core.attacks import (
    ClassifierVictim,
    DominantEmotionFlip,
    RandomPixels,
    SparseRS,
    apply,
    run_attack,
)
from mmer_core.attacks.candidates import from_flat
from mmer_core.attacks.criteria import CategoryAppears
from mmer_core.errors import AttackError

SIDE, CLASSES = 8, 4
RGB = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "size": (SIDE, SIDE)}
GRAY = {"mean": (0.5,), "std": (0.25,), "size": (SIDE, SIDE)}
Named = namedtuple("Named", ["logits", "aux"])


class Network(nn.Module):
    """A small network whose logits come in some form."""

    def __init__(
        self, form: Callable[[Tensor], Any] = lambda logits: logits, channels: int = 3, classes: int = CLASSES
    ):
        super().__init__()
        self.form = form
        self.body = nn.Sequential(
            nn.Conv2d(channels, 6, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(6 * 36, classes)
        )

    def forward(self, pixels: Tensor) -> Any:
        return self.form(self.body(pixels))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)


FORMS: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda logits: logits,
    "tuple": lambda logits: (logits, logits.sum()),
    "list": lambda logits: [logits],
    "named tuple": lambda logits: Named(logits, None),
    "dict": lambda logits: {"loss": logits.sum(), "logits": logits},
    "dict of one": lambda logits: {"out": logits},
    "object": lambda logits: SimpleNamespace(logits=logits),
    "model output": lambda logits: ImageClassifierOutput(loss=logits.sum(), logits=logits),
    "maps": lambda logits: logits[:, :, None, None],
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_logits(form: str, images: np.ndarray) -> None:
    """Whatever the form, scores and outcomes are those of the plain logits."""
    network = Network(FORMS[form])
    plain = Network()
    plain.load_state_dict(network.state_dict())
    victims = [ClassifierVictim(one, **RGB, method="dense", runtime="torch") for one in (network, plain)]
    pixels, rows = torch.from_numpy(images), torch.arange(3)
    scores = [victim.scores(pixels, rows) for victim in victims]
    torch.testing.assert_close(*scores)
    outcomes = [
        run_attack(
            victim,
            DominantEmotionFlip(scores[1].argmax(1).numpy()),
            SparseRS(),
            images,
            ["a", "b", "c"],
            pixels=2,
            budget=30,
        )
        for victim in victims
    ]
    assert [one.status for one in outcomes[0]] == [one.status for one in outcomes[1]]


def candidates_agree(victim: ClassifierVictim, images: np.ndarray, pixels: int) -> bool:
    """Whether candidates of these images are scored as what they make of them."""
    rng = np.random.default_rng(1)
    clean, rows = torch.from_numpy(images), torch.arange(12) % len(images)
    places = rng.integers(0, images.shape[1] * images.shape[2], (len(rows), pixels))
    candidates = from_flat(places, rng.integers(0, 256, (*places.shape, 3), dtype=np.uint8))
    expected = victim.scores(apply(clean[rows], candidates), rows)
    found = victim.candidate_scores(clean, rows, candidates)
    return torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("where", [RGB, GRAY], ids=["rgb", "gray"])
@pytest.mark.parametrize("form", FORMS)
def test_candidates_are_scored_in_windows_whatever_the_form(
    form: str, where: dict[str, Any], images: np.ndarray
) -> None:
    network = Network(FORMS[form], channels=len(where["mean"]))
    victim = ClassifierVictim(network, **where, method="incremental")
    assert victim.planner.layers == (1, 2)  # the linear layer reads all positions
    assert candidates_agree(victim, images, 2)


@pytest.mark.parametrize(
    ("kind", "model"),
    [(ResNetConfig, ResNetForImageClassification), (ConvNextConfig, ConvNextForImageClassification)],
)
def test_classifiers_of_transformers_are_computed_in_windows(kind: Any, model: Any) -> None:
    config = kind(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_labels=CLASSES)
    victim = ClassifierVictim(model(config), RGB["mean"], RGB["std"], (64, 48), method="incremental")
    local, every = victim.planner.layers
    assert local == every - 1, victim.planner.stopped  # the head comes after the mean over the map
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 48, 3), dtype=np.uint8)
    assert candidates_agree(victim, images, 2)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("where", [RGB, GRAY], ids=["rgb", "gray"])
def test_types_and_channels(kind: torch.dtype, where: dict[str, Any], images: np.ndarray) -> None:
    network = Network(channels=len(where["mean"])).to(kind)
    victim = ClassifierVictim(network, **where)
    scores = victim.scores(torch.from_numpy(images), torch.arange(3))
    assert scores.dtype == torch.float32
    read = torch.from_numpy(images).double() / 255
    if where is GRAY:
        read = read @ torch.tensor([[0.299], [0.587], [0.114]], dtype=torch.float64)
    by_hand = network.double()(
        ((read - torch.tensor(where["mean"])) / torch.tensor(where["std"])).permute(0, 3, 1, 2).double()
    )
    torch.testing.assert_close(scores.double(), by_hand, atol=0.05, rtol=0.05)
    network.to(kind)
    run_attack(
        victim,
        DominantEmotionFlip(scores.argmax(1).numpy()),
        RandomPixels(),
        images,
        list("abc"),
        pixels=1,
        budget=5,
    )


@pytest.mark.parametrize("kind", [torch.float16, torch.float64])
def test_another_type_inside_is_computed_in_that_type(kind: torch.dtype, images: np.ndarray) -> None:
    victim = ClassifierVictim(Network(lambda logits: logits.float()).to(kind), **RGB, method="incremental")
    assert victim.planner.plan(2).cut is None
    assert candidates_agree(victim, images, 2)


@pytest.mark.parametrize("form", [lambda logits: logits, lambda logits: logits[:, 0]], ids=["(n, 1)", "(n,)"])
def test_one_logit(form: Callable[[Tensor], Any], images: np.ndarray) -> None:
    victim = ClassifierVictim(Network(form, classes=1), **RGB)
    assert victim.scores(torch.from_numpy(images), torch.arange(3)).shape == (3, 1)
    run_attack(victim, CategoryAppears(0, 0.0), RandomPixels(), images, list("abc"), pixels=1, budget=5)
    with pytest.raises(AttackError, match="suppressed or appears"):
        run_attack(
            victim, DominantEmotionFlip([0, 0, 0]), RandomPixels(), images, list("abc"), pixels=1, budget=5
        )


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Network(lambda logits: None), "returns NoneType"),
        (Network(lambda logits: {"a": logits, "b": logits}), "returns dict with a, b"),
        (Network(lambda logits: logits[:-1]), r"of shape \(0, 4\) for 1 images"),
        (Network(lambda logits: logits.sum()), r"of shape \(\) for 1 images"),
        (Network(lambda logits: logits[:, :, None].expand(-1, -1, 2)), r"of shape \(1, 4, 2\)"),
        (Network(lambda logits: logits / 0 * 0), "NaN"),
        (Network(channels=1), "cannot read a batch"),
        (Network(channels=SIDE), "cannot read a batch"),
        (nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), "cannot read a batch"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(network: nn.Module, message: str, images: np.ndarray) -> None:
    with pytest.raises(AttackError, match=message) as caught:
        run_attack(
            ClassifierVictim(network, **RGB),
            DominantEmotionFlip([0, 0, 0]),
            RandomPixels(),
            images,
            list("abc"),
            pixels=1,
            budget=5,
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"module": torch.relu}, "torch.nn.Module"),
        ({"module": None}, "torch.nn.Module"),
        ({"mean": 0.5}, "mean 0.5"),
        ({"mean": ("a", "b", "c")}, "three numbers"),
        ({"mean": (0.5, 0.5, float("nan"))}, "three numbers"),
        ({"std": (1.0, 1.0, float("inf"))}, "three numbers"),
        ({"size": 8}, "size of a victim's input is 8"),
        ({"size": (8, 0)}, "height, width"),
        ({"method": "fast"}, "no method 'fast'"),
        ({"runtime": "tpu"}, "runtime 'tpu'"),
    ],
)
def test_victims_that_cannot_be(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(AttackError, match=message) as error:
        ClassifierVictim(**{"module": Network(), **RGB, **changed})
    assert "\n" not in str(error.value)


def test_statistics_may_be_arrays_and_tensors(images: np.ndarray) -> None:
    network, rows = Network(), torch.arange(3)
    pixels = torch.from_numpy(images)
    plain = ClassifierVictim(network, **RGB).scores(pixels, rows)
    for form in (np.array, torch.tensor):
        forms = {name: form(RGB[name]) for name in ("mean", "std")}
        torch.testing.assert_close(ClassifierVictim(network, **{**RGB, **forms}).scores(pixels, rows), plain)


def test_images_that_are_no_bytes_in_rgb_are_refused(images: np.ndarray) -> None:
    """Floats within 0..1 would be black: pixels are divided by 255."""
    victim, criterion = ClassifierVictim(Network(), **RGB), DominantEmotionFlip(np.zeros(3, int))
    for odd in (
        images / 255,
        images.transpose(0, 3, 1, 2),
        images[..., 0],
        images[0],
        images.astype(np.int64),
    ):
        with pytest.raises(AttackError, match="images to score are"):
            victim.scores(torch.from_numpy(odd), torch.arange(3))
    for odd in (torch.from_numpy(images), list(images), images / 255):
        with pytest.raises(AttackError, match="images to attack are"):
            run_attack(victim, criterion, SparseRS(), odd, ["a", "b", "c"], pixels=1, budget=1)
    with pytest.raises(AttackError, match="pixels"):
        run_attack(victim, criterion, SparseRS(), images, ["a", "b", "c"], pixels=1.5, budget=1)
