"""The common output of all benchmarks."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from cyclopts import App

from flows.output import say
from flows.terminal import say_table
from mmer_core.errors import MmerError, sentence
from mmer_core.heavy import torch
from mmer_core.record import Interval
from mmer_core.reporting.table import Table

Row = dict[str, Any]
_WHOLE = 1000
"""From here on figures have no decimals."""


def run_app(app: App) -> None:
    """Run a benchmark's command; what is wrong with an input or a file is said in one sentence, as by mmer's own commands."""
    commit()  # kept from now on: a long run may end when the checkout is at another
    try:
        app()
    except (MmerError, OSError) as error:
        say(f"{app.name[0]}: {sentence(error)}", error=True)
        sys.exit(1)


def finish(
    name: str, rows: Sequence[Mapping[str, Any]], ratios: Mapping[str, float], json_file: Path | None
) -> None:
    """Print the rows and ratios as tables and, if a file is given, write them to it."""
    show(f"benchmarks.{name} on {machine()}", rows)
    for what, ratio in ratios.items():
        say(f"{what}: {ratio:.2f}")
    if json_file is not None:
        write(name, rows, ratios, json_file)


def write(name: str, rows: Sequence[Mapping[str, Any]], ratios: Mapping[str, float], json_file: Path) -> None:
    """The rows and ratios as JSON, with machine and commit, as `benchmarks.figures` takes it."""
    fields = {
        "name": name,
        "machine": machine(),
        "commit": commit(),
        "rows": list(rows),
        "ratios": dict(ratios),
    }
    json_file.write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n")


def kept_rows(name: str, json_file: Path | None) -> list[Row]:
    """The rows that `finish` wrote by this name into a file on a machine like this one; none where there is no such file."""
    if json_file is None or not json_file.exists():
        return []
    kept = json.loads(json_file.read_text())
    return kept["rows"] if (kept["name"], kept["machine"]) == (name, machine()) else []


def joined(earlier: Sequence[Row], rows: Sequence[Row], *names: str) -> list[Row]:
    """Earlier rows, each replaced by that with the same values of these names, if it was measured again."""
    return [*{tuple(row[name] for name in names): row for row in (*earlier, *rows)}.values()]


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows with the same columns as a table."""
    say(title)
    say_table(rows[0], [[*map(figure, row.values())] for row in rows])


def percent(share: Interval) -> str:
    """A share with its interval, in whole percent; a dash where it is not defined."""
    return "-" if share.value is None else f"{share.value:.0f} % ({share.low:.0f} to {share.high:.0f})"


def interval(found: Interval) -> str:
    """A figure with the ends of its interval, where it has them; a dash where it is not defined."""
    if found.value is None:
        return "-"
    return f"{found.value:.1f}" + (f" ({found.low:.1f} to {found.high:.1f})" if found.low is not None else "")


def rows_of(table: Table) -> list[Row]:
    """The rows of a finished table by its columns, of which one without a name is ``what``."""
    columns = [name or "what" for name in table.columns]
    return [dict(zip(columns, texts, strict=True)) for texts in table.texts()]


def figure(value: object) -> str:
    """A value of a row as it is shown."""
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10 * _WHOLE else str(value)
    if not isinstance(value, float):
        return str(value)
    if abs(value) >= _WHOLE:
        return f"{value:,.0f}"
    return f"{value:.4f}" if 0 < abs(value) < 1 else f"{value:.2f}"


def machine() -> str:
    """Processor, cores and accelerator, as far as they can be determined."""
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{_processor()}, {os.cpu_count()} cores, {accelerator}, torch {torch.__version__}"


@cache
def commit() -> str:
    """The commit that was measured, short, with a plus where the package differs from it; empty where git does not say."""
    with suppress(OSError, subprocess.CalledProcessError):
        changed = _git("diff", "--name-only", "HEAD", "--", ":/mmer_core")
        return _git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    return ""


def _git(*words: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    """Its model where the system says so, else its architecture: figures of two models do not compare."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
