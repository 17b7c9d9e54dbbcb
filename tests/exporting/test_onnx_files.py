"""Towers on tiny encoders of the real classes: the files say what encoder and model say, and nothing else passes."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from support.hf_folders import build

from mmer_core.config import EncoderConfig
from mmer_core.encoders import ImageEncoder, TextEncoder, load_image_encoder, load_text_encoder
from mmer_core.errors import ConfigError
from mmer_core.exporting import onnx_files
from mmer_core.exporting.onnx_files import ExportError, largest_difference, require_onnx, write_onnx
from mmer_core.exporting.towers import Tower, towers
from mmer_core.inference import TrainedModel
from mmer_core.models import ModelSpec, build_model

TEXTS = ["a red dog", "two cats in the snow", "snow on the beach in the snow on the red beach"]


def matcher(image: ImageEncoder, text: TextEncoder, family: str) -> TrainedModel:
    spec = ModelSpec(
        task="retrieval", family=family, streams={"context": image.width, "text": text.width}, sides={"context": 40},
        embedding=12, hidden=8, dropout=0.3, words=("dog", "snow") if family == "separate" else (),
        encoders=EncoderConfig(), dataset="tiny",
    )  # fmt: skip
    torch.manual_seed(1)
    return TrainedModel(Path("unused"), build_model(spec).eval(), spec, torch.device("cpu"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("image_name", "text_name", "family"),
    [("clip", "clip", "joint"), ("siglip", "siglip", "joint"), ("vit", "sentence_bert", "separate")],
)
def test_files_say_what_encoder_and_model_say(image_name, text_name, family, tmp_path: Path) -> None:
    image = load_image_encoder(f"hf:{build(image_name, tmp_path / 'image')}")
    text = load_text_encoder(f"hf:{build(text_name, tmp_path / 'text')}")
    trained = matcher(image, text, family)
    pixels = np.random.default_rng(0).integers(0, 256, (3, *image.size, 3), dtype=np.uint8)
    longest = text.tokens(["dog " * 500])["input_ids"].shape[1]
    by_name = {tower.name: tower for tower in towers(trained, image, text)}
    assert set(by_name) == {"image", "text"}

    write_onnx(by_name["image"], [torch.from_numpy(pixels)], longest, tmp_path / "image.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "image.onnx")
    expected = trained.embed_images({"context": image.encode(pixels)})
    for rows in (slice(0, 1), slice(0, 3)):
        (said,) = session.run(["image_embedding"], {"pixels": pixels[rows]})
        np.testing.assert_allclose(said, expected[rows], atol=1e-5)

    tokens = text.tokens(TEXTS[:2])
    write_onnx(by_name["text"], list(tokens.values()), longest, tmp_path / "text.onnx")
    for file in (
        "image.onnx",
        "text.onnx",
    ):  # not a word of where it was made, nor of this machine's Python files
        content = (tmp_path / file).read_bytes()
        assert b".py" not in content
        assert bytes(tmp_path) not in content
    session = onnxruntime.InferenceSession(tmp_path / "text.onnx")
    assert [one.name for one in session.get_inputs()] == list(tokens)
    for texts in (TEXTS[:1], TEXTS):  # one alone, and a longer one than the file was made with
        (said,) = session.run(None, {name: one.numpy() for name, one in text.tokens(texts).items()})
        np.testing.assert_allclose(said, trained.embed_texts(text.encode(texts)), atol=1e-5)


class _Linear(torch.nn.Module):
    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.weight * inputs[0].float().mean(dim=(1, 2)),)


def linear(weight: float) -> Tower:
    return Tower("image", _Linear(weight), ("pixels",), (), ("brightness",))


def test_a_file_that_says_something_else_is_found(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (2, 4, 4, 3), dtype=torch.uint8)
    write_onnx(linear(0.001), [pixels], 0, tmp_path / "image.onnx")
    assert largest_difference(linear(0.001), tmp_path / "image.onnx", [[pixels]]) < 1e-6
    other = largest_difference(linear(0.003), tmp_path / "image.onnx", [[pixels[:1]], [pixels]])
    assert other == pytest.approx(0.002 * float(pixels.float().mean(dim=(1, 2)).max()), rel=1e-3)
    # Beyond 1 it is relative: a third less, whatever the size.
    write_onnx(linear(2.0), [pixels], 0, tmp_path / "large.onnx")
    assert largest_difference(linear(3.0), tmp_path / "large.onnx", [[pixels]]) == pytest.approx(1 / 3)
    assert np.isnan(largest_difference(linear(float("nan")), tmp_path / "image.onnx", [[pixels]]))
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(ExportError, match=r"broken\.onnx"):
        largest_difference(linear(1.0), tmp_path / "broken.onnx", [[pixels]])


class _Branching(torch.nn.Module):
    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (inputs[0] if inputs[0].sum() > 3 else inputs[0] + 1,)


def test_what_cannot_be_traced_is_one_sentence(tmp_path: Path) -> None:
    tower = Tower("image", _Branching(), ("pixels",), (), ("x",))
    with pytest.raises(ExportError, match="image cannot be written as ONNX") as caught:
        write_onnx(tower, [torch.ones(2, 4, 4, 3, dtype=torch.uint8)], 0, tmp_path / "image.onnx")
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "_PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(ConfigError, match=r"no_such_package.*pip install 'mmer\[onnx\]'"):
        require_onnx()
