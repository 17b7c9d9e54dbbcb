"""What every benchmark prints and writes."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from flows.terminal import tables


def finish(
    name: str, rows: Sequence[Mapping[str, Any]], ratios: Mapping[str, float], json_file: Path | None
) -> None:
    """Print the rows and ratios as tables and, when asked, write them as JSON."""
    console = tables()
    table = Table(*rows[0], box=None, title=f"benchmarks.{name} on {machine()}")
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)
    for what, ratio in ratios.items():
        console.print(f"{what}: {ratio:.2f}")
    if json_file is not None:
        fields = {"name": name, "machine": machine(), "rows": list(rows), "ratios": dict(ratios)}
        json_file.write_text(json.dumps(fields, indent=2) + "\n")


def machine() -> str:
    """Processor, cores and accelerator, as far as they can be told."""
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{platform.machine()}, {os.cpu_count()} cores, {accelerator}, torch {torch.__version__}"
