"""InfoNCE between images and several texts of each."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class GroupedInfoNCE(nn.Module):
    """`InfoNCE` for ``B`` images of which each has one or more of ``P`` texts in the batch.

    A text must pick its image among all images. An image must pick each of its texts among that one and the texts
    of all other images; its further texts are neither match nor negative of that choice. The loss is the mean of
    the two cross-entropies, each over the ``P`` texts. With one text an image it is `InfoNCE`; with more, every
    image is computed once and stands once among the negatives, however many texts it has (multi-positive
    contrast as in Khosla et al. 2020, *Supervised Contrastive Learning*, https://arxiv.org/abs/2004.11362,
    eq. 2, with the other positives left out of the denominator).

    Example:
        >>> unit = torch.eye(2)
        >>> round(GroupedInfoNCE()(unit, unit, torch.tensor([0, 1]), torch.tensor(1.0)).item(), 4)
        0.3133
        >>> GroupedInfoNCE()(unit[:1], unit, torch.tensor([0, 0]), torch.tensor(1.0)).item()
        0.0
    """

    def forward(self, image: Tensor, text: Tensor, owner: Tensor, scale: Tensor) -> Tensor:
        """Loss of unit rows ``image (B, D)`` and ``text (P, D)``; a scalar.

        Args:
            owner: ``(P,)`` int64 in 0..B-1, the row of each text's image.
            scale: Scalar, the inverse temperature.
        """
        logits = scale * text @ image.T  # (P, B)
        to_image = functional.cross_entropy(logits, owner)
        own = functional.one_hot(owner, len(image)).bool()
        rivals = logits.masked_fill(own, -torch.inf).logsumexp(dim=0)  # (B,) over the texts of other images
        match = logits.gather(1, owner[:, None]).squeeze(1)  # (P,)
        to_text = (torch.logaddexp(match, rivals[owner]) - match).mean()
        return (to_image + to_text) / 2
