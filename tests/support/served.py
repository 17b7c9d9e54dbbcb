"""A real ``mmer serve`` in a process of its own."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from mmer_core.datasets.prepared import PreparedSplit
from support.small_pipeline import Study, start_mmer

_START_SECONDS = 300


@dataclass(frozen=True)
class Served:
    """A running service."""

    process: BaseProcess
    url: str
    output: Path

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 80)

    def exit_code(self) -> int | None:
        """Wait for the end."""
        self.process.join(60)
        return self.process.exitcode


@contextmanager
def serving(study: Study, output: Path, *arguments: str) -> Iterator[Served]:
    """Serve the newest index of a study at a free port; what still runs at the end is killed."""
    process = start_mmer(["serve", "--port", "0", *arguments, *study.flags()], output)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not (ready := re.search(r"at (http://\S+)/ ", output.read_text() if output.exists() else "")):
            assert process.is_alive(), output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.05)
        yield Served(process, ready[1], output)
    finally:
        if process.is_alive():
            process.kill()
        process.join()


def photo_folder(split: PreparedSplit, folder: Path) -> Path:
    """The photos of a split as files, by the names in the dataset."""
    for row, name in enumerate(split.table["Filename"]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array(split.images("context")[row])).save(path, format="PNG")
    return folder
