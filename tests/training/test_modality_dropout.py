"""Which streams a training step may hear."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from support.toy_training import CPU, config, emotion_data, heads_alone, random_heads, spec
from torch.nn.functional import binary_cross_entropy_with_logits as entropy

from mmer_core.config import ARCHITECTURES
from mmer_core.evaluation.emotion_metrics import mean_average_precision
from mmer_core.models import build_model
from mmer_core.training.emotion_learner import EmotionLearner
from mmer_core.training.loop import fit, initialisation
from mmer_core.training.modality_dropout import drop_streams


@given(
    seed=st.integers(0, 10_000), rate=st.floats(0, 0.99), rows=st.integers(1, 30), streams=st.integers(1, 4)
)
@settings(max_examples=60)
def test_a_sample_keeps_some_of_what_it_has_and_gains_nothing(seed, rate, rows, streams):
    torch.manual_seed(seed)
    present = torch.rand(rows, streams) < 0.6
    heard = drop_streams(present, rate)
    assert not (heard & ~present).any()
    assert torch.equal(heard.any(dim=1), present.any(dim=1))


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.8])
def test_subsets_come_as_often_as_they_should(rate):
    """Each stream goes by its own draw; a sample that would lose all three keeps each with the same chance."""
    torch.manual_seed(1)
    heard = drop_streams(torch.ones(40_000, 3, dtype=torch.bool), rate)
    found = np.bincount((heard * torch.tensor([1, 2, 4])).sum(dim=1), minlength=8)
    keep = 1 - rate
    one, two = keep * rate**2 + rate**3 / 3, keep**2 * rate
    expected = 40_000 * np.array([one, one, two, one, two, two, keep**3])
    assert found[0] == 0
    assert chisquare(found[1:], expected).pvalue > 1e-3


def test_nothing_is_dropped_at_rate_zero_and_nothing_is_drawn():
    present = torch.tensor([[True, False], [True, True]])
    state = torch.get_rng_state()
    assert torch.equal(drop_streams(present, 0.0), present)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("family", [name for name in ARCHITECTURES if name != "zero-shot"])
def test_every_family_reads_a_batch_whole_and_with_the_same_streams_missing(family):
    """The losses are the mean over both readings of what the model learns from, for the same draw of streams."""
    one = EmotionLearner(
        build_model(spec("emotion", family, ARCHITECTURES[family].reads or ("context", "body", "text"))),
        *(emotion_data(50, seed) for seed in (1, 2)),
        config(modality_dropout=0.5),
    )
    random_heads(one)
    for module in one.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    torch.manual_seed(3)
    found = one.losses(torch.arange(50))["categories"]
    torch.manual_seed(3)
    data, model = one.train, one.model
    whole = model.presence(data.streams)
    dropped = drop_streams(whole, 0.5)
    assert (dropped != whole).any() == (len(model.streams) > 1)
    embeddings, by_hand = model.embed(data.streams, whole), []
    for mask in (whole, dropped):
        linear = sum(model.read_linearly(data.streams, mask).values())
        if family == "joint":
            by_hand.append(entropy(model.predict(embeddings, mask)[0] + linear, data.labels))
            continue
        for column, name in enumerate(model.streams):
            own = mask[:, column]
            by_hand.append(entropy((model.alone(embeddings, mask)[name][0] + linear)[own], data.labels[own]))
        if family == "separate-weighted":
            by_hand.append(entropy(model.predict(embeddings, mask)[0] + linear, data.labels))
    torch.testing.assert_close(found, torch.stack(by_hand).mean())


def _trained(rate: float, seed: int) -> EmotionLearner:
    training = config(
        epochs=8, patience=8, learning_rate=1e-2, modality_dropout=rate, seed=seed, contrastive_weight=0
    )
    with initialisation(seed):
        model = build_model(spec("emotion", "joint").model_copy(update={"fusion": "concat"}))
    learner = heads_alone(EmotionLearner(model, emotion_data(200, 1), emotion_data(200, 2), training))
    learned = fit(learner, training, device=CPU)
    learner.state.load_state_dict(learned.best_state)  # however clear its lead is
    return learner


@pytest.mark.long
def test_a_model_trained_with_it_reads_single_streams_better():
    """Each stream of the toy shows everything, so how well it is read alone is a matter of training only.

    A map of all streams side by side has least reason to care for a single one.
    """
    test = emotion_data(400, 3)
    alone = {}
    for rate in (0.0, 0.5):
        read = []
        for seed in range(3):
            learner = _trained(rate, seed)
            with torch.inference_mode():
                output = learner.model(test.streams)
            read += [mean_average_precision(x, test.labels) for x in output.stream_logits.values()]
        alone[rate] = np.mean(read)
    assert alone[0.5] > alone[0.0] + 0.01
