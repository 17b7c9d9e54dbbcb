"""Losses and metrics of the learners against formulas written out, and who learns from whom."""

import re
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.metrics import average_precision_score
from support.toy_training import (
    CPU,
    TOGETHER,
    WORDS,
    config,
    emotion_data,
    heads_alone,
    infonce,
    learner,
    retrieval_data,
    spec,
)
from torch.nn import functional as F

from mmer_core.errors import ConfigError, DatasetError
from mmer_core.models import build_model
from mmer_core.objectives import CATEGORY_OBJECTIVES, CONTINUOUS_OBJECTIVES, CONTRASTIVE_OBJECTIVES
from mmer_core.training.data import RetrievalData
from mmer_core.training.emotion_learner import EmotionLearner
from mmer_core.training.loop import fit
from mmer_core.training.retrieval_learner import RetrievalLearner, vocabulary, word_columns, word_targets

ROWS = torch.tensor([3, 0, 11, 7])


def smooth_l1(predicted: torch.Tensor, rated: torch.Tensor) -> torch.Tensor:
    distance = (predicted - rated).abs()
    return torch.where(distance < 1, distance**2 / 2, distance - 0.5).mean()


def test_the_joint_losses_are_those_of_the_fused_output():
    one = learner("emotion", "joint", config(continuous_weight=0.3, contrastive_weight=0.7))
    one.state.eval()
    losses = one.losses(ROWS)
    output = one.model({name: x[ROWS] for name, x in one.train.streams.items()})
    image = F.normalize(output.embeddings["context"] + output.embeddings["body"])
    expected = {
        "categories": F.binary_cross_entropy_with_logits(output.logits, one.train.labels[ROWS]),
        "continuous": 0.3 * smooth_l1(output.ratings, one.train.ratings[ROWS]),
        "contrastive": 0.7 * infonce(image, output.embeddings["text"], 1 / 0.07),
    }
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)


def test_the_separate_losses_are_the_mean_over_streams():
    one = heads_alone(learner("emotion", "separate", config(continuous_weight=0.3)))
    one.state.eval()
    losses = one.losses(ROWS)
    output = one.model({name: x[ROWS] for name, x in one.train.streams.items()})
    by_stream = [
        F.binary_cross_entropy_with_logits(x, one.train.labels[ROWS]) for x in output.stream_logits.values()
    ]
    assert losses.keys() == {"categories", "continuous"}
    torch.testing.assert_close(losses["categories"], sum(by_stream) / 3)
    errors = [smooth_l1(x, one.train.ratings[ROWS]) for x in output.stream_ratings.values()]
    torch.testing.assert_close(losses["continuous"], 0.3 * sum(errors) / 3)


def test_without_text_nothing_is_aligned():
    torch.manual_seed(0)
    data = emotion_data(20, 0)
    data.streams.pop("text")
    one = EmotionLearner(build_model(spec("emotion", "joint", ("context", "body"))), data, data, config())
    assert one.losses(ROWS).keys() == {"categories", "continuous"}


@pytest.mark.parametrize("weights", ["mean", "static", "dynamic"])
def test_the_weights_of_weighted_mse_are_those_of_the_configuration(weights):
    one = learner("emotion", "joint", config(categories="weighted_mse", weighted_mse={"weights": weights}))
    one.state.eval()
    output = one.model(one.train.streams)
    labels = one.train.labels[ROWS]
    share = {"static": one.train.labels.mean(0), "dynamic": labels.mean(0)}.get(weights)
    weight = torch.full((4,), 0.25) if share is None else 1 / torch.log(1.2 + share)
    expected = (weight * (torch.sigmoid(output.logits[ROWS]) - labels) ** 2).sum(1).mean()
    torch.testing.assert_close(one.losses(ROWS)["categories"], expected)


