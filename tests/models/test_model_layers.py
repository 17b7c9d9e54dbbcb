"""The building blocks against formulas written out in numpy."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn

from mmer_core.models.layers import (
    LIMIT,
    AttentionPool,
    EmotionHead,
    Power,
    Projection,
    ProjectionHeads,
    Standardise,
)


def test_standardise_is_the_z_score_of_the_training_split():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(50, 4)) * [1e-3, 1, 1e4, 5] + [0, 7, -1e4, 2]
    other = rng.normal(size=(3, 4)) * [1e-3, 1, 1e4, 5] + [0, 7, -1e4, 2]
    layer = Standardise(4)
    layer.fit(torch.from_numpy(train).float())
    expected = (other - train.mean(axis=0)) / train.std(axis=0, ddof=1)
    np.testing.assert_allclose(layer(torch.from_numpy(other).float()).numpy(), expected, rtol=1e-3, atol=1e-3)
    assert not list(layer.parameters())


@pytest.mark.filterwarnings("error")
def test_one_sample_to_train_on_has_no_spread():
    one = torch.tensor([[2.0, -3.0]])
    layer = Standardise(2)
    layer.fit(one)
    assert layer(one + 1).tolist() == [[1.0, 1.0]]
    head = EmotionHead(4, 2, dimensions=2)
    head.fit(torch.ones(1, 2), one)
    assert head.rating_std.isfinite().all()


def test_nothing_lies_further_out_than_the_limit():
    layer = Standardise(1)
    layer.fit(torch.tensor([[-1.0], [0.0], [1.0]]))
    said = layer(torch.tensor([[-1e6], [-LIMIT], [3.0], [LIMIT], [1e6]]))
    assert said[:, 0].tolist() == [-LIMIT, -LIMIT, 3.0, LIMIT, LIMIT]


def test_a_feature_that_is_silent_on_train_does_not_blow_up_later():
    layer = Standardise(2)
    layer.fit(torch.tensor([[3.0, 0.0], [3.0, 1.0], [3.0, 2.0]]))
    assert layer(torch.tensor([[3.0, 1.0], [3.5, 3.0]])).tolist() == [[0.0, 0.0], [0.5, 2.0]]


def test_a_projection_is_a_linear_map_plus_a_branch():
    torch.manual_seed(0)
    features = torch.randn(9, 5)
    for hidden in (0, 6):
        projection = Projection(5, 3, hidden, dropout=0.5).eval()
        projection.standardise.fit(features)
        x = (features - features.mean(0)) / features.std(0)
        expected = x @ projection.linear.weight.T + projection.linear.bias
        if hidden:
            up, down = (layer for layer in projection.branch if isinstance(layer, nn.Linear))
            inner = x @ up.weight.T + up.bias
            gelu = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
            expected = expected + gelu @ down.weight.T + down.bias
        torch.testing.assert_close(projection(features), expected)
        assert not torch.equal(projection.train()(features), projection(features))  # dropout is there


def test_a_head_starts_from_what_a_constant_predictor_knows():
    rng = np.random.default_rng(1)
    labels = (rng.random((200, 5)) < [0.02, 0.3, 0.5, 0.9, 0]).astype(np.float32)
    ratings = rng.normal([4, 5, 6], [0.5, 1, 2], (200, 3)).astype(np.float32)
    torch.manual_seed(0)
    head = EmotionHead(16, 5)
    head.fit(torch.from_numpy(labels), torch.from_numpy(ratings))
    logits, rated = head(torch.zeros(1, 16))
    prevalence = np.clip(labels.mean(axis=0), 1e-3, 1)
    np.testing.assert_allclose(expit(logits[0].detach().numpy()), prevalence, rtol=1e-4)
    np.testing.assert_allclose(rated[0].detach().numpy(), ratings.mean(axis=0), rtol=1e-5)
    # One unit of the head's own scale is one standard deviation of the ratings.
    with torch.no_grad():
        head.continuous.bias += 1
        shift = head(torch.zeros(1, 16))[1] - rated
    np.testing.assert_allclose(shift[0].detach().numpy(), ratings.std(axis=0, ddof=1), rtol=1e-4)


def test_power_is_a_root_of_features_that_are_never_negative():
    features = torch.tensor([[0.0, 4.0], [0.25, 9.0]])
    power = Power(0.5)
    power.fit(features)
    torch.testing.assert_close(power(features), torch.tensor([[0.0, 2.0], [0.5, 3.0]]))
    torch.testing.assert_close(power(torch.tensor([[-4.0]])), torch.tensor([[-2.0]]))
    power.fit(features - 1)
    torch.testing.assert_close(power(features - 1), features - 1)


def test_a_projection_standardises_what_the_power_left():
    torch.manual_seed(0)
    features = torch.rand(40, 5) ** 4
    projection = Projection(5, 3, 0, dropout=0.0, power=0.5).eval()
    projection.fit(features)
    roots = features.sqrt()
    expected = projection.linear((roots - roots.mean(0)) / roots.std(0))
    torch.testing.assert_close(projection(features), expected)


def test_the_cosine_of_heads_is_the_mean_of_their_cosines():
    torch.manual_seed(0)
    images, texts = torch.randn(6, 5), torch.randn(4, 7)
    image, text = ProjectionHeads(3, 5, 8, 6, dropout=0.0), ProjectionHeads(3, 7, 8, 6, dropout=0.0)
    image.fit(images)
    text.fit(texts)
    each = [
        nn.functional.cosine_similarity(one(images)[:, None], other(texts)[None], dim=-1)
        for one, other in zip(image.heads, text.heads, strict=True)
    ]
    assert image(images).shape == (6, 24)
    torch.testing.assert_close(image(images).norm(dim=1), torch.ones(6))
    torch.testing.assert_close(image(images) @ text(texts).T, sum(each) / 3)
    assert not torch.allclose(each[0], each[1], atol=1e-2)


def sets(rows: int, parts: int, width: int, seed: int = 0) -> torch.Tensor:
    """``(rows, parts * width)``; row i has i parts fewer, and the last none."""
    drawn = torch.randn(rows, parts, width, generator=torch.Generator().manual_seed(seed))
    for row in range(rows):
        drawn[row, parts - row if row < rows - 1 else 0 :] = 0
    return drawn.flatten(1)


def test_attention_starts_as_the_mean_of_the_parts_that_are_there():
    features = sets(4, 5, 3)
    pooled = AttentionPool(5, 3)(features)
    for row, whole in zip(pooled, features.view(4, 5, 3), strict=True):
        there = [part for part in whole if part.any()]
        expected = torch.stack(there).mean(dim=0) if there else torch.zeros(3)
        torch.testing.assert_close(row, expected)


def test_attention_weighs_parts_by_the_softmax_of_their_scores():
    features = sets(4, 5, 3)
    pool = AttentionPool(5, 3)
    pool.fit(features)
    spread = AttentionPool(5, 3)(features).detach().numpy().std(axis=0, ddof=1)
    pool.score.data = torch.tensor([1.0, -2.0, 0.5])
    for row, whole in zip(pool(features), features.view(4, 5, 3).numpy(), strict=True):
        there = whole[(whole != 0).any(axis=1)]
        score = np.exp(np.clip(there @ (np.array([1.0, -2.0, 0.5]) / spread), -LIMIT, LIMIT))
        expected = (score[:, None] * there).sum(axis=0) / score.sum() if len(there) else np.zeros(3)
        np.testing.assert_allclose(row.detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def test_attention_has_the_gradients_of_finite_differences():
    pool = AttentionPool(3, 2).double()
    features = sets(4, 3, 2).double().view(4, 3, 2)

    def pooled(score: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(pool, {"score": score}, features.flatten(1))

    score = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pooled, (score,))


def test_a_projection_of_parts_reads_the_mean_of_their_roots_first():
    torch.manual_seed(0)
    features = torch.randn(9, 4 * 5).abs()
    whole = Projection(20, 3, 6, dropout=0.0, power=0.5, parts=4)
    mean = Projection(5, 3, 6, dropout=0.0)
    mean.load_state_dict(whole.state_dict(), strict=False)
    roots = features.sqrt().view(9, 4, 5).mean(dim=1)
    whole.fit(features)
    mean.fit(roots)
    torch.testing.assert_close(whole(features), mean(roots))
    assert not whole.standardise.mean.requires_grad


def test_parts_of_zeros_leave_finite_gradients():
    projection = Projection(12, 3, 6, dropout=0.0, power=0.5, parts=4)
    features = torch.randn(9, 12).abs() * (torch.rand(9, 12) < 0.5)
    features[:2] = 0
    projection.fit(features)
    projection(features).square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in projection.parameters())


def test_a_silent_feature_has_no_infinite_slope():
    power = Power(0.5)
    power.fit(torch.rand(5, 3))
    features = torch.tensor([[0.0, 4.0, -9.0]], requires_grad=True)
    found = power(features)
    (slope,) = torch.autograd.grad(found.sum(), features)
    assert found.tolist() == [[0.0, 2.0, -3.0]]
    assert slope[0].tolist() == pytest.approx([0.0, 1 / 4, 1 / 6])
