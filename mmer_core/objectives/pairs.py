"""Which pairs of a contrastive batch are matches, which are negatives, and which say nothing.

Row ``i`` of the images and row ``i`` of the texts are a pair. When an image occurs in several rows (once
for each of its captions), an off-diagonal pair of the same image is a true match as well: counting it as
a negative would push an image from its own caption. Every contrastive objective here leaves these pairs
out, so that each row has one match and only real negatives.
"""

from __future__ import annotations

from mmer_core.heavy import Tensor, torch


def same_image(image_id: Tensor) -> Tensor:
    """``(B, B)`` bool: off-diagonal pairs of one image, to be left out.

    Example:
        >>> same_image(torch.tensor([7, 8, 7])).int().tolist()
        [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    """
    same = image_id[:, None] == image_id[None, :]
    return same & ~torch.eye(len(image_id), dtype=torch.bool, device=image_id.device)


def negatives(image_id: Tensor) -> Tensor:
    """``(B, B)`` bool: pairs of different images.

    Example:
        >>> negatives(torch.tensor([7, 8, 7])).int().tolist()
        [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    """
    return image_id[:, None] != image_id[None, :]
