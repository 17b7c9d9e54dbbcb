"""Emotion models with their objectives, and the metric that selects them."""

import numpy as np
import torch
from torch import Tensor, nn

from mmer_core.config import TrainingConfig
from mmer_core.evaluation.emotion_metrics import mean_average_precision, vad_mean_absolute_error
from mmer_core.models.emotion import EmotionModel, JointEmotionModel
from mmer_core.models.objectives import category_objective, continuous_objective, contrastive_objective
from mmer_core.training.data import EmotionData
from mmer_core.training.learner import Losses, temperature_scale


class EmotionLearner:
    """Trains either emotion model with category, continuous and (joint only) alignment objectives."""

    selection = "map"
    state: nn.ModuleDict

    def __init__(
        self, model: EmotionModel, train: EmotionData, val: EmotionData, config: TrainingConfig
    ) -> None:
        model.fit_statistics(train.streams, train.labels, train.ratings)
        parts: dict[str, nn.Module] = {
            "model": model,
            "categories": category_objective(config.categories),
        }
        if train.ratings.shape[1]:
            parts["continuous"] = continuous_objective(config.continuous)
        self._aligned = isinstance(model, JointEmotionModel) and "text" in train.streams
        if self._aligned:
            # People of one photo share its context, so its text is no negative for any of them.
            self._photo = torch.unique(train.streams["context"], dim=0, return_inverse=True)[1]
            parts["contrastive"] = contrastive_objective(config.contrastive)
        self.state = nn.ModuleDict(parts)
        self.model, self.train, self.val, self.config = model, train, val, config

    def __len__(self) -> int:
        return len(self.train)

    def losses(self, rows: Tensor) -> Losses:
        output = self.model({name: x[rows] for name, x in self.train.streams.items()})
        labels, ratings = self.train.labels[rows], self.train.ratings[rows]
        if isinstance(self.model, JointEmotionModel):
            logits, predicted = [output.logits], [output.ratings]
        else:
            # Each stream learns alone: the late fusion of a baseline is a mean, not a training signal.
            logits, predicted = list(output.stream_logits.values()), list(output.stream_ratings.values())
        losses = {
            "categories": _mean([self.state["categories"](one, labels) for one in logits]),
        }
        if "continuous" in self.state:
            rated = _mean([self.state["continuous"](one, ratings) for one in predicted])
            losses["continuous"] = self.config.continuous_weight * rated
        if self._aligned and isinstance(self.model, JointEmotionModel):
            image, text = self.model.image_and_text(output)
            aligned = self.state["contrastive"](
                image, text, self._photo[rows], temperature_scale(self.model.logit_scale)
            )
            losses["contrastive"] = self.config.contrastive_weight * aligned
        return losses

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        output = self.model(self.val.streams)
        scores, labels = output.logits.float().cpu().numpy(), self.val.labels.cpu().numpy()
        metrics = {"map": 100 * float(mean_average_precision(scores, labels))}
        if "continuous" in self.state:
            truth = self.val.ratings.cpu().numpy()
            error = vad_mean_absolute_error(output.ratings.float().cpu().numpy(), truth)
            metrics["vad_mae"] = float(np.mean(error))
        return metrics


def _mean(losses: list[Tensor]) -> Tensor:
    return torch.stack(losses).mean()
