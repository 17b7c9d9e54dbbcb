"""The small files of a prepared dataset: labels, CSV tables, quarantine, card."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmer_core.datasets.crops import Crop
from mmer_core.datasets.prepared import QUARANTINE_FILE, DatasetSummary
from mmer_core.datasets.raw import COLUMNS, RawDataset, without_captions
from mmer_core.datasets.sample import Quarantined, Sample
from mmer_core.escaping.tables import write_for_people
from mmer_core.tabular import write_table


def write_split(
    folder: Path, split: str, raw: RawDataset, samples: Sequence[Sample], crops: Sequence[Crop | None]
) -> None:
    """Write ``<split>.csv``, ``<split>_texts.csv`` and, if there are labels, the label arrays.

    Args:
        crops: One for each sample; None for one without an image.
    """
    rows = [
        _row(index, sample, crop) for index, (sample, crop) in enumerate(zip(samples, crops, strict=True))
    ]
    there = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in COLUMNS if name in there] + [name for name in there if name not in COLUMNS]
    write_table(folder / f"{split}.csv", columns, ([row.get(name) for name in columns] for row in rows))
    texts = ((row, text.text, text.provenance) for row, sample in enumerate(samples) for text in sample.texts)
    write_table(folder / f"{split}_texts.csv", ("Sample", "Text", "Provenance"), texts)
    # The reference converter saves float64, and mean ratings are not exact in float32.
    kind = np.float64 if raw.protocol == "mat2py" else np.float32
    if raw.labels:
        column = {label: number for number, label in enumerate(raw.labels)}
        categories = np.zeros((len(samples), len(raw.labels)), kind)
        for row, sample in enumerate(samples):
            categories[row, [column[label] for label in sample.labels or ()]] = 1
        np.save(folder / f"{split}_cat_arr.npy", categories, allow_pickle=False)
    if raw.rated:
        ratings = np.array([sample.vad for sample in samples], kind)
        np.save(folder / f"{split}_cont_arr.npy", ratings, allow_pickle=False)


def write_quarantine(folder: Path, quarantined: Sequence[Quarantined]) -> None:
    """Write ``quarantine.csv``: whole samples and single captions, in the order in which they were found."""
    rows = ((row.split, row.id, row.reason, row.detail) for row in quarantined)
    write_for_people(folder / QUARANTINE_FILE, ("Split", "Id", "Reason", "Detail"), rows)


def card(
    raw: RawDataset, kept: dict[str, list[Sample]], quarantined: Sequence[Quarantined], *, synthetic: bool
) -> DatasetSummary:
    """The dataset's summary; it lists every split, also empty ones."""
    samples_out = Counter(row.reason for row in without_captions(quarantined))
    texts_out = Counter(row.reason for row in quarantined) - samples_out
    sources = {
        split: Counter(text.provenance for sample in samples for text in sample.texts)
        for split, samples in kept.items()
    }
    everywhere = sum(sources.values(), Counter[str]())
    return DatasetSummary(
        name=raw.name + (" (synthetic)" if synthetic else ""),
        task=raw.task,
        labels=raw.labels,
        counts={split: len(samples) for split, samples in kept.items()},
        texts={split: sum(len(sample.texts) for sample in samples) for split, samples in kept.items()},
        quarantined=dict(sorted(samples_out.items())),
        inputs=raw.inputs,
        protocol=raw.protocol,
        synthetic=synthetic,
        text_provenance=dict(sorted(everywhere.items())),
        text_coverage={split: dict(sorted(counts.items())) for split, counts in sources.items()},
        texts_found=raw.captions,
        texts_quarantined=dict(sorted(texts_out.items())),
        notes=dict(sorted(Counter(note.reason for note in raw.notes).items())),
    )


def _row(index: int, sample: Sample, crop: Crop | None) -> dict[str, object]:
    row: dict[str, object] = {
        "Index": index,
        **sample.metadata,
        "Image Size": list(crop.size) if crop else None,
        "Id": sample.id,
    }
    if sample.box is not None and crop:
        row["BBox"] = list(crop.box)
    if sample.labels is not None:
        row["Categorical_Labels"] = list(sample.labels)
    if sample.vad is not None:
        row["Continuous_Labels"] = list(sample.vad)
    return row
