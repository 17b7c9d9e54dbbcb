"""Mean and maximum over tokens."""

import torch
from torch import Tensor
from torch.nn import functional

from mmer_core.encoders.networks.parts import token_states
from mmer_core.encoders.networks.pooling import Pooling


class MeanMax(Pooling):
    """Token states ``(B, L, D)`` of a transformer to ``(B, 2 D)``: their mean as a unit vector, then their maximum.

    Sentence encoders are trained by the cosine of the mean, so its direction matters; the maximum by dimension
    preserves single words in texts of any length. Padding is excluded from both (Shen et al. 2018, *Baseline Needs
    More Love*, https://arxiv.org/abs/1805.09843, section 3: concatenated average and max pooling).
    """

    def forward(self, **tokens: Tensor) -> Tensor:
        states, there = token_states(self.model, tokens)
        mean = states.masked_fill(~there, 0.0).sum(dim=1) / there.sum(dim=1)
        mean = functional.normalize(mean, dim=-1)
        return torch.cat([mean, states.masked_fill(~there, -torch.inf).amax(dim=1)], dim=-1)
