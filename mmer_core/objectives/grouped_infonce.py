"""InfoNCE between images and several texts of each."""

from __future__ import annotations

from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.heavy import Tensor, functional, torch
from mmer_core.objectives.base import ContrastiveObjective


class GroupedInfoNCE(ContrastiveObjective):
    """`InfoNCE` for ``B`` images of which each has one or more of ``P`` texts in the batch.

    A text must pick its image among all images. An image must pick each of its texts among that one and the texts
    of all other images; its further texts are neither match nor negative of that choice. The loss is the mean of
    the two cross-entropies, each over the ``P`` texts. With one text an image it is `InfoNCE`; with more, every
    image is computed once and stands once among the negatives, however many texts it has (multi-positive
    contrast as in Khosla et al. 2020, *Supervised Contrastive Learning*, https://arxiv.org/abs/2004.11362,
    eq. 2, with the other positives left out of the denominator).

    With ``hardness`` b, the negatives of a choice are weighted by ``exp(b * logit)``, with mean 1: the closer a
    negative, the more it counts (Robinson et al. 2021, *Contrastive Learning with Hard Negative Samples*,
    https://arxiv.org/abs/2010.04592, eq. 4, without the correction for false negatives).

    Example:
        >>> unit = torch.eye(2)
        >>> round(GroupedInfoNCE()(unit, unit, torch.tensor([0, 1]), torch.tensor(1.0)).item(), 4)
        0.3133
        >>> GroupedInfoNCE()(unit[:1], unit, torch.tensor([0, 0]), torch.tensor(1.0)).item()
        0.0
    """

    name = "grouped_infonce"
    summary = "the same with all captions of an image at once, for captioned datasets"
    grouped = True

    class Options(Config):
        hardness: float = Field(
            0.0,
            ge=0,
            description="The closer a negative, the more it counts, by the power of this; 0 for all the same.",
        )

    options: Options

    def forward(self, image: Tensor, text: Tensor, image_id: Tensor, scale: Tensor) -> Tensor:
        """Loss of unit rows ``image (B, D)`` and ``text (P, D)``; a scalar.

        Args:
            image_id: ``(P,)`` int64 in 0..B-1, the row of each text's image.
            scale: Scalar, the inverse temperature.
        """
        logits = scale * text @ image.T  # (P, B)
        own = functional.one_hot(image_id, len(image)).bool()
        to_image = functional.cross_entropy(self._weighted(logits, own, dim=1), image_id)
        of_others = self._weighted(logits, own, dim=0).masked_fill(own, -torch.inf)
        rivals = of_others.logsumexp(dim=0)  # (B,) over the texts of other images
        match = logits.gather(1, image_id[:, None]).squeeze(1)  # (P,)
        to_text = (torch.logaddexp(match, rivals[image_id]) - match).mean()
        return (to_image + to_text) / 2

    def _weighted(self, logits: Tensor, own: Tensor, dim: int) -> Tensor:
        """Logits ``(P, B)`` plus the logarithm of each negative's weight among those along a dimension."""
        if not self.options.hardness or own.shape[1] == 1:
            return logits
        weight = (self.options.hardness * logits).masked_fill(own, -torch.inf)
        mean = weight.logsumexp(dim, keepdim=True) - (~own).sum(dim, keepdim=True).log()
        return torch.where(own, logits, logits + self.options.hardness * logits - mean)