@pytest.mark.parametrize(
    "fields",
    [
        *({"categories": name} for name in CATEGORY_OBJECTIVES),
        *({"continuous": name} for name in CONTINUOUS_OBJECTIVES),
        *({"contrastive": name} for name in CONTRASTIVE_OBJECTIVES),
    ],
    ids=lambda fields: next(iter(fields.values())),
)
@pytest.mark.parametrize(("task", "family"), TOGETHER)
def test_every_objective_of_the_configuration_trains(task, family, fields):
    if (task, family) == ("emotion", "joint") and fields == {"contrastive": "grouped_infonce"}:
        with pytest.raises(ConfigError, match="grouped_infonce is for captioned datasets"):
            learner(task, family, config(**fields))
        return
    one = learner(task, family, config(**fields))
    torch.stack(list(one.losses(torch.arange(20)).values())).sum().backward()
    gradients = [p.grad for p in one.model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


def test_a_separate_stream_learns_the_same_whatever_the_others_show():
    gradients = []
    for disturb in (False, True):
        torch.manual_seed(0)
        one = heads_alone(learner("emotion", "separate", config()))
        one.state.eval()
        if disturb:
            for name in ("context", "body"):
                one.train.streams[name].neg_()
        torch.stack(list(one.losses(ROWS).values())).sum().backward()
        gradients.append({name: p.grad for name, p in one.model.named_parameters() if p.requires_grad})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]) == (".text." in name), name


def test_separate_retrieval_learns_words_in_each_modality_and_a_map_between():
    one = learner("retrieval", "separate", config())
    one.state.eval()
    torch.manual_seed(4)
    losses = one.losses(ROWS)
    assert losses.keys() == {"image_words", "text_words", "contrastive"}
    reached = {}
    for name, loss in losses.items():
        one.state.zero_grad()
        loss.backward(retain_graph=True)
        reached[name] = {
            n.split(".")[0] for n, p in one.model.named_parameters() if p.grad is not None and p.grad.any()
        }
    assert reached == {
        "image_words": {"image", "image_words"},
        "text_words": {"text", "text_words"},
        "contrastive": {"maps", "logit_scale"},
    }


def test_words_start_from_how_many_captions_hold_them():
    data = retrieval_data(40, 0)
    one = RetrievalLearner(build_model(spec("retrieval", "separate")), data, data, config())
    held = [sum(word in caption.split() for caption in data.captions) for word in WORDS]
    expected = torch.tensor([(count + 1) / (len(data.captions) + 2) for count in held])
    for predictor in (one.model.image_words, one.model.text_words):
        torch.testing.assert_close(predictor.bias.sigmoid(), expected)


def test_rare_words_do_not_make_all_embeddings_of_a_separate_space_alike():
    """From biases of zero, all of them went the one way that says of every word that it is rare."""
    rng = np.random.default_rng(0)
    about = rng.integers(100, size=1000)  # of each photo, the one of 100 words that its caption holds
    seen = np.random.default_rng(1).normal(size=(100, 40))[about]
    images, texts = (torch.from_numpy(seen + 0.3 * rng.normal(size=seen.shape)).float() for _ in range(2))
    words = tuple(f"w{number:02}" for number in range(100))
    data = RetrievalData(images, texts, torch.arange(1000), [words[number] for number in about])
    wide = spec("retrieval", "separate").model_copy(
        update={"streams": {"context": 40, "text": 40}, "words": words, "embedding": 64, "heads": 1}
    )
    torch.manual_seed(0)
    one = RetrievalLearner(build_model(wide), data, data, config(contrastive="grouped_infonce"))
    fit(one, config(epochs=4, batch_size=64), device=CPU)
    for embedded in (one.model.own_image_embedding(images), one.model.own_text_embedding(texts)):
        common = embedded.mean(dim=0).square().sum() / embedded.square().sum(dim=1).mean()
        assert common < 0.3


