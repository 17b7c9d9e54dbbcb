"""A disk so small that it is soon full: a tmpfs, which takes root to mount."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmer_core.store.in_use import release


@dataclass(frozen=True)
class SmallDisk:
    """A mounted disk below a folder."""

    folder: Path

    def grow(self, kibibytes: int) -> None:
        """What an operator does when a disk is full."""
        _mount(self.folder, f"remount,size={kibibytes}k")


@contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[SmallDisk | None]:
    """Mount a disk of so many KiB at a new folder; None where that is not allowed."""
    folder.mkdir()
    if not _mount(folder, f"size={kibibytes}k"):
        yield None
        return
    try:
        yield SmallDisk(folder)
    finally:
        release()  # a store on the disk, whose fetched artifacts this process uses
        subprocess.run(["umount", str(folder)], check=True)


def _mount(folder: Path, options: str) -> bool:
    if shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
