"""Learning from samples of which some have no text, or no image."""

from dataclasses import replace

import pytest
import torch
from support.toy_training import (
    config,
    emotion_data,
    heads_alone,
    infonce,
    spec,
    without_images,
    without_texts,
)
from torch.nn import functional as F

from mmer_core.models import build_model
from mmer_core.training.emotion_learner import EmotionLearner
from mmer_core.training.loop import initialisation


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_what_stands_in_the_place_of_a_missing_text_or_image_does_not_matter(family):
    training, found = config(), []
    for filler in (0.0, 1e5):
        texts = [without_texts(emotion_data(50, seed), 0.4, filler) for seed in (1, 2)]
        data = [without_images(one, 0.3, filler) for one in texts]
        with initialisation(0):
            one = EmotionLearner(build_model(spec("emotion", family)), *data, training)
        torch.manual_seed(3)
        losses = one.losses(torch.arange(50))
        torch.stack(list(losses.values())).sum().backward()
        found.append((losses, one.validate(), {n: p.grad for n, p in one.model.named_parameters()}))
    (losses, metrics, gradients), (others, other_metrics, other_gradients) = found
    assert all(torch.equal(losses[name], others[name]) for name in losses)
    assert metrics == other_metrics
    assert all(torch.equal(g, other_gradients[name]) for name, g in gradients.items() if g is not None)


def test_streams_of_the_baseline_learn_from_the_samples_that_have_them():
    data = without_texts(emotion_data(50, 1), 0.4)
    one = heads_alone(EmotionLearner(build_model(spec("emotion", "separate")), data, data, config()))
    one.state.eval()
    output, there = one.model(data.streams, data.present), data.present["text"]
    assert 0 < there.sum() < 50
    losses = [
        F.binary_cross_entropy_with_logits(output.stream_logits[name][own], data.labels[own])
        for name, own in (("body", slice(None)), ("context", slice(None)), ("text", there))
    ]
    torch.testing.assert_close(one.losses(torch.arange(50))["categories"], sum(losses) / 3)
    nobody = (~there).nonzero()[:5, 0]  # a batch in which nobody has a text
    losses = [F.binary_cross_entropy_with_logits(output.stream_logits[name][nobody], data.labels[nobody])
              for name in ("body", "context")]  # fmt: skip
    torch.testing.assert_close(one.losses(nobody)["categories"], sum(losses) / 2)


def test_a_batch_in_which_nobody_has_what_a_model_reads_teaches_what_is_said_of_them():
    data = without_texts(emotion_data(50, 1), 0.4)
    one = EmotionLearner(build_model(spec("emotion", "text-only", ("text",))), data, data, config())
    nobody = (~data.present["text"]).nonzero()[:5, 0]
    losses = one.losses(nobody)
    constant = one.model.heads["text"].categories.bias.expand(5, -1)
    expected = F.binary_cross_entropy_with_logits(constant, data.labels[nobody])
    torch.testing.assert_close(losses["categories"], expected)


def test_only_texts_that_are_there_are_aligned():
    data = without_texts(emotion_data(50, 1), 0.4)
    one = EmotionLearner(build_model(spec("emotion", "joint")), data, data, config(contrastive_weight=1.0))
    one.state.eval()
    embeddings, there = one.model(data.streams, data.present).embeddings, data.present["text"]
    image = F.normalize(embeddings["context"] + embeddings["body"])
    expected = infonce(image[there], embeddings["text"][there], 1 / 0.07)
    torch.testing.assert_close(one.losses(torch.arange(50))["contrastive"], expected)
    assert "contrastive" not in one.losses((~there).nonzero()[:5, 0])


def test_only_pairs_of_an_image_and_a_text_are_aligned():
    data = without_images(without_texts(emotion_data(50, 1), 0.4), 0.4)
    one = EmotionLearner(build_model(spec("emotion", "joint")), data, data, config(contrastive_weight=1.0))
    one.state.eval()
    embeddings, pairs = (
        one.model(data.streams, data.present).embeddings,
        data.present["text"] & data.present["body"],
    )
    assert 0 < pairs.sum() < min(data.present["text"].sum(), data.present["body"].sum())
    image = F.normalize(embeddings["context"] + embeddings["body"])
    expected = infonce(image[pairs], embeddings["text"][pairs], 1 / 0.07)
    torch.testing.assert_close(one.losses(torch.arange(50))["contrastive"], expected)
    assert "contrastive" not in one.losses((~pairs).nonzero()[:5, 0])


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_a_split_in_which_nobody_has_an_image_is_read_from_its_texts(family):
    data = emotion_data(50, 1)
    nobody = replace(data, streams={"text": data.streams["text"]})
    learnt = EmotionLearner(build_model(spec("emotion", family)), data, nobody, config())
    absent = dict.fromkeys(("context", "body"), torch.zeros(50, dtype=torch.bool))
    expected = learnt.model(data.streams, absent).logits
    torch.testing.assert_close(learnt.model(nobody.streams).logits, expected)
    alone = EmotionLearner(build_model(spec("emotion", family, ("text",))), nobody, nobody, config())
    assert "contrastive" not in alone.losses(torch.arange(50))
