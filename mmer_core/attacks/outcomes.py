"""What an attack did to each image, as records and as a Parquet table."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from mmer_core.attacks.candidates import Pixel
from mmer_core.durable import sync
from mmer_core.errors import AttackError
from mmer_core.heavy import pa, pd, pq, torch

Status = Literal["fooled", "resisted", "already"]
Reading = Callable[["torch.Tensor", int], "Sequence[float] | torch.Tensor"]
"""Scores ``(S,)`` of one image, on the CPU, and its row, to the numbers that are kept: as many for every image."""


@dataclass(frozen=True)
class Outcome:
    """One attack on one image.

    Attributes:
        sample: Id of the attacked sample.
        attack: Name of the attack.
        pixels: ``K``, most pixels it might change.
        budget: Most queries it might make: those of the run, or the attack's own.
        seed: Seed of the run.
        status: ``"already"``: the clean image meets the criterion, so nothing was attacked; ``"fooled"``:
            the attacked image meets it when judged alone; ``"resisted"``: no query did.
        queries: Candidates judged, the successful one included; 0 for ``"already"``.
        clean_margin: Margin of the clean image, judged alone; 0 or less is a success.
        final_margin: Margin of the image in ``changed``, judged alone; the clean one if there was no query.
        changed: Pixels of the best candidate found that differ from the clean image, at most ``K``, as
            ``(y, x, red, green, blue)`` in reading order; also for ``"resisted"``.
        clean_top: Column with the highest score on the clean image.
        final_top: Column with the highest score on the image in ``changed``.
        unconfirmed: Candidates that met the criterion in a batch but not when judged alone, by rounding;
            they are no successes, and the search went on.
        screened: Candidates that the victim's gradient estimated and nobody judged; 0 for a black-box attack.
        clean_reading: What the run kept of the scores of the clean image, judged alone; nothing by default.
        final_reading: The same of the image in ``changed``.
    """

    sample: str
    attack: str
    pixels: int
    budget: int
    seed: int
    status: Status
    queries: int
    clean_margin: float
    final_margin: float
    changed: tuple[Pixel, ...]
    clean_top: int
    final_top: int
    unconfirmed: int = 0
    screened: int = 0
    clean_reading: tuple[float, ...] = ()
    final_reading: tuple[float, ...] = ()


@cache
def _schema() -> pa.Schema:
    return pa.schema(
        [
            ("sample", pa.string()),
            ("attack", pa.string()),
            ("pixels", pa.int64()),
            ("budget", pa.int64()),
            ("seed", pa.int64()),
            ("status", pa.string()),
            ("queries", pa.int64()),
            ("clean_margin", pa.float64()),
            ("final_margin", pa.float64()),
            ("changed", pa.list_(pa.list_(pa.int64()))),
            ("clean_top", pa.int64()),
            ("final_top", pa.int64()),
            ("unconfirmed", pa.int64()),
            ("screened", pa.int64()),
            ("clean_reading", pa.list_(pa.float32())),
            ("final_reading", pa.list_(pa.float32())),
        ]
    )


def outcomes_table(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """One row an outcome, one column a field of ``Outcome``; ``changed`` is a list of lists of integers.

    The columns and their types are the same for no outcome at all, so shards can be concatenated.
    """
    rows = [asdict(o) | {"changed": [list(pixel) for pixel in o.changed]} for o in outcomes]
    return _frame(pa.Table.from_pylist(rows, schema=_schema()))


def write_outcomes(table: pd.DataFrame, path: Path) -> None:
    """Write a table of outcomes as Parquet; the file appears under its name only when it is whole.

    Raises:
        AttackError: a column is missing or has another type.
    """
    try:
        content = pa.Table.from_pandas(table, schema=_schema(), preserve_index=False)
    except (KeyError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise AttackError(f"the outcomes for {path} are no table of outcomes: {error}") from error
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            pq.write_table(content.replace_schema_metadata(None), file)
            file.flush()
            sync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_outcomes(path: Path) -> pd.DataFrame:
    """Read what ``write_outcomes`` wrote.

    Raises:
        AttackError: there is no such file, it is not Parquet, or its columns are other ones.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise AttackError(f"{path} cannot be read as a Parquet table of outcomes: {error}") from error
    if not table.schema.equals(_schema()):
        raise AttackError(f"{path} holds the columns {table.schema.names}; outcomes have {_schema().names}")
    return _frame(table)


def _frame(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas()
    # Arrow hands nested lists out as arrays of arrays; plain lists compare, print and serialise.
    changed = [[[int(value) for value in pixel] for pixel in pixels] for pixels in frame["changed"]]
    frame["changed"] = pd.Series(changed, index=frame.index, dtype=object)
    for name in ("clean_reading", "final_reading"):
        frame[name] = pd.Series([tuple(one.tolist()) for one in frame[name]], index=frame.index, dtype=object)
    return frame
