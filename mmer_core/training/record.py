"""What trainings leave in summaries."""

from typing import Literal

from mmer_core.config import Family
from mmer_core.record import Figures, Number, Part

START = "start"
"""In the configuration of a model, beside its settings: from what its training begins, which follows from these."""


class Try(Part):
    """Settings that were tried.

    Attributes:
        best_epoch: The best epoch on val.
        value: Its validation metric, in percent; None where training diverged.
        lead: By how much that epoch was above what training started from, the linear probe, in points; None where training
            starts from nothing worth keeping.
        noise: What the lead may be by chance, see `mmer_core.training.learner.Lead`.
    """

    learning_rate: float
    weight_decay: float
    dropout: float
    best_epoch: int = 0
    value: Number = None
    lead: Number = None
    noise: Number = None

    @property
    def starts_kept(self) -> bool:
        """Whether the labels are predicted as training started, as the lead is not above the noise."""
        return self.lead is not None and not (self.noise is not None and self.lead > self.noise)


class ModelSummary(Figures):
    """The summary of a model; its figures are the validation metrics of the kept epoch and what training took.

    Attributes:
        best_epoch: The epoch whose weights were kept; 0 for a model that was not trained.
        parameters: Learned numbers that its predictions need.
        tries: What was tried, in order.
        chosen: Which of them it is, from 0.
        halved: The epoch from which on batches were computed in twice as many parts, as the memory of the device was full; 0
            where it never was.
    """

    version: Literal[1] = 1
    task: str
    family: Family
    dataset: str
    epochs: int = 0
    best_epoch: int = 0
    parameters: int = 0
    tries: tuple[Try, ...] = ()
    chosen: int = 0
    halved: int = 0


class AdapterSummary(Figures):
    """The summary of adapted encoders; its figures are the validation metrics of the kept epoch."""

    version: Literal[1] = 1
    dataset: str
    method: str
    towers: tuple[str, ...]
    parameters: int
    best_epoch: int
