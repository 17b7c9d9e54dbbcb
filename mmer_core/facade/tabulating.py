"""`mmer_core.runs`: every trained model as a row of a table."""

from __future__ import annotations

from collections.abc import Sequence

from mmer_core.config import RuntimeConfig
from mmer_core.facade.run import Run, list_runs, varying
from mmer_core.heavy import pd
from mmer_core.reporting.estimates import MISSING
from mmer_core.reporting.labels import metric
from mmer_core.reporting.table import Cell, Row, Table, cell

STORE = ".mmer/store"


def runs(store: str = STORE) -> pd.DataFrame:
    """Every trained model of a store with its settings and what it reached, oldest first.

    A model that was measured on several splits has a row for each, one that was never measured a row without figures.

    >>> import mmer_core as mmer
    >>> table = mmer.runs()
    >>> table[table.task == "retrieval"][["family", "split", "metric"]]
         family split       metric
    2  separate  test  mean_recall
    3     joint  test  mean_recall

    Args:
        store: Address of the store: a folder, ``file:///…`` or ``s3://bucket/prefix``.

    Returns:
        Columns ``model`` (its key), ``made`` (time, UTC), ``dataset``, ``task``, ``family``, ``split``, ``metric`` (by which
        models of the task are judged), ``value``, ``low``, ``high`` (95 % interval), and each setting in which two rows
        differ, as ``training.epochs``.

    Raises:
        StoreError: The store cannot be read.
    """
    found = list_runs(RuntimeConfig(store=store).open_store())
    settings = varying(found)
    columns = ["model", "made", "dataset", "task", "family", "split", "metric", "value", "low", "high"]
    rows = []
    for run in found:
        name, figure = run.headline or (None, None)
        interval = (figure.value, figure.low, figure.high) if figure else (None, None, None)
        rows.append(
            (
                *(str(run.model), pd.Timestamp(run.made), run.dataset, run.task, run.family, run.split),
                *(name, *interval),
                *(run.settings.get(setting) for setting in settings),
            )
        )
    return pd.DataFrame(rows, columns=[*columns, *settings])


def runs_table(found: Sequence[Run]) -> Table:
    """The same for people: settings in which models of one dataset differ are in one cell."""
    settings = {run.dataset: varying([one for one in found if one.dataset == run.dataset]) for run in found}
    differ = any(name != "model.family" for names in settings.values() for name in names)  # it has a column
    rows = []
    for run in found:
        own = [
            f"{name}={run.settings[name]}"
            for name in settings[run.dataset]
            if run.settings.get(name) is not None and name != "model.family"
        ]
        name, figure = run.headline or (MISSING, None)
        made = run.made[:16].replace("T", " ")
        rows.append(
            Row(
                str(run.model),
                (
                    *(Cell(text or MISSING) for text in (made, run.dataset, run.family, run.split)),
                    Cell(metric(name).label),
                    cell(figure),
                    *([Cell(", ".join(own))] if differ else []),
                ),
            )
        )
    columns = (
        "Model",
        "made",
        "dataset",
        "family",
        "split",
        "metric",
        "value (95 %)",
        "settings that differ",
    )
    return Table("Trained models", columns if differ else columns[:-1], tuple(rows))
