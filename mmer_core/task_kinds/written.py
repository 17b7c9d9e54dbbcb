"""Captions that a model wrote for a split, as an evaluation keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np

from mmer_core.config import EvaluationConfig, ReportConfig
from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.evaluation.caption_metrics import caption_intervals
from mmer_core.inference import TrainedModel
from mmer_core.matrix import blocks
from mmer_core.models.decoders import caption_words
from mmer_core.record import Interval, Record
from mmer_core.reporting.view import CaptionedPhoto, Captions, CaptionWriter
from mmer_core.task_kinds.measured import Measured
from mmer_core.training.data import RetrievalData

CAPTIONS_FILE = "captions.json"
_SHOWN = 10


class WrittenCaptions(Record):
    """One caption for every photo of a split that people described.

    Attributes:
        decoder: What wrote them.
        beam: Captions of a photo that were followed at a time.
        weight: Of the decoder's loss, as the curves of the training are drawn in nats per word.
        rows: Of the photos in the split.
        captions: One for each row.
    """

    version: Literal[1] = 1
    decoder: str
    beam: int
    weight: float
    rows: tuple[int, ...]
    captions: tuple[str, ...]

    @classmethod
    def by(
        cls, trained: TrainedModel, data: RetrievalData, split: PreparedSplit, config: EvaluationConfig
    ) -> Self:
        """Let a model write them."""
        described = np.unique(split.text_sample)
        written = [one for block in blocks(data.images) for one in trained.captions(block, config.beam)]
        return cls(
            decoder=trained.decoder.spec.kind,
            beam=config.beam,
            weight=trained.decoder.spec.weight,
            rows=tuple(described.tolist()),
            captions=tuple(written[row] for row in described),
        )

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """Those of an evaluation's folder; None where the model wrote none."""
        return cls.read(folder / CAPTIONS_FILE) if (folder / CAPTIONS_FILE).is_file() else None

    def references(self, split: PreparedSplit) -> list[list[str]]:
        """People's captions of each row."""
        own: dict[int, list[str]] = {row: [] for row in self.rows}
        for text, row in zip(split.texts, split.text_sample.tolist(), strict=True):
            own[row].append(text)
        return list(own.values())

    def intervals(self, split: PreparedSplit, config: EvaluationConfig) -> dict[str, Interval]:
        """How close they come to people's, see `caption_intervals`."""
        return caption_intervals(
            [caption_words(one) for one in self.captions],
            [[caption_words(one) for one in own] for own in self.references(split)],
            config,
            split.clusters[list(self.rows)],
        )


def shown_captions(writers: Sequence[tuple[Measured, WrittenCaptions]], config: ReportConfig) -> Captions:
    """Random photos with what models wrote for each, all for the same split."""
    first, written = writers[0]
    photos, references = first.split.images("context"), written.references(first.split)
    generator = np.random.default_rng(config.seed)
    chosen = np.sort(generator.choice(len(written.rows), size=min(_SHOWN, len(written.rows)), replace=False))
    examples = [
        CaptionedPhoto(
            np.asarray(photos[written.rows[place]]),
            references[place],
            [(one.spec.family, own.captions[place]) for one, own in writers],
        )
        for place in chosen
    ]
    return Captions(
        [CaptionWriter(one.spec.family, own.decoder, own.beam, own.weight) for one, own in writers], examples
    )