@pytest.mark.parametrize("task", ["emotion", "retrieval"])
def test_a_temperature_that_is_given_is_held(task):
    learned, held = (learner(task, "joint", config(temperature=t, epochs=2)) for t in (None, 0.2))
    for one in (learned, held):
        fit(one, config(epochs=2), device=CPU)
    assert held.model.logit_scale.exp().item() == pytest.approx(5.0)
    assert learned.model.logit_scale.exp().item() != pytest.approx(1 / 0.07, rel=1e-6)
    fresh = learner(task, "joint", config(temperature=0.2))
    fresh.state.eval()
    other = learner(task, "joint", config())
    other.state.eval()
    other.model.logit_scale.data.fill_(np.log(5.0))
    losses = []
    for one in (fresh, other):
        torch.manual_seed(0)
        losses.append(one.losses(ROWS)["contrastive"])
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_retrieval_losses_pair_every_image_with_a_caption_of_its_own(family):
    torch.manual_seed(0)
    data = retrieval_data(15, 0, per_image=1)  # one caption each: nothing is drawn
    single = spec("retrieval", family).model_copy(update={"heads": 1})
    one = RetrievalLearner(build_model(single), data, data, config(contrastive="grouped_infonce"))
    one.state.eval()
    losses = one.losses(ROWS)
    texts = torch.tensor([data.text_image.tolist().index(image) for image in ROWS.tolist()])
    image, text = one.model.embed_image(data.images[ROWS]), one.model.embed_text(data.texts[texts])
    torch.testing.assert_close(losses["contrastive"], infonce(image, text, 1 / 0.07))
    if family == "separate":
        held = torch.tensor([[float(word in data.captions[t].split()) for word in WORDS] for t in texts])
        said = one.model.text_words(one.model.own_text_embedding(data.texts[texts]))
        torch.testing.assert_close(losses["text_words"], 100 * F.binary_cross_entropy_with_logits(said, held))
        seen = one.model.image_words(one.model.own_image_embedding(data.images[ROWS]))
        torch.testing.assert_close(
            losses["image_words"], 100 * F.binary_cross_entropy_with_logits(seen, held)
        )


def test_all_captions_get_their_turn_and_images_without_one_are_left_out():
    torch.manual_seed(0)
    data = retrieval_data(12, 0, per_image=3)
    keep = data.text_image != 5
    data = type(data)(
        data.images,
        data.texts[keep],
        data.text_image[keep],
        [c for c, k in zip(data.captions, keep, strict=True) if k],
    )
    single = spec("retrieval", "joint").model_copy(update={"heads": 1})
    one = RetrievalLearner(build_model(single), data, data, config(captions=1))
    shown: Counter[tuple[int, int]] = Counter()
    one.model.embed_image = lambda x: x
    one.model.embed_text = lambda y: y

    class Watch(torch.nn.Module):
        def forward(self, image, text, image_id, scale):
            for x, y, i in zip(image, text, image_id.tolist(), strict=True):
                assert torch.equal(x, data.images[i])
                (caption,) = (data.texts == y).all(dim=1).nonzero()[0].tolist()
                shown[i, caption] += 1
            return image.sum()

    one.state["contrastive"] = Watch()
    assert len(one) == 11
    for _ in range(60):
        one.losses(torch.arange(11))
    pairs = {(image, text) for text, image in enumerate(data.text_image.tolist())}
    assert set(shown) == pairs
    assert min(shown.values()) > 5


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_emotion_metrics_are_sklearns(family):
    one = learner("emotion", family, config())
    one.state.eval()
    output = one.model(one.val.streams)
    labels, logits = one.val.labels.numpy(), output.logits.detach().numpy()
    found = one.validate()
    each = [average_precision_score(labels[:, c], logits[:, c]) for c in range(labels.shape[1])]
    assert found["map"] == pytest.approx(100 * np.mean(each))
    assert found["vad_mae"] == pytest.approx((output.ratings - one.val.ratings).abs().mean().item(), rel=1e-5)
    assert one.selection in found


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_mean_recall_is_that_of_the_whole_matrix(family):
    one = learner("retrieval", family, config())
    one.state.eval()
    scores = (one.model.embed_image(one.val.images) @ one.model.embed_text(one.val.texts).T).detach().numpy()
    owner = one.val.text_image.numpy()
    recalls = []
    for k in (1, 5, 10):
        # Other captions of the same image never stand in its way: only the best one is ranked.
        found = [(row[owner != i] > row[owner == i].max()).sum() < k for i, row in enumerate(scores)]
        back = [(column > column[i]).sum() < k for column, i in zip(scores.T, owner, strict=True)]
        recalls += [np.mean(found), np.mean(back)]
    found = one.validate()
    assert found[one.selection] == pytest.approx(100 * np.mean(recalls))


