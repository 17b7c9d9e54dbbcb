"""What trainings leave in summaries."""

from typing import Literal

from mmer_core.config import Family
from mmer_core.record import Figures, Number, Part


class Try(Part):
    """Settings that were tried.

    Attributes:
        best_epoch: The best epoch on val; 0 for what training started from.
        value: Its validation metric, in percent; None where training diverged.
        lead: By how much the best of the later epochs is above what training started from, where that may be kept; in
            points. Where that is no more than its ``noise``, half of its 95 % interval with Bonferroni's correction for
            the number of epochs, the start is kept.
    """

    learning_rate: float
    weight_decay: float
    dropout: float
    best_epoch: int = 0
    value: Number = None
    lead: Number = None
    noise: Number = None


class ModelSummary(Figures):
    """The summary of a model; its figures are the validation metrics of the kept epoch and what training took.

    Attributes:
        best_epoch: The epoch whose weights were kept; 0 for those that training started from, or a model that was not trained.
        parameters: Learned numbers that its predictions need.
        tries: What was tried, in order.
        chosen: Which of them it is, from 0.
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


class AdapterSummary(Figures):
    """The summary of adapted encoders; its figures are the validation metrics of the kept epoch."""

    version: Literal[1] = 1
    dataset: str
    method: str
    towers: tuple[str, ...]
    parameters: int
    best_epoch: int
