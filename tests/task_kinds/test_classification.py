"""Single-label classification: what is learned, predicted and attacked, against torch and the plain formulas."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.toy_training import CPU, config, emotion_data, spec

from mmer_core.config import AttackConfig, EvaluationConfig, PromptConfig
from mmer_core.datasets.prepared import DatasetSummary, PreparedSplit
from mmer_core.errors import ConfigError, DatasetError
from mmer_core.inference import CALIBRATION_FILE, TrainedModel
from mmer_core.models import build_model, save_model
from mmer_core.task_kinds import kind_of
from mmer_core.task_kinds.emotion_attacks import emotion_criterion
from mmer_core.training.data import EmotionData
from mmer_core.training.loop import fit

KIND = kind_of("classification")
LABELS = ("bad", "fair", "good", "best")


def class_data(count: int, seed: int) -> EmotionData:
    """The label is the largest of the hidden numbers, and nobody is rated."""
    data = emotion_data(count, seed)
    hidden = np.random.default_rng(seed).normal(size=(count, 4))
    return replace(data, labels=torch.eye(4)[hidden.argmax(axis=1)], ratings=torch.zeros(count, 0))


def class_spec(family: str, **fields: object):
    return spec("emotion", family).model_copy(
        update={"task": "classification", "labels": LABELS, "dimensions": (), **fields}
    )


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_a_softmax_learns_from_the_first_step_to_one_calibrated_label(family, tmp_path):
    torch.manual_seed(0)
    train, val = class_data(300, 0), class_data(120, 1)
    network = build_model(class_spec(family))
    learner = KIND.learner(network, train, val, config(epochs=12, batch_size=32, modality_dropout=0.0))
    biases = [value for name, value in network.named_parameters() if name.endswith("categories.bias")]
    assert len(biases) == (3 if family == "separate" else 1)
    rows = torch.arange(40)
    learner.state.eval()
    # Where the intercepts of a logistic regression are best, its mean probabilities are the labels' shares.
    shares = network(train.streams).logits.softmax(dim=1).mean(dim=0)
    torch.testing.assert_close(shares, train.labels.mean(dim=0), atol=0.01, rtol=0)
    output = network({name: values[rows] for name, values in train.streams.items()})
    expected = torch.nn.functional.cross_entropy(output.logits, train.labels[rows].argmax(dim=1))
    torch.testing.assert_close(learner.losses(rows)["categories"], expected)
    progress = fit(learner, config(epochs=12, batch_size=32, modality_dropout=0.0), device=CPU)
    assert max(row["val_macro_f1"] for row in progress.history) > 75

    one = class_spec(family)
    save_model(network, one, tmp_path)
    KIND.calibrate(network, one, val, tmp_path)
    opened = TrainedModel.open(tmp_path, CPU)
    found = opened.emotions(val.streams)
    temperature = json.loads((tmp_path / CALIBRATION_FILE).read_text())["temperature"]
    logits = network(val.streams).logits.double()
    np.testing.assert_allclose(found.probabilities, (logits / temperature).softmax(dim=1).detach(), rtol=1e-4)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    decided = opened.decisions(found.probabilities)
    assert (decided.sum(axis=1) == 1).all()
    assert (decided.argmax(axis=1) == logits.argmax(dim=1).numpy()).all()
    with pytest.raises(ConfigError, match="most probable category and has no thresholds"):
        emotion_criterion(AttackConfig(criterion="labels"), opened, torch.from_numpy(found.probabilities))


def test_an_untrained_dual_encoder_answers_as_clip_does():
    model = build_model(
        class_spec("zero-shot", streams={"context": 12}, embedding=12, prompts=PromptConfig())
    )
    torch.manual_seed(0)
    model.prompts.normal_()
    model.logit_scale.fill_(3.0)
    features = torch.randn(5, 12)
    cosines = torch.nn.functional.cosine_similarity(features[:, None], model.prompts[None], dim=-1)
    torch.testing.assert_close(model({"context": features}).logits, np.exp(3.0) * cosines)


def test_one_label_alone_cannot_be_learned():
    data = replace(class_data(20, 0), labels=torch.ones(20, 1))
    with pytest.raises(DatasetError, match="nothing to tell apart"):
        KIND.learner(build_model(class_spec("joint", labels=("good",))), data, data, config())


def test_samples_of_a_label_that_the_model_lacks_are_refused(tmp_path):
    card = DatasetSummary(
        name="odd", task="classification", labels=("bad", "odd"), counts={"test": 1}, texts={}, quarantined={},
        inputs=1, protocol="splits given", synthetic=False,
    )  # fmt: skip
    with pytest.raises(DatasetError, match="knows no odd"):
        KIND.matched(
            PreparedSplit(tmp_path, "test", card), class_spec("joint"), EvaluationConfig(labels="shared")
        )