CAPTIONS = [
    "The dogs run!",
    "dogs, dogs and DOGS",
    "A dog runs; the snow",
    "snow in winter",
    "a x b",
    "Über snow",
]


def test_the_vocabulary_is_that_of_a_loop():
    documents = Counter()
    for caption in CAPTIONS:
        words = set(re.findall(r"\b\w\w+\b", caption.lower()))
        documents.update(word for word in words if word not in ENGLISH_STOP_WORDS)
    assert (
        vocabulary(CAPTIONS, least=2)
        == tuple(sorted(w for w, n in documents.items() if n >= 2))
        == ("dogs", "snow")
    )
    assert vocabulary(CAPTIONS, least=1) == tuple(sorted(documents))
    assert vocabulary(CAPTIONS, size=1, least=1) == ("snow",)  # in three captions; dogs in two, four times
    for captions in (["one two"], [], ["the and a"] * 9):
        with pytest.raises(
            DatasetError, match=f"no word occurs in 5 of the {len(captions)} training captions"
        ):
            vocabulary(captions)


def test_word_targets_are_those_of_a_loop():
    words = ("dogs", "snow", "über", "absent")
    expected = [[word in re.findall(r"\w+", caption.lower()) for word in words] for caption in CAPTIONS]
    assert word_targets(word_columns(CAPTIONS, words), len(words)).bool().tolist() == expected
    assert not word_targets(word_columns(["nothing"], words), len(words)).any()


def test_several_captions_of_a_photo_are_contrasted_head_by_head():
    torch.manual_seed(0)
    data = retrieval_data(15, 0, per_image=3)
    one = RetrievalLearner(
        build_model(spec("retrieval", "joint")), data, data, config(contrastive="grouped_infonce", captions=3)
    )
    one.state.eval()
    found = one.losses(ROWS)["contrastive"]
    texts = torch.tensor([t for t, image in enumerate(data.text_image.tolist()) if image in ROWS.tolist()])
    owner = data.text_image[texts]
    each = []
    for image_head, text_head in zip(one.model.image.heads, one.model.text.heads, strict=True):
        image = F.normalize(image_head(data.images[ROWS]), dim=-1)
        logits = F.normalize(text_head(data.texts[texts]), dim=-1) @ image.T / 0.07
        terms = []
        for row, own in enumerate((owner[:, None] == ROWS).int().argmax(dim=1).tolist()):
            terms.append(F.cross_entropy(logits[row][None], torch.tensor([own])))
            rivals = logits[owner != owner[row], own]
            among = torch.cat([logits[row, own][None], rivals])[None]
            terms.append(F.cross_entropy(among, torch.tensor([0])))
        each.append(torch.stack(terms).mean())
    torch.testing.assert_close(found, torch.stack(each).mean())


def test_a_step_shows_no_more_captions_than_asked_for():
    torch.manual_seed(0)
    data = retrieval_data(12, 0, per_image=4)
    one = RetrievalLearner(
        build_model(spec("retrieval", "joint")), data, data, config(contrastive="grouped_infonce", captions=2)
    )
    shown = []
    embed = one.model.embed_text
    one.model.embed_text = lambda y: shown.append(len(y)) or embed(y)
    one.losses(ROWS)
    assert shown == [2 * len(ROWS)]
