"""Prepared arrays: the common form of every dataset for encoders, attacks and reports.

Files of a prepared folder, per split (all npy files are written with ``allow_pickle=False``):

* ``<split>_context_arr.npy`` ``(I, H, W, 3)`` uint8 RGB, the whole photos of the ``I`` samples that have one
* ``<split>_body_arr.npy`` ``(I, H, W, 3)`` uint8 RGB, the person's crop (emotion datasets with boxes)
  (or both as ``<split>_<stream>_webp.bin`` and ``<split>_<stream>_webp.npy``, see `mmer_core.datasets.packed`)
* ``<split>_cat_arr.npy`` ``(N, C)`` float32 0/1 labels (emotion datasets) and ``<split>_cont_arr.npy``
  ``(N, V)`` float32 ratings (emotion datasets with valence, arousal and dominance); float64 under ``mat2py``
* ``<split>.csv`` one row per sample, with the columns of ``mat2py.py``; ``Image Size`` is empty without an image
* ``<split>_texts.csv`` the columns ``Sample`` (row number of the sample), ``Text``, ``Provenance``
* ``<split>_captions_arr.npy`` ``(T, L)`` int32 word indices of the same texts, 0 for padding and 1 for unknown
  words (captioned datasets)

and once per dataset: ``dataset.json`` (a `DatasetSummary`), ``quarantine.csv`` (``Split, Id, Reason, Detail``) and, for
captioned datasets, the vocabulary of the training captions as ``vocab.json`` (word to index) and ``vocab.csv``
(``Index, Word, Count``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmer_core.datasets.packed import PackedPictures, Pictures, packed_name
from mmer_core.datasets.raw import GROUP
from mmer_core.errors import DatasetError, listed
from mmer_core.files import Files, files_of
from mmer_core.heavy import pd
from mmer_core.record import Record
from mmer_core.statistics.clusters import connected
from mmer_core.tabular import read_table
from mmer_core.taxonomy import SPLITS

CARD_FILE = "dataset.json"
QUARANTINE_FILE = "quarantine.csv"


class DatasetSummary(Record):
    """A prepared dataset in figures.

    Attributes:
        counts: Samples kept, by split.
        texts: Texts kept, by split.
        quarantined: Samples dropped, by reason.
        inputs: Samples found; always ``sum(counts) + sum(quarantined)``.
        texts_quarantined: Captions dropped, by reason.
        texts_found: Captions found; for a captioned dataset ``sum(texts) + sum(texts_quarantined)``.
        text_provenance: Texts kept, by source (``sidecar``, ``coco``, ``template``, ...).
        text_coverage: The same per split: split to source to number of texts.
        notes: Inputs that were kept but are probably mistakes, by reason; ``mmer data check`` lists their lines.
        protocol: Name of the reader's protocol, shown with every figure.
        synthetic: Whether mmer drew the photos itself.
    """

    version: Literal[1] = 1
    name: str
    task: str
    labels: tuple[str, ...]
    counts: dict[str, int]
    texts: dict[str, int]
    quarantined: dict[str, int]
    inputs: int
    protocol: str
    synthetic: bool
    text_provenance: dict[str, int] = Field(default_factory=dict)
    text_coverage: dict[str, dict[str, int]] = Field(default_factory=dict)
    texts_found: int = 0
    texts_quarantined: dict[str, int] = Field(default_factory=dict)
    notes: dict[str, int] = Field(default_factory=dict)

    @property
    def splits(self) -> tuple[str, ...]:
        """The non-empty splits, in the order train, val, test."""
        return tuple(split for split in SPLITS if self.counts.get(split))


@dataclass(frozen=True)
class PreparedSplit:
    """One split of a prepared dataset, with ``N`` samples, ``I`` images and ``T`` texts; images stay memory-mapped on disk.

    Every property is read, and its files are fetched, on first use.
    """

    place: Path | Files
    split: str
    card: DatasetSummary

    @property
    def files(self) -> Files:
        return files_of(self.place)

    def __len__(self) -> int:
        return self.card.counts.get(self.split, 0)

    @cached_property
    def table(self) -> pd.DataFrame:
        """``<split>.csv`` with one row per sample, all columns as text; ``Id`` is the sample's id."""
        return read_table(self.files.path(f"{self.split}.csv"))

    @cached_property
    def ids(self) -> list[str]:
        return self.table["Id"].tolist()

    @cached_property
    def clusters(self) -> npt.NDArray[np.int64]:
        """``(N,)`` what was sampled together: people of one photo, and all photos of a manifest's group."""
        names = [name for name in ("Folder", "Filename") if name in self.table]
        photo = self.table.groupby(names).ngroup().to_numpy() if names else np.arange(len(self))
        own = len(self) + np.arange(len(self))  # a sample without an image is by itself
        photo = np.where(np.isin(np.arange(len(self)), self.image_sample), photo, own)
        if GROUP not in self.table:
            return photo
        # Two photos of one group, and two groups that share a photo, belong together.
        group = self.table[GROUP].where(self.table[GROUP] != "", "photo " + pd.Series(photo).astype(str))
        return connected(photo, group)

    def named(self, rows: npt.ArrayLike) -> str:
        """Some samples by their ids, in words."""
        return f"{listed([self.ids[row] for row in np.unique(rows).tolist()], 'sample')} of {self.split}"

    @property
    def streams(self) -> tuple[str, ...]:
        """The image streams present: ``("context",)`` or ``("context", "body")``."""
        return tuple(
            name
            for name in ("context", "body")
            if self.files.has(self._name(name)) or self.files.has(packed_name(self.split, name))
        )

    def images(self, stream: str) -> Pictures:
        """``(I, H, W, 3)`` uint8 RGB of a stream, memory-mapped, or decoded where an index asks for them; `image_rows` says
        where those of a sample are."""
        if self.files.has(packed := packed_name(self.split, stream)):
            return PackedPictures(self.files, packed)
        pictures: Pictures = self.files.array(self._name(stream))
        return pictures

    @cached_property
    def image_sample(self) -> npt.NDArray[np.int64]:
        """``(I,)`` row index of the sample that each image shows, rising; every sample has one image or none."""
        if not self.streams:
            return np.zeros(0, np.int64)
        if len(self.images("context")) == len(self):  # without a look at the table
            return np.arange(len(self))
        return np.flatnonzero(self.table["Image Size"] != "")

    @property
    def without_image(self) -> int:
        """Number of samples without an image."""
        return len(self) - len(self.image_sample)

    def image_rows(self, samples: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Row in `images` of each of these samples, all of which have an image."""
        rows = np.searchsorted(self.image_sample, samples)
        assert np.array_equal(self.image_sample[rows], samples)
        return rows

    @cached_property
    def labels(self) -> npt.NDArray[np.float32]:
        """``(N, C)`` 0/1."""
        return np.load(self.files.path(self._name("cat")), allow_pickle=False).astype(np.float32, copy=False)

    @cached_property
    def vad(self) -> npt.NDArray[np.float32]:
        """``(N, V)`` ratings in 1..10; ``V`` is 0 if nothing was rated."""
        if not self.files.has(self._name("cont")):
            return np.zeros((len(self), 0), np.float32)
        return np.load(self.files.path(self._name("cont")), allow_pickle=False).astype(np.float32, copy=False)

    @cached_property
    def _texts(self) -> pd.DataFrame:
        return read_table(self.files.path(f"{self.split}_texts.csv"), {"Sample": int})

    @cached_property
    def texts(self) -> list[str]:
        """``T`` texts in file order, verbatim: possibly with line breaks and surrounding blanks."""
        return self._texts["Text"].tolist()

    @cached_property
    def text_sample(self) -> npt.NDArray[np.int64]:
        """``(T,)`` row index of the sample that each text describes."""
        return self._texts["Sample"].to_numpy(dtype=np.int64)

    def _name(self, name: str) -> str:
        return f"{self.split}_{name}_arr.npy"


@dataclass(frozen=True)
class Prepared:
    """A prepared dataset, on local disk or fetched as it is read."""

    place: Path | Files
    card: DatasetSummary

    @classmethod
    def open(cls, place: Path | Files) -> Prepared:
        """Open a prepared folder.

        Raises:
            DatasetError: The folder holds no ``dataset.json``.
            StoreError: It was written by another version of mmer.
        """
        files = files_of(place)
        if not files.has(CARD_FILE):
            raise DatasetError(f"{files.folder} is not a prepared dataset: it has no {CARD_FILE}")
        return cls(place, DatasetSummary.read(files.path(CARD_FILE)))

    @property
    def files(self) -> Files:
        return files_of(self.place)

    def split(self, name: str) -> PreparedSplit:
        """Raises `DatasetError` when the split has no samples."""
        if not self.card.counts.get(name):
            present = ", ".join(split for split, count in self.card.counts.items() if count)
            raise DatasetError(
                f"dataset {self.card.name} has no split {name!r}; it has {present}: mark samples as {name} (in a manifest "
                "in the column split), or ask for another split where one can be chosen (--evaluation.split, --attack.split, "
                "--index.split)"
            )
        return PreparedSplit(self.place, name, self.card)
