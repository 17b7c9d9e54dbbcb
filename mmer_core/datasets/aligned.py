"""A split as another dataset's model sees it: its labels, in its order, and only what it reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.errors import DatasetError


@dataclass(frozen=True)
class LabelMappedSplit(PreparedSplit):
    """Columns of ``labels`` are ``names``; a name that the dataset does not have is a column without positives.

    Attributes:
        names: The model's ``C`` categories.
        reads: The streams that the model reads; no others are shown.
        rates: Whether the model rates; if not, ``vad`` has no columns.
    """

    names: tuple[str, ...] = field(kw_only=True)
    reads: tuple[str, ...] = field(kw_only=True)
    rates: bool = field(kw_only=True)

    @property
    def streams(self) -> tuple[str, ...]:
        return tuple(name for name in super().streams if name in self.reads)

    @cached_property
    def labels(self) -> npt.NDArray[np.float32]:
        found = PreparedSplit(self.folder, self.split, self.card).labels
        columns = {name: found[:, place] for place, name in enumerate(self.card.labels)}
        absent = np.zeros(len(found), np.float32)
        return np.stack([columns.get(name, absent) for name in self.names], axis=1)

    @cached_property
    def vad(self) -> npt.NDArray[np.float32]:
        found = PreparedSplit(self.folder, self.split, self.card).vad
        return found if self.rates else found[:, :0]

    @cached_property
    def texts(self) -> list[str]:
        return PreparedSplit(self.folder, self.split, self.card).texts if "text" in self.reads else []


def align(
    split: PreparedSplit, names: Sequence[str], reads: Sequence[str], *, rates: bool, only_shared: bool
) -> LabelMappedSplit:
    """Match a split to a model's labels by name.

    Args:
        only_shared: Accept that either side has labels which the other has not.

    Raises:
        DatasetError: No label is shared or, unless ``only_shared``, not all are; or no stream is.
    """
    unknown, lacking = (
        sorted(set(split.card.labels) - set(names)),
        sorted(set(names) - set(split.card.labels)),
    )
    if len(lacking) == len(names) or ((unknown or lacking) and not only_shared):
        told = [f"the dataset does not have {', '.join(lacking)}"] if lacking else []
        told += [f"the model does not know {', '.join(unknown)}"] if unknown else []
        cure = "give a model of these labels" if len(lacking) == len(names) else "--evaluation.labels shared"
        raise DatasetError(
            f"the labels of {split.card.name} are not those of the model: {' and '.join(told)}; {cure}"
            + ("" if cure.startswith("give") else " evaluates those that both have")
        )
    aligned = LabelMappedSplit(
        split.folder, split.split, split.card, names=tuple(names), reads=tuple(reads), rates=rates
    )
    if not aligned.streams and not aligned.texts:
        raise DatasetError(f"{split.card.name} has none of what the model reads: {', '.join(reads)}")
    return aligned
