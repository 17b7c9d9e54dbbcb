"""Building blocks shared by the models."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmer_core.matrix import Blocks, Matrix, passes

LIMIT = 10.0
"""Standard deviations beyond which a feature is clipped."""


def _spread(values: Tensor) -> Tensor:
    """Standard deviation over the rows of ``(N, D)`` values; none where there is only one row."""
    return values.std(dim=0, correction=min(1, len(values) - 1))


def _moments(blocks: Blocks) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the rows of all blocks ``(n, D)``, put together as in Chan, Golub and LeVeque 1983,
    *Algorithms for Computing the Sample Variance*, https://doi.org/10.1080/00031305.1983.10483115."""
    count = 0
    mean = squares = torch.zeros((), dtype=torch.float64)
    for block in blocks():
        if own := len(block):
            moved = block.mean(dim=0).cpu().double() - mean
            squares = squares + _spread(block).cpu().double() ** 2 * max(1, own - 1)
            squares = squares + moved**2 * (count * own / (count + own))
            count += own
            mean = mean + moved * (own / count)
    if not count:
        mean = torch.full_like(mean, torch.nan)
    return mean, (squares / max(1, count - 1)).sqrt()


class Standardise(nn.Module):
    """``(x - mean) / std`` per feature, within `LIMIT`, with statistics fitted once on the training split.

    Frozen features differ in scale by orders of magnitude from one dimension to the next. Some hardly ever
    move on train and do on another photo; the limit keeps these few from drowning all others.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def fit(self, features: Matrix | Blocks) -> None:
        """Take mean and standard deviation of ``(N, D)`` features; a constant feature is only centred."""
        mean, std = _moments(passes(features))
        self.mean.copy_(mean)
        # Dividing by next to nothing would blow up a feature that is silent on train and speaks on test.
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    def unlimited(self, features: Tensor) -> Tensor:
        """The same without the limit, as a linear probe reads features."""
        return (features - self.mean) / self.std

    def forward(self, features: Tensor) -> Tensor:
        return self.unlimited(features).clamp(-LIMIT, LIMIT)


class Power(nn.Module):
    """``x ** exponent`` where features are never negative on the training split; others pass unchanged.

    Averages of rectified feature maps have long tails: a few large values drown all others. A root evens them out
    (Perronnin et al. 2010, *Improving the Fisher Kernel*, https://doi.org/10.1007/978-3-642-15561-1_11).

    Args:
        exponent: In 0..1 (0 excluded); 1 changes nothing.
    """

    applied: Tensor

    def __init__(self, exponent: float) -> None:
        super().__init__()
        self.exponent = exponent
        self.register_buffer("applied", torch.tensor(1.0))

    def fit(self, features: Matrix | Blocks) -> None:
        """Decide from ``(N, D)`` features whether they are rectified."""
        rectified = all(bool((block >= 0).all()) for block in passes(features)())
        self.applied.fill_(self.exponent if rectified else 1.0)

    def forward(self, features: Tensor) -> Tensor:
        # Away from the training split a feature may dip below zero, where a root is not defined.
        if (
            not features.requires_grad
        ):  # as in training, where large maps of parts are slow to write again and again
            return features.abs().pow_(self.applied).mul_(features.sign())
        # At zero its slope is infinite, and attacks ask for slopes: there it is none.
        silent = features == 0
        size = features.abs().masked_fill(silent, 1.0) ** self.applied
        return features.sign() * size


class AttentionPool(nn.Module):
    """Features of parts, side by side in ``(B, parts * D)``, to their weighted mean ``(B, D)``.

    A part weighs as much as the softmax over the parts of a learned linear score says (Yang et al. 2016,
    *Hierarchical Attention Networks*, https://aclanthology.org/N16-1174, eq. 6, without the hidden layer). It starts
    as their plain mean. Parts of zeros are not there; of an input without any part the mean is zeros.
    """

    scale: Tensor

    def __init__(self, parts: int, width: int) -> None:
        super().__init__()
        self.parts = parts
        self.score = nn.Parameter(torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    @torch.no_grad()
    def fit(self, features: Matrix | Blocks) -> None:
        """Scale the scores by the spread of the parts' mean over ``(N, parts * D)`` features."""
        blocks = passes(features)
        _, std = _moments(lambda: map(self, blocks()))
        self.scale.copy_(torch.where(std > 1e-6, std, 1.0))

    def forward(self, features: Tensor) -> Tensor:
        parts = features.unflatten(1, (self.parts, -1))  # (B, P, D)
        absent = (parts == 0).all(dim=-1)
        scores = (parts @ (self.score / self.scale)).clamp(-LIMIT, LIMIT)
        least = torch.finfo(scores.dtype).min  # not -inf, whose softmax is undefined where nothing is there
        weights = scores.masked_fill(absent, least).softmax(dim=1).masked_fill(absent, 0.0)  # (B, P)
        return (weights[:, None] @ parts).squeeze(1)


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, with random numbers from ``generator`` where one is given: on the CPU these are the numbers that the
    process's own generator would give with the same seed, and no other thread changes them."""

    generator: torch.Generator | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.generator is None or not self.training or not 0 < self.p < 1:
            return super().forward(input)
        kept = torch.empty_like(input).bernoulli_(1 - self.p, generator=self.generator)
        return input * kept.div_(1 - self.p)


class Projection(nn.Module):
    """Frozen features ``(B, D_in)`` to an embedding ``(B, D)``: a linear map plus an optional MLP branch.

    Args:
        power: Exponent for features that are never negative, see `Power`.
        parts: Parts that the features consist of; several are pooled first, see `AttentionPool`.
    """

    def __init__(
        self, width: int, embedding: int, hidden: int, dropout: float, *, power: float = 1.0, parts: int = 1
    ) -> None:
        super().__init__()
        self.pool = AttentionPool(parts, width // parts) if parts > 1 else None
        width //= parts
        self.power = Power(power) if power != 1.0 else None
        self.standardise = Standardise(width)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(width, embedding)
        self.branch = (
            nn.Sequential(nn.Linear(width, hidden), nn.GELU(), Dropout(dropout), nn.Linear(hidden, embedding))
            if hidden
            else None
        )

    @torch.no_grad()
    def fit(self, features: Matrix | Blocks) -> None:
        """Set everything that is estimated rather than learned from ``(N, D_in)`` features of the training split."""
        blocks = passes(features)
        if self.power is not None:
            self.power.fit(blocks)
        if self.pool is not None:
            self.pool.fit(lambda: map(self._even, blocks()))
        self.standardise.fit(lambda: map(self._pooled, blocks()))

    def _even(self, features: Tensor) -> Tensor:
        return features if self.power is None else self.power(features)

    def _pooled(self, features: Tensor) -> Tensor:
        # After the root, whose slope at zero is infinite: no gradient of the pooling goes through it.
        even = self._even(features)
        return even if self.pool is None else self.pool(even)

    def forward(self, features: Tensor) -> Tensor:
        x = self.dropout(self.standardise(self._pooled(features)))
        y = self.linear(x)
        return y if self.branch is None else y + self.branch(x)


class ProjectionHeads(nn.Module):
    """Several projections of the same features, each to unit length, side by side as one unit vector ``(B, D)``.

    The cosine of two such vectors is the mean of their heads' cosines. Heads start from other weights and drop other
    features, so what one of them makes up on few data the others correct (multiple choice of embeddings as in
    Opitz et al. 2017, *BIER*, https://arxiv.org/abs/1712.01150, section 3, here without boosting).

    Args:
        heads: Number of heads, each of width ``embedding``: ``D`` is their product.
    """

    def __init__(
        self,
        heads: int,
        width: int,
        embedding: int,
        hidden: int,
        dropout: float,
        *,
        power: float = 1.0,
        parts: int = 1,
    ) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            Projection(width, embedding, hidden, dropout, power=power, parts=parts) for _ in range(heads)
        )

    def fit(self, features: Matrix | Blocks) -> None:
        """`Projection.fit` of every head."""
        for head in self.heads:
            head.fit(features)  # type: ignore[operator]

    def forward(self, features: Tensor) -> Tensor:
        units = [functional.normalize(head(features), dim=-1) for head in self.heads]
        return torch.cat(units, dim=-1) / len(units) ** 0.5


class EmotionHead(nn.Module):
    """An embedding ``(B, D)`` to category logits ``(B, C)`` and ratings ``(B, V)`` on the 1..10 scale."""

    continuous: nn.Linear | None
    rating_mean: Tensor
    rating_std: Tensor

    def __init__(self, embedding: int, categories: int, dimensions: int = 3) -> None:
        super().__init__()
        self.categories = nn.Linear(embedding, categories)
        self.continuous = nn.Linear(embedding, dimensions) if dimensions else None
        self.register_buffer("rating_mean", torch.full((dimensions,), 5.5))
        self.register_buffer("rating_std", torch.ones(dimensions))

    def fit(self, labels: Tensor, ratings: Tensor) -> None:
        """Start from what a constant predictor knows: prevalences, and mean and spread of the ratings."""
        prevalence = labels.mean(dim=0).clamp(1e-3, 1 - 1e-3)
        with torch.no_grad():
            self.categories.bias.copy_(torch.logit(prevalence))
            if self.continuous is not None:
                self.continuous.bias.zero_()
        if self.continuous is not None:
            self.rating_mean.copy_(ratings.mean(dim=0))
            self.rating_std.copy_(_spread(ratings).clamp_min(1e-3))

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.categories(embedding)
        if self.continuous is None:
            return logits, logits[:, :0]
        return logits, self.rating_mean + self.rating_std * self.continuous(embedding)
