"""Both families of emotion models: spaces, fusion, missing streams, and who learns from whom."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmer_core.config import EncoderConfig
from mmer_core.models import EmotionModel, ModelSpec, build_model
from mmer_core.models.fusion import FUSIONS

STREAMS = {"context": 7, "body": 5, "text": 4}
FUSED = [*(("joint", fusion) for fusion in FUSIONS), ("separate", "mean"), ("separate-weighted", "weighted")]


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
def test_the_head_reads_the_fusion_of_unit_vectors(fusion):
    built = model("joint", fusion)
    units = []
    for name, features in batch().items():
        projection = built.projections[name](features).detach().numpy()
        units.append(projection / np.linalg.norm(projection, axis=1, keepdims=True))
    streams = torch.from_numpy(np.sqrt(8) * np.stack(units, axis=1)).float()  # (B, S, D)
    logits, ratings = built.head(built.fusion(streams, torch.ones(6, 3, dtype=torch.bool)))
    output = built(batch())
    torch.testing.assert_close(output.logits, logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.ratings, ratings, rtol=1e-4, atol=1e-5)


HOLES = {
    "body": torch.tensor([True, False, True, False, True, True]),
    "text": torch.tensor([True, True, False, False, False, True]),
}


@pytest.mark.parametrize(("family", "fusion"), FUSED)
def test_a_sample_without_a_stream_reads_as_in_a_batch_without_it(family, fusion):
    built, features = model(family, fusion), batch()
    # The values in the place of a missing text must not matter.
    features["text"][2], features["body"][3] = 1e6, float("nan")
    output = built(features, HOLES)
    for row in range(6):
        own = {n: x[row : row + 1] for n, x in features.items() if n not in HOLES or HOLES[n][row]}
        alone = built(own)
        torch.testing.assert_close(output.logits[row], alone.logits[0])
        torch.testing.assert_close(output.ratings[row], alone.ratings[0])
        for name in STREAMS:
            if name in own:
                torch.testing.assert_close(output.embeddings[name][row], alone.embeddings[name][0])
                torch.testing.assert_close(output.stream_logits[name][row], alone.stream_logits[name][0])
            else:
                assert not output.embeddings[name][row].any()
    # A stream that is not there says the same of everybody: it knows nothing.
    for name, rows in HOLES.items():
        assert len(output.stream_logits[name][~rows].unique(dim=0)) == 1
        assert len(output.stream_logits[name][rows].unique(dim=0)) == rows.sum()


@pytest.mark.parametrize(("family", "fusion"), FUSED)
def test_a_sample_without_any_stream_still_gets_a_prediction(family, fusion):
    nobody = {name: torch.zeros(6, dtype=torch.bool) for name in STREAMS}
    output = model(family, fusion)(batch(), nobody)
    assert torch.isfinite(output.logits).all()
    assert torch.isfinite(output.ratings).all()
    assert len(output.logits.unique(dim=0)) == 1


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_statistics_leave_out_what_is_not_there(family):
    built, features = model(family), batch(6)
    whole = {name: features[name][HOLES[name]] if name in HOLES else features[name] for name in STREAMS}
    features["text"][~HOLES["text"]] = 1e6
    built.fit_statistics(features, torch.ones(6, 3), torch.ones(6, 3), HOLES)
    for name, x in whole.items():
        torch.testing.assert_close(built.projections[name].standardise.mean, x.mean(0))
        torch.testing.assert_close(built.projections[name].standardise.std, x.std(0))


@pytest.mark.parametrize(("family", "fusion"), FUSED)
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


def test_learned_weights_of_separate_streams_change_nothing_else():
    """They are a weighted mean of the predictions, and what they learn from sends nothing back to the streams."""
    built = model("separate-weighted", "weighted")
    with torch.no_grad():
        built.fusion.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
    output = built(batch(), HOLES)
    for row in range(6):
        there = [name for name in STREAMS if name not in HOLES or HOLES[name][row]]
        share = np.exp([dict(zip(STREAMS, (0.5, -1.0, 2.0), strict=True))[name] for name in there])
        said = [output.stream_logits[name][row].detach().numpy() for name in there]
        by_hand = (share / share.sum()) @ np.stack(said)
        np.testing.assert_allclose(output.logits[row].detach().numpy(), by_hand, rtol=1e-5, atol=1e-6)
    mask = built.presence(batch(), HOLES)
    *_, (fused, streams) = built.to_learn(built.embed(batch(), mask), mask)
    assert streams == tuple(STREAMS)
    torch.testing.assert_close(fused[0], output.logits)
    fused[0].square().sum().backward()
    assert gradients(built) == {"fusion.weight"}


def test_late_fusion_of_a_joint_space_learns_from_each_stream_alone():
    built = model("joint-late", "late")
    mask = built.presence(batch(), HOLES)
    learned = list(built.to_learn(built.embed(batch(), mask), mask))
    output = built(batch(), HOLES)
    assert len(learned) == len(STREAMS)
    for name, ((logits, ratings), streams) in zip(STREAMS, learned, strict=True):
        assert streams == (name,)
        own = HOLES.get(name, torch.ones(6, dtype=torch.bool))
        torch.testing.assert_close(logits[own], output.stream_logits[name][own])
        torch.testing.assert_close(ratings[own], output.stream_ratings[name][own])
    counts = mask.sum(dim=1, keepdim=True)
    together = sum(output.stream_logits[n] * mask[:, i, None] for i, n in enumerate(STREAMS)) / counts
    torch.testing.assert_close(output.logits, together)  # one linear head: the mean of what it says of each


@pytest.mark.parametrize("fusion", FUSIONS)
def test_joint_streams_share_head_and_space(fusion):
    built = model("joint", fusion)
    built(batch()).logits.square().sum().backward()
    assert gradients(built) >= {f"projections.{name}" for name in STREAMS} | {"head.categories"}


def test_alignment_compares_the_mean_image_with_the_text():
    built = model("joint")
    embeddings = built(batch()).embeddings
    image, text = built.image_and_text(embeddings)
    torch.testing.assert_close(image, F.normalize(embeddings["context"] + embeddings["body"]))
    assert torch.equal(text, embeddings["text"])


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_statistics_are_those_of_the_training_split(family):
    features = batch(30)
    built = model(family)
    for name, x in features.items():
        standardised = built.projections[name].standardise(x)
        torch.testing.assert_close(standardised.mean(0), torch.zeros(x.shape[1]), rtol=0, atol=1e-5)
        torch.testing.assert_close(standardised.std(0), torch.ones(x.shape[1]))
