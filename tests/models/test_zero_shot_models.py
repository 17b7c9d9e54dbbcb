"""Models that nobody trained, and trained ones that start from them, against the formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity

from mmer_core.config import EncoderConfig, PromptConfig
from mmer_core.errors import ConfigError
from mmer_core.models import (
    JointRetrievalModel,
    ModelSpec,
    ZeroShotEmotionModel,
    ZeroShotRetrievalModel,
    build_model,
    load_model,
    save_model,
    start_from_towers,
)


def spec(task: str = "retrieval", *, width: int = 6, scores: str = "softmax", **fields: object) -> ModelSpec:
    emotion = {"context": width, "body": width}
    return ModelSpec(
        **{
            "task": task,
            "family": "zero-shot",
            "streams": emotion if task == "emotion" else {"context": width, "text": width},
            "embedding": width,
            "hidden": 0,
            "dropout": 0.0,
            "labels": ("glad", "sad", "calm") if task == "emotion" else (),
            "dimensions": (),
            "prompts": PromptConfig(scores=scores),
            "encoders": EncoderConfig(image="hf:x", text="hf:x"),
            "dataset": "toy",
            **fields,
        }
    )


def asked(scores: str, scale: float = 20.0, bias: float = -3.0) -> ZeroShotEmotionModel:
    model = build_model(spec("emotion", scores=scores))
    torch.manual_seed(0)
    model.prompts.normal_()
    model.logit_scale.fill_(scale).log_()
    model.logit_bias.fill_(bias)
    return model.eval()


def test_retrieval_is_the_cosine_of_the_features():
    model = build_model(spec())
    assert isinstance(model, ZeroShotRetrievalModel)
    image, text = torch.randn(4, 6), torch.randn(5, 6)
    expected = cosine_similarity(image[:, None], text[None], dim=-1)
    torch.testing.assert_close(model.embed_image(image) @ model.embed_text(text).T, expected)
    assert not list(model.parameters())


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 100.0))
def test_a_softmax_gives_the_log_odds_of_a_share(seed, scale):
    model = asked("softmax", scale)
    features = {
        name: torch.randn(3, 6, generator=torch.Generator().manual_seed(seed)) for name in ("context",)
    }
    cosines = cosine_similarity(features["context"][:, None], model.prompts[None], dim=-1)
    share = (scale * cosines).double().softmax(dim=-1)
    logits = model(features).logits.double()
    np.testing.assert_allclose(torch.sigmoid(logits), share, atol=1e-5)
    np.testing.assert_allclose(torch.sigmoid(logits).sum(dim=-1), 1, atol=1e-4)


def test_a_sigmoid_gives_the_scaled_cosine_and_the_bias():
    model, features = asked("sigmoid"), {"context": torch.randn(3, 6), "body": torch.randn(3, 6)}
    output = model(features)
    alone = [20 * cosine_similarity(x[:, None], model.prompts[None], dim=-1) - 3 for x in features.values()]
    torch.testing.assert_close(output.stream_logits["body"], alone[1])
    torch.testing.assert_close(output.logits, torch.stack(alone).mean(dim=0))
    assert output.ratings.shape == (3, 0)
    # It reads images only; a text beside them changes nothing.
    assert torch.equal(model(features | {"text": torch.randn(3, 9)}).logits, output.logits)


def test_a_sample_without_a_stream_is_read_from_the_others():
    model, features = asked("sigmoid"), {"context": torch.randn(2, 6), "body": torch.randn(2, 6)}
    output = model(features, {"body": torch.tensor([True, False])})
    torch.testing.assert_close(output.logits[0], model(features).logits[0])
    torch.testing.assert_close(output.logits[1], output.stream_logits["context"][1])
    assert torch.isfinite(
        model(features, dict.fromkeys(features, torch.zeros(2, dtype=torch.bool))).logits
    ).all()


def test_one_category_has_no_rivals():
    with pytest.raises(ConfigError, match="no rivals"):
        build_model(spec("emotion", labels=("glad",)))
    build_model(spec("emotion", labels=("glad",), scores="sigmoid"))


def test_it_comes_back_from_disk(tmp_path):
    model = asked("sigmoid")
    save_model(model, spec("emotion", scores="sigmoid"), tmp_path)
    again, read = load_model(tmp_path)
    features = {"context": torch.randn(3, 6)}
    assert read.prompts.scores == "sigmoid"
    assert torch.equal(again(features).logits, model(features).logits)


@pytest.mark.parametrize("hidden", [0, 16])
def test_a_joint_model_can_start_where_zero_shot_ends(hidden):
    model = build_model(spec(family="joint", hidden=hidden, dropout=0.4)).eval()
    assert isinstance(model, JointRetrievalModel)
    torch.manual_seed(1)
    image, text = 10 * torch.randn(50, 6) + 3, torch.randn(40, 6) * torch.logspace(-2, 2, 6)
    model.fit_statistics(image, text)
    before = model.embed_image(image) @ model.embed_text(text).T
    start_from_towers(model, 50.0)
    expected = cosine_similarity(image[:, None], text[None], dim=-1)
    scores = model.embed_image(image) @ model.embed_text(text).T
    assert not torch.allclose(before, expected, atol=1e-2)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
    assert model.logit_scale.exp().item() == pytest.approx(50.0)
    # And it can leave: the loss reaches the linear map and the last layer of the branch.
    scores.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in (model.image.linear.weight, model.text.linear.weight))
    if hidden:
        assert model.image.branch[-1].weight.grad.abs().sum() > 0


def test_a_start_needs_the_width_of_the_towers():
    model = build_model(spec(family="joint", embedding=4))
    with pytest.raises(ConfigError, match="features of width 6"):
        start_from_towers(model, 1.0)
