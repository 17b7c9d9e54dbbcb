"""Filters: which rows of an index a search may return."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mmer_core.errors import ConfigError
from mmer_core.retrieval.side_table import RATINGS, SideTable

Interval = tuple[float, float]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Filter:
    """Conditions that a result must all meet.

    Attributes:
        splits: Its split is one of these, if any are given.
        labels: It has all of these labels.
        ratings: Lower and upper bound by dimension (`RATINGS`), both inclusive.
    """

    splits: Sequence[str] = ()
    labels: Sequence[str] = ()
    ratings: dict[str, Interval] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.splits or self.labels or self.ratings)

    def mask(self, table: SideTable, live: Mask | None = None) -> Mask:
        """``(N,)`` bool: the rows that meet all conditions.

        Args:
            live: ``(N,)`` bool: the rows that are not deleted; None if all are live.

        Raises:
            ConfigError: The remaining rows lack the data for a condition, or have no such split or label.
        """
        if live is not None and not live.any():
            return live  # an empty index has no results, whatever the filter
        allowed = np.ones(len(table), dtype=bool) if live is None else live.copy()
        if self.splits:
            allowed &= _in_splits(table, self.splits, live)
        for label in self.labels:
            allowed &= _with_label(table, label, live)
        for name, interval in self.ratings.items():
            allowed &= _rated(table, name, interval, live)
        return allowed


def choices(table: SideTable, live: Mask | None = None) -> dict[str, list[str]]:
    """The values that a filter can use, by kind: the names that occur in the table's rows, sorted.

    Args:
        live: ``(N,)`` bool: the rows that are not deleted; None if all are live.
    """
    found: dict[str, list[str]] = {"splits": [], "labels": [], "ratings": []}
    if "split" in table.columns:
        found["splits"] = _names(_live_rows(table.column("split"), live))
    if "labels" in table.columns:
        found["labels"] = _names(_live_rows(table.column("labels"), live).combine_chunks().flatten())
    found["ratings"] = [
        name for name in RATINGS if name in table.columns and _is_rated(_ratings(table, name), live)
    ]
    return found


def _names(column: pa.ChunkedArray | pa.Array) -> list[str]:
    return sorted(str(name) for name in column.unique().to_pylist() if name)


def _in_splits(table: SideTable, splits: Sequence[str], live: Mask | None) -> Mask:
    column = _column(table, "split")
    known = set(_names(_live_rows(column, live)))
    for split in splits:
        if split not in known:
            raise ConfigError(f"the index has no split {split!r}; it has {_listed(known)}")
    allowed: Mask = pc.is_in(column, value_set=pa.array(splits, pa.string())).to_numpy()
    return allowed


def _with_label(table: SideTable, label: str, live: Mask | None) -> Mask:
    column = _column(table, "labels").combine_chunks()
    names = column.flatten()
    rows = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
    same = pc.equal(names, label).to_numpy(zero_copy_only=False)
    found = np.zeros(len(table), dtype=bool)
    found[rows[same]] = True
    if not (found if live is None else found & live).any():
        known = set(names.to_pylist() if live is None else names.filter(live[rows]).to_pylist())
        raise ConfigError(f"nothing in the index has the label {label!r}; it has {_listed(known)}")
    return found


def _rated(table: SideTable, name: str, interval: Interval, live: Mask | None) -> Mask:
    if name not in RATINGS:
        raise ConfigError(f"{name!r} is not a rating; filter on {_listed(set(RATINGS))}")
    low, high = interval
    if not low <= high:
        raise ConfigError(f"{name} from {low} to {high} is empty: give the smaller number first")
    values = _ratings(table, name)
    if not _is_rated(values, live):
        raise ConfigError(f"nothing in the index has a rating of {name}")
    return (values >= low) & (values <= high)


def _live_rows(column: pa.ChunkedArray, live: Mask | None) -> pa.ChunkedArray:
    """The live rows of a column."""
    return column if live is None else column.filter(live)


def _is_rated(values: npt.NDArray[np.float64], live: Mask | None) -> bool:
    return not np.isnan(values if live is None else values[live]).all()


def _ratings(table: SideTable, name: str) -> npt.NDArray[np.float64]:
    """``(N,)`` float64, NaN if not rated."""
    return _column(table, name).to_numpy().astype(float)


def _column(table: SideTable, name: str) -> pa.ChunkedArray:
    if name not in table.columns:
        raise ConfigError(f"the index holds no {name}: build it again with mmer index")
    return table.column(name)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
