"""The words of pages and cards for one kind of task."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from mmer_core.datasets.prepared import DatasetSummary, PreparedSplit
from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.models import ModelSpec
from mmer_core.reporting.table import Table


@dataclass(frozen=True)
class TaskText:
    """The words and figures of one kind of task.

    Attributes:
        model: What a model is called, as in "emotion model".
        samples: Plural noun for the samples of a dataset; "samples" where it depends on the dataset, see `of`.
        category: What a label says of a sample.
        headline: Name of the metric by which models are judged.
        headline_label: The same metric in running text.
        skill: What a model is asked to do, as an infinitive and with "the model" before it.
        right: When the clean answer of an attacked model is right.
        criterion: The criterion of attacks where none was named, see `mmer_core.reporting.labels.FOOLED`.
        fools: What changing pixels does then, with "changing 5 pixels" before it.
        poison_success: When a poisoned model counts as fooled; ``target`` and ``top`` are filled in.
        poison_chance: What a gray line in the charts of poisons is, if there is one.
        published_on: The dataset that published figures are on.
        published: The published figures.
        uses: What a model was made for, in sentences.
        limits: What its figures do not carry, besides what holds for every task.
    """

    model: str
    samples: str
    headline: str
    headline_label: str
    skill: tuple[str, str]
    right: str
    criterion: str
    fools: str
    poison_success: str
    published_on: str
    published: Table
    uses: Callable[[ModelSpec, DatasetSummary], list[str]]
    limits: Callable[[EvaluationRecord], list[str]] = lambda _: []
    poison_chance: str = ""
    category: str = "label"

    @property
    def unit(self) -> str:
        """Of the headline metric."""
        return f" % {self.headline_label}"

    @property
    def question(self) -> str:
        """Which of two models is better."""
        return f"Which model {self.skill[1]} better?"

    def measured_on(self, evaluation: EvaluationRecord) -> str:
        """How much a model was measured on, in words."""
        if evaluation.n_texts is None:
            return f"{evaluation.n:,} {self.samples}"
        whole = f"{evaluation.n:,} {self.samples} and {evaluation.n_texts:,} texts"
        if evaluation.text_queries is None or evaluation.text_queries == evaluation.n_texts:
            return whole
        return f"{whole}, searched by {evaluation.queries:,} {self.samples} drawn from them and their {evaluation.text_queries:,} texts"

    def of(self, split: PreparedSplit) -> "TaskText":
        """The words for a dataset with such a split: without boxes, a sample is a photo, or a text where none has a photo."""
        if self.samples != "samples" or "body" in split.streams:
            return self
        if not split.streams:
            return replace(self, samples="texts")
        return self if split.without_image else replace(self, samples="photos")
