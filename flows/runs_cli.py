"""`mmer runs` and `mmer compare`: trained models side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.output import say, say_json
from flows.parameters import Runtime, at_least
from flows.terminal import say_table
from mmer_core.config import RuntimeConfig, Split
from mmer_core.errors import ArtifactNotFound
from mmer_core.facade.run import list_runs
from mmer_core.facade.tabulating import runs_table
from mmer_core.reporting.table import Cell, Table
from mmer_core.store.absence import missing

Json = Annotated[bool, Parameter(name="--json", help="Print JSON instead of tables.")]
Html = Annotated[Path | None, Parameter(help="Write a self-contained page to this file instead.")]
Model = Annotated[str, Parameter(help="Key of a model, or a unique prefix of it; `model` for the newest.")]


def runs(*, json_output: Json = False, html: Html = None, runtime: Runtime = RuntimeConfig()) -> None:
    """`mmer runs`."""
    store = runtime.open_store()
    found = list_runs(store)
    if not found:
        raise ArtifactNotFound(missing(store, "model", "train one first: mmer train or mmer pipeline"))
    if json_output:
        say_json([run.to_dict() for run in found])
    else:
        _show("Trained models", [], [runs_table(found)], html)


def compare(
    a: Model,
    b: Model,
    *,
    split: Split | None = None,
    margin: Annotated[float, Parameter(validator=at_least(0.1, 99.9))] = 5.0,
    json_output: Json = False,
    html: Html = None,
    runtime: Runtime = RuntimeConfig(),
) -> None:
    """`mmer compare`.

    Parameters
    ----------
    split:
        Split to compare them on; by default the newest that both were measured on.
    margin:
        Percentage points by which two models may differ and still be called equivalent.
    """
    from mmer_core.facade.comparing import compare_models
    from mmer_core.stages import Context

    compared = compare_models(Context(runtime), a, b, split=split, margin=margin)
    if json_output:
        say_json(compared.to_dict())
    else:
        _show(compared.title, compared.legend, compared.tables(), html)


def _show(title: str, legend: Sequence[str], tables: Sequence[Table], html: Path | None) -> None:
    """Print tables, or write them as a page."""
    if html is None:
        say(*([title, *legend, ""] if legend else []))
        for table in tables:
            say(table.caption)
            say_table(table.columns, ((row.head, *map(_cell, row.cells)) for row in table.rows))
        return
    from mmer_core.facade.showing import tables_page
    from mmer_core.reporting.page import write_page

    write_page(tables_page(title, legend, tables), html)
    say(html)


def _cell(one: Cell) -> str:
    return f"{one.text} ({one.note})" if one.note else one.text
