"""A split's images or texts through one encoder, while the encoder itself is being tuned.

Where several processes compute the training, each encodes a share of the rows, and all get all features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmer_core.datasets.packed import Pictures
from mmer_core.encoders.base import ImageEncoder, TextEncoder
from mmer_core.heavy import Tensor, no_grad, torch
from mmer_core.training import ranks

_BATCH = 64


class Tower:
    """Features by row number; a frozen encoder's are computed once, a tuned one's anew every time.

    Args:
        encoder: Stays in evaluation mode, so that tuning is free of its dropout.
        items: ``(N, H, W, 3)`` uint8 images, or ``N`` texts.
    """

    def __init__(self, encoder: ImageEncoder | TextEncoder, items: Pictures | Sequence[str]) -> None:
        self.encoder, self.items = encoder, items
        self.tuned = any(parameter.requires_grad for parameter in encoder.module.parameters())
        self._frozen = None if self.tuned else self._encode_all()

    def __len__(self) -> int:
        return len(self.items)

    def __call__(self, rows: Tensor) -> Tensor:
        """``(B, D)`` float32 features of ``rows (B,)`` on the CPU, on the encoder's device, with gradients where tuned."""
        if self._frozen is not None:
            return self._frozen[rows.to(self._frozen.device)]
        return ranks.gathered(self._encode(ranks.share(rows)), len(rows))

    def _encode(self, rows: Tensor) -> Tensor:
        picked = rows.numpy()
        if isinstance(self.encoder, ImageEncoder):
            assert not isinstance(self.items, Sequence)
            images = self.encoder.resize(np.asarray(self.items[picked]))
            return self.encoder.module(self.encoder.normalise(images)).float()
        assert isinstance(self.items, Sequence)
        return self.encoder.module(**self.encoder.tokens([self.items[row] for row in picked])).float()

    def all(self) -> Tensor:
        """``(N, D)`` features of every item, without gradients."""
        return self._encode_all() if self._frozen is None else self._frozen

    @no_grad()
    def _encode_all(self) -> Tensor:
        own = ranks.share(torch.arange(len(self)))
        return ranks.gathered(torch.cat([self._encode(rows) for rows in own.split(_BATCH)]), len(self))
