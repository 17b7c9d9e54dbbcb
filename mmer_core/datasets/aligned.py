"""A split with another dataset's labels: the model's label set in its order, and only the streams that it reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.errors import DatasetError


@dataclass(frozen=True)
class LabelMappedSplit(PreparedSplit):
    """The columns of ``labels`` are ``names``; a category that the dataset lacks is a column of zeros.

    Attributes:
        names: The model's ``C`` categories.
        reads: The streams that the model reads; the split hides all others.
        rates: Whether the model predicts ratings; if not, ``vad`` is ``(N, 0)``.
    """

    names: tuple[str, ...] = field(kw_only=True)
    reads: tuple[str, ...] = field(kw_only=True)
    rates: bool = field(kw_only=True)

    @property
    def streams(self) -> tuple[str, ...]:
        return tuple(name for name in super().streams if name in self.reads)

    @cached_property
    def labels(self) -> npt.NDArray[np.float32]:
        found = PreparedSplit(self.place, self.split, self.card).labels
        columns = {name: found[:, place] for place, name in enumerate(self.card.labels)}
        absent = np.zeros(len(found), np.float32)
        return np.stack([columns.get(name, absent) for name in self.names], axis=1)

    @cached_property
    def vad(self) -> npt.NDArray[np.float32]:
        found = PreparedSplit(self.place, self.split, self.card).vad
        return found if self.rates else found[:, :0]

    @cached_property
    def texts(self) -> list[str]:
        return PreparedSplit(self.place, self.split, self.card).texts if "text" in self.reads else []


def align(
    split: PreparedSplit, names: Sequence[str], reads: Sequence[str], *, rates: bool, only_shared: bool
) -> LabelMappedSplit:
    """Map a split's labels to the model's by name.

    Args:
        only_shared: Allow either side to have labels that the other lacks.

    Raises:
        DatasetError: No label is shared; not all labels are shared and ``only_shared`` is False; or the split has
            no stream that the model reads.
    """
    unknown, lacking = (
        sorted(set(split.card.labels) - set(names)),
        sorted(set(names) - set(split.card.labels)),
    )
    if len(lacking) == len(names) or ((unknown or lacking) and not only_shared):
        reasons = [f"the dataset lacks {', '.join(lacking)}"] if lacking else []
        reasons += [f"the model lacks {', '.join(unknown)}"] if unknown else []
        cure = "give a model of these labels" if len(lacking) == len(names) else "--evaluation.labels shared"
        raise DatasetError(
            f"the labels of {split.card.name} are not those of the model: {' and '.join(reasons)}; {cure}"
            + ("" if cure.startswith("give") else " evaluates the shared ones")
        )
    aligned = LabelMappedSplit(
        split.place, split.split, split.card, names=tuple(names), reads=tuple(reads), rates=rates
    )
    if not aligned.streams and not aligned.texts:
        raise DatasetError(f"{split.card.name} has none of what the model reads: {', '.join(reads)}")
    return aligned
