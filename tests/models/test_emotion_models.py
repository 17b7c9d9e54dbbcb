"""Both families of emotion models: spaces, fusion, missing streams, and who learns from whom."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmer_core.config import EncoderConfig
from mmer_core.models import EmotionModel, ModelSpec, build_model

STREAMS = {"context": 7, "body": 5, "text": 4}
FUSIONS = ("mean", "gated", "concat")


def model(family: str, fusion: str = "mean", **fields: object) -> EmotionModel:
    spec = {
        "streams": STREAMS,
        "embedding": 8,
        "hidden": 6,
        "dropout": 0.0,
        "labels": ("a", "b", "c"),
    } | fields
    torch.manual_seed(0)
    built = build_model(
        ModelSpec(
            task="emotion", family=family, fusion=fusion, encoders=EncoderConfig(), dataset="toy", **spec
        )
    )
    assert isinstance(built, EmotionModel)
    rng = torch.Generator().manual_seed(1)
    labels, ratings = torch.rand(30, 3, generator=rng).round(), 1 + 9 * torch.rand(30, 3, generator=rng)
    built.fit_statistics(batch(30), labels, ratings)
    return built.eval()


def batch(size: int = 6, seed: int = 2) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {name: 3 + 2 * torch.randn(size, width, generator=rng) for name, width in STREAMS.items()}


def gradients(built: EmotionModel) -> set[str]:
    """Top two parts of the names of the parameters that a backward pass reached."""
    return {
        ".".join(n.split(".")[:2]) for n, p in built.named_parameters() if p.grad is not None and p.grad.any()
    }


@pytest.mark.parametrize("fusion", FUSIONS)
def test_joint_embeddings_are_unit_vectors(fusion):
    output = model("joint", fusion)(batch())
    for name in STREAMS:
        assert output.embeddings[name].shape == (6, 8)
        torch.testing.assert_close(output.embeddings[name].norm(dim=1), torch.ones(6))
    assert output.logits.shape == (6, 3)
    assert output.ratings.shape == (6, 3)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_fusion_is_its_formula(fusion):
    built = model("joint", fusion)
    units = []
    for name, features in batch().items():
        projection = built.projections[name](features).detach().numpy()
        units.append(projection / np.linalg.norm(projection, axis=1, keepdims=True))
    stacked = np.stack(units)  # (S, B, D)
    if fusion == "mean":
        fused = stacked.sum(axis=0) / 3
    elif fusion == "gated":
        weight, bias = (p.detach().numpy() for p in (built.gate.weight, built.gate.bias))
        gate = np.exp((np.sqrt(8) * stacked) @ weight.T + bias)
        fused = (gate / gate.sum(axis=0) * stacked).sum(axis=0)
    else:
        weight, bias = (p.detach().numpy() for p in (built.mix.weight, built.mix.bias))
        fused = np.concatenate(units, axis=1) @ weight.T + bias
    logits, ratings = built.head(torch.from_numpy(np.sqrt(8) * fused).float())
    output = built(batch())
    torch.testing.assert_close(output.logits, logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.ratings, ratings, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["separate", "joint"])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(
    "present", [("context",), ("text",), ("body", "context"), ("text", "body", "context")]
)
def test_a_missing_stream_is_done_without(family, fusion, present):
    built = model(family, fusion)
    whole, some = built(batch()), built({name: batch()[name] for name in present})
    assert set(some.stream_logits) == set(some.embeddings) == set(present)
    assert torch.isfinite(some.logits).all()
    assert torch.isfinite(some.ratings).all()
    for name in present:  # what a stream says alone does not depend on who else is there
        torch.testing.assert_close(some.stream_logits[name], whole.stream_logits[name])
        torch.testing.assert_close(some.stream_ratings[name], whole.stream_ratings[name])
    if len(present) == 1:
        torch.testing.assert_close(some.logits, some.stream_logits[present[0]])
    if len(present) == 3:  # the order in which streams are given does not matter
        torch.testing.assert_close(some.logits, whole.logits)


def test_separate_is_late_fusion():
    output = model("separate")(batch())
    by_hand = sum(output.stream_logits[name] for name in STREAMS) / 3
    torch.testing.assert_close(output.logits, by_hand)
    torch.testing.assert_close(output.ratings, sum(output.stream_ratings[name] for name in STREAMS) / 3)


@pytest.mark.parametrize("stream", STREAMS)
def test_separate_streams_do_not_learn_from_each_other(stream):
    built = model("separate")
    output = built(batch())
    (output.stream_logits[stream].square().sum() + output.stream_ratings[stream].square().sum()).backward()
    assert gradients(built) == {f"projections.{stream}", f"heads.{stream}"}


@pytest.mark.parametrize("fusion", FUSIONS)
def test_joint_streams_share_head_and_space(fusion):
    built = model("joint", fusion)
    built(batch()).logits.square().sum().backward()
    assert gradients(built) >= {f"projections.{name}" for name in STREAMS} | {"head.categories"}


def test_alignment_compares_the_mean_image_with_the_text():
    built = model("joint")
    output = built(batch())
    image, text = built.image_and_text(output)
    by_hand = F.normalize(output.embeddings["context"] + output.embeddings["body"])
    torch.testing.assert_close(image, by_hand)
    assert torch.equal(text, output.embeddings["text"])


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_statistics_are_those_of_the_training_split(family):
    features = batch(30)
    built = model(family)
    for name, x in features.items():
        standardised = built.projections[name].standardise(x)
        torch.testing.assert_close(standardised.mean(0), torch.zeros(x.shape[1]), rtol=0, atol=1e-5)
        torch.testing.assert_close(standardised.std(0), torch.ones(x.shape[1]))
