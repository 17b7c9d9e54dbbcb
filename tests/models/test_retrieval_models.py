"""Both families of retrieval models."""

import pytest
import torch
from torch.nn import functional as F

from mmer_core.config import EncoderConfig
from mmer_core.models import ModelSpec, RetrievalModel, build_model


def model(family: str, heads: int = 1) -> RetrievalModel:
    torch.manual_seed(0)
    built = build_model(
        ModelSpec(
            task="retrieval",
            family=family,
            streams={"context": 7, "text": 4},
            embedding=8,
            hidden=6,
            dropout=0.0,
            heads=heads,
            words=("dog", "snow", "run"),
            encoders=EncoderConfig(),
            dataset="toy",
        )
    )
    assert isinstance(built, RetrievalModel)
    built.fit_statistics(5 + torch.randn(30, 7), torch.randn(30, 4))
    return built.eval()


def gradients(built: RetrievalModel) -> set[str]:
    """First parts of the names of the parameters that a backward pass reached."""
    return {name.split(".")[0] for name, p in built.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_embeddings_are_unit_vectors(family):
    built = model(family)
    for embedded in (built.embed_image(torch.randn(5, 7)), built.embed_text(torch.randn(5, 4))):
        assert embedded.shape == (5, 8)
        torch.testing.assert_close(embedded.norm(dim=1), torch.ones(5))


def test_joint_learns_both_projections_from_the_similarity():
    built = model("joint")
    images, texts = torch.randn(5, 7), torch.randn(5, 4)
    aligned = built.to_align(images, texts)
    assert torch.equal(aligned[0], built.embed_image(images))
    assert torch.equal(aligned[1], built.embed_text(texts))
    (aligned[0] @ aligned[1].T).square().sum().backward()
    assert gradients(built) == {"image", "text"}


def test_separate_modalities_never_see_a_gradient_from_each_other():
    built = model("separate")
    images, texts = torch.randn(5, 7), torch.randn(5, 4)
    aligned = built.to_align(images, texts)
    assert torch.equal(aligned[0], built.embed_image(images))
    assert torch.equal(aligned[1], built.embed_text(texts))
    (aligned[0] @ aligned[1].T).square().sum().backward()
    assert gradients(built) == {"maps"}
    built.zero_grad()
    built.image_words(built.own_image_embedding(torch.randn(5, 7))).square().sum().backward()
    assert gradients(built) == {"image", "image_words"}
    built.zero_grad()
    built.text_words(built.own_text_embedding(torch.randn(5, 4))).square().sum().backward()
    assert gradients(built) == {"text", "text_words"}


def test_separate_matches_through_the_map():
    built = model("separate", heads=2)
    images, texts = torch.randn(5, 7), torch.randn(5, 4)
    expected = torch.zeros(5, 5)
    for head, to_text in enumerate(built.maps):
        image, text = built.image.heads[head](images), built.text.heads[head](texts)
        own = 8**0.5 * image / image.norm(dim=1, keepdim=True)
        mapped = own @ to_text.weight.T + to_text.bias
        expected += F.cosine_similarity(mapped[:, None], text[None], dim=-1) / 2
    torch.testing.assert_close(built.embed_image(images) @ built.embed_text(texts).T, expected)


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_a_trained_model_tells_its_slopes(family):
    """Attacks ask for them."""
    built = model(family).double()
    direction = torch.randn(8).double()
    features = (5 + torch.randn(1, 7)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: built.embed_image(x) @ direction, features)
    (slope,) = torch.autograd.grad((built.embed_image(features) @ direction).sum(), features)
    assert slope.abs().max() > 1e-4
