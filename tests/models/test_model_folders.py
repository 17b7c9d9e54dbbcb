"""Trained models on disk: what comes back, and what `TrainedModel` makes of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.special import expit

from mmer_core.config import EncoderConfig
from mmer_core.device import select_device
from mmer_core.errors import ConfigError
from mmer_core.inference import CALIBRATION_FILE, TrainedModel
from mmer_core.models import ModelSpec, build_model, load_model, save_model
from mmer_core.models.fusion import FUSIONS

CPU = torch.device("cpu")
CALIBRATION = {"slope": [0.5, 2.0], "intercept": [1.0, -1.0], "thresholds": [0.25, 0.75]}


def spec(task: str, family: str, fusion: str = "mean") -> ModelSpec:
    emotion = task == "emotion"
    return ModelSpec(
        task=task,
        family=family,
        streams={"context": 6, "body": 5, "text": 4} if emotion else {"context": 6, "text": 4},
        embedding=8,
        hidden=3,
        dropout=0.3,
        fusion=fusion,
        labels=("joy", "fear") if emotion else (),
        words=() if emotion else ("dog", "snow"),
        encoders=EncoderConfig(image_size=96),
        dataset="toy",
    )


def trained(folder: Path, one: ModelSpec) -> torch.nn.Module:
    """Write a model with random statistics, so that nothing stands at its default."""
    torch.manual_seed(0)
    model = build_model(one)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.copy_(torch.rand_like(tensor) + 0.1)
    save_model(model, one, folder)
    (folder / CALIBRATION_FILE).write_text(json.dumps(CALIBRATION))
    return model.eval()


def features(one: ModelSpec) -> dict[str, torch.Tensor]:
    return {name: torch.randn(5, width) for name, width in one.streams.items()}


@pytest.mark.parametrize(
    "one",
    [spec("emotion", "separate"), *(spec("emotion", "joint", fusion) for fusion in FUSIONS)],
    ids=["separate", *FUSIONS],
)
def test_an_emotion_model_comes_back_bit_for_bit(tmp_path, one):
    model = trained(tmp_path, one)
    state_of_torch = torch.get_rng_state()
    loaded, its_spec = load_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), state_of_torch)
    assert its_spec == one
    assert not loaded.training
    x = features(one)
    before, after = model(x), loaded(x)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.ratings, after.ratings)
    assert all(torch.equal(before.embeddings[name], after.embeddings[name]) for name in one.streams)


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_a_retrieval_model_comes_back_bit_for_bit(tmp_path, family):
    one = spec("retrieval", family)
    model = trained(tmp_path, one)
    opened = TrainedModel.open(tmp_path, CPU)
    x = features(one)
    assert opened.spec == one
    assert np.array_equal(
        opened.embed_images({"context": x["context"]}), model.embed_image(x["context"]).detach().numpy()
    )
    assert np.array_equal(opened.embed_texts(x["text"]), model.embed_text(x["text"]).detach().numpy())
    assert {name: value.tolist() for name, value in opened.model.state_dict().items()} == {
        name: value.tolist() for name, value in model.state_dict().items()
    }


def test_emotions_are_calibrated(tmp_path):
    one = spec("emotion", "joint")
    model, opened = trained(tmp_path, one), TrainedModel.open(tmp_path, CPU)
    x = features(one)
    output = model(x)
    logits = output.logits.detach().numpy().astype(np.float64)
    expected = expit(logits * CALIBRATION["slope"] + CALIBRATION["intercept"])
    said = opened.emotions(x)
    np.testing.assert_allclose(said.probabilities, expected, rtol=1e-6)
    np.testing.assert_array_equal(said.ratings, output.ratings.detach().numpy())
    np.testing.assert_allclose(expit(opened.calibrated_logits(x).detach().numpy()), expected, rtol=1e-4)
    assert opened.thresholds.tolist() == CALIBRATION["thresholds"]
    alone = opened.emotions({"text": x["text"]})
    assert alone.probabilities.shape == (5, 2)
    # An attack may follow the gradient through the calibration.
    image = x["context"].requires_grad_()
    opened.calibrated_logits(x | {"context": image}).sum().backward()
    assert image.grad.any()


def test_a_model_of_the_other_task_is_refused(tmp_path):
    (tmp_path / "emotion").mkdir()
    (tmp_path / "retrieval").mkdir()
    trained(tmp_path / "emotion", spec("emotion", "separate"))
    trained(tmp_path / "retrieval", spec("retrieval", "joint"))
    with pytest.raises(ConfigError, match="no space that images and texts share"):
        TrainedModel.open(tmp_path / "emotion", CPU).embed_texts(torch.zeros(1, 4))
    with pytest.raises(ConfigError, match="trained on toy matches text"):
        TrainedModel.open(tmp_path / "retrieval", CPU).emotions({"text": torch.zeros(1, 4)})


@pytest.mark.parametrize("lost", ["model.json", "model.safetensors"])
def test_a_folder_without_a_model_is_refused(tmp_path, lost):
    trained(tmp_path, spec("emotion", "joint"))
    (tmp_path / lost).unlink()
    with pytest.raises(ConfigError, match="is not a trained model: it has no"):
        load_model(tmp_path)


def test_weights_of_an_earlier_version_are_refused_in_a_sentence(tmp_path):
    """Labelled models of earlier versions have no linear path; another width is as foreign."""
    one = spec("emotion", "joint")
    state = trained(tmp_path, one).state_dict()
    old = {name: x for name, x in state.items() if not name.startswith("linear.")}
    wide = state | {"linear.text.weight": torch.zeros(2, 9)}
    for weights in (old, wide):
        save_file(weights, tmp_path / "model.safetensors")
        with pytest.raises(
            ConfigError,
            match=r"model.safetensors are not those of a joint emotion model as this version of mmer builds it: train the model again$",
        ):
            load_model(tmp_path)


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert select_device("auto") == select_device("cpu") == CPU
    for missing in ("cuda", "mps", "abacus"):
        with pytest.raises(ConfigError, match=f"'{missing}' is not available on this machine; it has cpu"):
            select_device(missing)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert select_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert select_device("auto").type == "cuda"
    assert select_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(
        ConfigError, match="'cuda:2' is not available on this machine; it has cuda, mps, cpu, cuda:0, cuda:1"
    ):
        select_device("cuda:2")
