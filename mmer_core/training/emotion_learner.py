"""Emotion models with their objectives, and the metric that selects them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from mmer_core import models
from mmer_core.config import ProbeConfig, TaskTraining
from mmer_core.errors import ConfigError
from mmer_core.evaluation.arrays import mean_where
from mmer_core.evaluation.emotion_metrics import (
    SortedScores,
    mean_average_precision,
    vad_mean_absolute_error,
)
from mmer_core.heavy import Tensor, inference_mode, nn, no_grad, stats, torch
from mmer_core.matrix import Matrix, blocks
from mmer_core.objectives import (
    CATEGORY_OBJECTIVES,
    CONTINUOUS_OBJECTIVES,
    CONTRASTIVE_OBJECTIVES,
    CategoryObjective,
    ClassObjective,
    ContrastiveObjective,
)
from mmer_core.statistics.resampling import FloatArray, Statistic, resampled
from mmer_core.training.data import EmotionData
from mmer_core.training.learner import DrawsAlone, Lead, Losses, hold_temperature, temperature_scale
from mmer_core.training.linear_probe import LinearProbe, fit_probe, start_from
from mmer_core.training.modality_dropout import drop_streams
from mmer_core.transfer import to_device

_HALVES = 200


class EmotionLearner(DrawsAlone):
    """Trains either emotion model with category, continuous and (joint only) alignment objectives, from the linear probe.

    Args:
        like: Another of the same data, objective and streams, whose probe this one starts from as well; fitted when left
            out.
    """

    selection = "map"
    state: nn.ModuleDict

    def __init__(
        self,
        model: models.EmotionModel,
        train: EmotionData,
        val: EmotionData,
        config: TaskTraining,
        like: EmotionLearner | None = None,
    ) -> None:
        model.fit_statistics(train.streams, train.labels, train.ratings, train.present)
        categories = self.objective(config, train.labels)
        widths = {name: len(model.standardise(name).mean) for name in model.streams}
        strengths = ProbeConfig().strengths
        self.probe: LinearProbe = like.probe if like else fit_probe(train, val, widths, categories, strengths)
        start_from(model, self.probe)
        parts: dict[str, nn.Module] = {"model": model, "categories": categories}
        if train.ratings.shape[1]:
            parts["continuous"] = CONTINUOUS_OBJECTIVES.configured(config.continuous, config)
        if isinstance(model, models.JointEmotionModel) and {"context", "text"} <= train.streams.keys():
            # People of one photo share its context, so its text is no negative for any of them.
            self._photo = _numbered_alike(train.streams["context"]).to(train.labels.device)
            parts["contrastive"] = _paired(config)
            hold_temperature(model.logit_scale, config.temperature)
        # On the host too, so that no step waits for the device to say who has what.
        self._present = model.presence(train.streams, train.present).cpu()
        self._paired = train.complete.cpu()
        self.state = nn.ModuleDict(parts)
        self.model, self.train, self.val, self.config = model, train, val, config

    def objective(self, config: TaskTraining, labels: Tensor) -> CategoryObjective | ClassObjective:
        """What compares logits with labels, fitted to those of train, ``(N, C)``."""
        categories = CATEGORY_OBJECTIVES.configured(config.categories, config)
        categories.fit(labels)
        return categories

    def metrics(self, logits: npt.NDArray[np.float32], labels: npt.NDArray[np.float32]) -> dict[str, float]:
        """Of ``logits (N, C)`` against ``labels (N, C)`` 0/1."""
        return {"map": 100 * float(mean_average_precision(logits, labels))}

    def selecting(self, logits: npt.NDArray[np.float32], labels: npt.NDArray[np.float32]) -> Statistic:
        """The metric that selects, in percent, of weighted samples."""
        rankings = [SortedScores(score, label) for score, label in zip(logits.T, labels.T, strict=True)]

        def statistic(weights: FloatArray) -> FloatArray:
            ap = np.stack([one.average_precision(weights) for one in rankings])
            return 100 * mean_where(ap, ~np.isnan(ap))[None]

        return statistic

    def __len__(self) -> int:
        return len(self.train)

    def losses(self, rows: Tensor) -> Losses:
        model, there = self.model, to_device(rows, self.train.labels.device)
        batch = self.train.rows(there, rows)
        present = model.presence(batch.streams, batch.present)
        embeddings = model.embed(batch.streams, present)
        linear = torch.stack(list(model.read_linearly(batch.streams, present).values()), dim=1)  # (B, S, C)
        masks = [(present, known := self._present[rows])]
        if model.training and self.config.modality_dropout:
            # Every batch with all its streams as well: a model that never trains on all of them predicts worse from them.
            dropped = drop_streams(known, self.config.modality_dropout, self.generator)
            masks.append((to_device(dropped, present.device), dropped))
        columns = {name: place for place, name in enumerate(model.streams)}
        given = [columns[name] for name in model.streams if name in batch.streams]
        learned = []
        for mask, known in masks:
            added = (linear * torch.stack([mask[:, at] for at in given], dim=1)[..., None]).sum(dim=1)
            for (logits, ratings), streams in model.to_learn(embeddings, mask):
                own = (
                    _places(known[:, [columns[name] for name in streams]].any(dim=1), there)
                    if streams
                    else None
                )
                if own is None or len(own):
                    learned.append(((logits + added, ratings), own))
        losses = _mean(
            self._task_losses(
                _of(logits, own), _of(ratings, own), _of(batch.labels, own), _of(batch.ratings, own)
            )
            # Where nobody has any stream, there is still to learn what is said of them.
            for (logits, ratings), own in learned or [(model.predict(embeddings, present), None)]
        )
        paired = _places(self._paired[rows], there)
        if "contrastive" in self.state and (paired is None or len(paired)):
            assert isinstance(model, models.JointEmotionModel)
            image, text = model.image_and_text(embeddings)
            pairs = (_of(values, paired) for values in (image, text, self._photo[there]))
            aligned = self.state["contrastive"](*pairs, temperature_scale(model.logit_scale))
            losses["contrastive"] = self.config.contrastive_weight * aligned
        return losses

    def _task_losses(self, logits: Tensor, rated: Tensor, labels: Tensor, ratings: Tensor) -> Losses:
        losses = {"categories": self.state["categories"](logits, labels)}
        if "continuous" in self.state:
            losses["continuous"] = self.config.continuous_weight * self.state["continuous"](rated, ratings)
        return losses

    @no_grad()
    def settle(self, epochs: int) -> Lead:
        """The noise is that of random halves of the photos of val (`mmer_core.statistics.resampling`). Ratings and embeddings
        stay those of the epoch."""
        learned = {name: value.clone() for name, value in self.state.state_dict().items()}
        best = self._selection_on_val()
        start_from(self.model, self.probe)
        start = self._selection_on_val()
        clusters = None if self.val.clusters is None else self.val.clusters.cpu().numpy()
        found = resampled(lambda weights: best(weights) - start(weights), len(self.val), _HALVES, 0, clusters)
        half = found.error * stats.t.ppf(1 - 0.05 / epochs / 2, found.freedom)
        lead = Lead(float(found.values[0]), float(half[0]))
        if lead.clear:
            self.state.load_state_dict(learned)
        return lead

    def _selection_on_val(self) -> Statistic:
        logits, _ = outputs(self.model, self.val)
        return self.selecting(logits, self.val.labels.cpu().numpy())

    @inference_mode()
    def validate(self) -> dict[str, float]:
        scores, rated = outputs(self.model, self.val)
        labels = self.val.labels.cpu().numpy()
        metrics = self.metrics(scores, labels)
        if "continuous" in self.state:
            truth = self.val.ratings.cpu().numpy()
            error = vad_mean_absolute_error(rated, truth)
            metrics["vad_mae"] = float(np.mean(error))
        return metrics


def outputs(network: nn.Module, data: EmotionData) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Logits ``(N, C)`` and ratings ``(N, V)`` of all samples."""
    each = [network(block.streams, block.present) for block in data.blocks()]
    logits, ratings = (
        torch.cat([getattr(one, name).float() for one in each]).cpu().numpy()
        for name in ("logits", "ratings")
    )
    return logits, ratings


