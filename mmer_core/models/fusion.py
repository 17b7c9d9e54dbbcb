"""Fusions: the embeddings of a sample's streams to one vector, whichever of the streams are present.

Each takes ``streams (B, S, D)``, with coordinates of about 1 and zeros where a stream is absent, and
``present (B, S)`` bool, and gives ``(B, D)``. An absent stream never changes the result, and where all are absent
every fusion but `AttentionFusion` and `ConcatFusion`, which have a constant of their own, gives zeros.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


class MeanFusion(nn.Module):
    """The mean of the streams that are present."""

    def forward(self, streams: Tensor, present: Tensor) -> Tensor:
        """``(B, S, D)`` and ``(B, S)`` to ``(B, D)``."""
        return streams.sum(dim=1) / present.sum(dim=1, keepdim=True).clamp_min(1)


class WeightedFusion(nn.Module):
    """A weighted mean with one learned weight a stream, the same for every sample; it starts as the mean.

    The weights are a softmax over the streams that are present, so they sum to 1 in every sample.
    """

    def __init__(self, streams: int, embedding: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(streams))

    def forward(self, streams: Tensor, present: Tensor) -> Tensor:
        """``(B, S, D)`` and ``(B, S)`` to ``(B, D)``."""
        return _weighted(streams, self.weight.expand(present.shape), present)


class GatedFusion(nn.Module):
    """A weighted mean whose weights each sample's own embeddings decide.

    ``softmax_s(w . e_s + b_s)`` over the streams that are present: the gate of Arevalo et al. 2017, *Gated
    Multimodal Units for Information Fusion*, https://arxiv.org/abs/1702.01992, with one weight a stream instead
    of one a coordinate.
    """

    def __init__(self, streams: int, embedding: int) -> None:
        super().__init__()
        self.gate = nn.Linear(embedding, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(streams))

    def forward(self, streams: Tensor, present: Tensor) -> Tensor:
        """``(B, S, D)`` and ``(B, S)`` to ``(B, D)``."""
        return _weighted(streams, self.gate(streams).squeeze(-1) + self.bias, present)


class ConcatFusion(nn.Module):
    """A linear map of all streams side by side; an absent one is zeros, with a learned vector in its place.

    ``sum_s W_s e_s`` over the streams that are present, ``+ a_s`` for those that are not.
    """

    def __init__(self, streams: int, embedding: int) -> None:
        super().__init__()
        self.mix = nn.Linear(streams * embedding, embedding)
        self.absent = nn.Parameter(torch.zeros(streams, embedding))

    def forward(self, streams: Tensor, present: Tensor) -> Tensor:
        """``(B, S, D)`` and ``(B, S)`` to ``(B, D)``."""
        return self.mix(streams.flatten(1)) + (~present).to(streams.dtype) @ self.absent


class AttentionFusion(nn.Module):
    """The mean of the streams that are present, plus what a learned query gathers from them by attention.

    Vaswani et al. 2017, *Attention Is All You Need*, https://arxiv.org/abs/1706.03762: one layer over a token a
    stream (its embedding plus a learned vector for its stream) and the query, of which only the
    query's output is read. The last map starts at zero, so training starts from the mean.
    """

    def __init__(self, streams: int, embedding: int) -> None:
        super().__init__()
        heads = next(heads for heads in (4, 2, 1) if embedding % heads == 0)
        self.mean = MeanFusion()
        self.query = nn.Parameter(torch.randn(1, embedding))
        self.stream = nn.Parameter(0.1 * torch.randn(streams, embedding))
        self.attention = nn.MultiheadAttention(embedding, heads, batch_first=True)
        last = nn.Linear(embedding, embedding)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.feed = nn.Sequential(nn.LayerNorm(embedding), nn.Linear(embedding, embedding), nn.GELU(), last)

    def forward(self, streams: Tensor, present: Tensor) -> Tensor:
        """``(B, S, D)`` and ``(B, S)`` to ``(B, D)``."""
        query = self.query.expand(streams.shape[0], 1, -1)
        tokens = torch.cat([query, streams + self.stream], dim=1)  # (B, 1 + S, D)
        # The query always attends to itself, so that a sample without any stream gives no NaN.
        ignored = torch.cat([torch.zeros_like(present[:, :1]), ~present], dim=1)
        gathered, _ = self.attention(query, tokens, tokens, key_padding_mask=ignored, need_weights=False)
        return self.mean(streams, present) + self.feed((query + gathered)[:, 0])


class ProductFusion(nn.Module):
    """The mean of the streams that are present, plus the mean of the products of every two, coordinate by coordinate.

    A head on the mean adds up what streams say each by itself; the products are what two say together, such as that
    text and image disagree (Kim et al. 2017, *Hadamard Product for Low-rank Bilinear Pooling*,
    https://arxiv.org/abs/1610.04325).
    """

    def forward(self, streams: Tensor, present: Tensor) -> Tensor:
        """``(B, S, D)`` and ``(B, S)`` to ``(B, D)``."""
        total, count = streams.sum(dim=1), present.sum(dim=1, keepdim=True)
        products = (total.square() - streams.square().sum(dim=1)) / 2
        return total / count.clamp_min(1) + products / (count * (count - 1) / 2).clamp_min(1)


FUSIONS: Mapping[str, Callable[[int, int], nn.Module]] = {
    "mean": lambda streams, embedding: MeanFusion(),
    "product": lambda streams, embedding: ProductFusion(),
    "weighted": WeightedFusion,
    "gated": GatedFusion,
    "concat": ConcatFusion,
    "attention": AttentionFusion,
    "late": lambda streams, embedding: (
        MeanFusion()
    ),  # of predictions: the mean of embeddings, to a linear head
}


def _weighted(streams: Tensor, logits: Tensor, present: Tensor) -> Tensor:
    # The lowest finite number and not -inf, which would be NaN where all are absent.
    weights = torch.softmax(logits.masked_fill(~present, torch.finfo(logits.dtype).min), dim=1)  # (B, S)
    return (weights[..., None] * streams).sum(dim=1)