def _numbered_alike(features: Matrix) -> Tensor:
    """``(N,)`` the same number for rows that are the same in every bit."""
    digests = [
        hashlib.blake2b(row, digest_size=16).digest()
        for block in blocks(features)
        for row in block.cpu().numpy()
    ]
    return torch.from_numpy(np.unique(np.frombuffer(b"".join(digests), "V16"), return_inverse=True)[1])


def _paired(config: TaskTraining) -> ContrastiveObjective:
    objective = CONTRASTIVE_OBJECTIVES.configured(config.contrastive, config)
    if objective.grouped:
        raise ConfigError(
            f"{objective.name} is for captioned datasets; give emotion models another contrastive objective"
        )
    return objective


def _mean(losses: Iterable[Losses]) -> Losses:
    """The mean of each loss."""
    each = list(losses)
    return {name: torch.stack([one[name] for one in each]).mean() for name in each[0]}


def _places(kept: Tensor, like: Tensor) -> Tensor | None:
    """The rows that a mask ``(B,)`` of the CPU keeps, on the device of ``like``; None for all."""
    return None if kept.all() else to_device(kept.nonzero()[:, 0], like.device)


def _of(values: Tensor, rows: Tensor | None) -> Tensor:
    """Those rows; all for None."""
    return values if rows is None else values[rows]
