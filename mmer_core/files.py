"""Files that are read, wherever they are, and atomic writes of files and folders."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmer_core.durable import set_mode, sync
from mmer_core.errors import ConfigError, MmerError


class Files(Protocol):
    """The files of a folder, which may have to be fetched before they are read."""

    @property
    def folder(self) -> Path:
        """A local folder that holds all of them."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def path(self, name: str) -> Path:
        """A whole file on this machine."""
        ...

    def array(self, name: str) -> Any:
        """The array of an npy file, memory-mapped; rows are read, and fetched, when they are indexed."""
        ...

    def bytes_of(self, name: str) -> Any:
        """The bytes of a file ``(n,)`` uint8, likewise."""
        ...


@dataclass(frozen=True)
class LocalFiles:
    """Those of a folder on this machine."""

    folder: Path

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def path(self, name: str) -> Path:
        return self.folder / name

    def array(self, name: str) -> Any:
        return np.load(self.folder / name, mmap_mode="r", allow_pickle=False)

    def bytes_of(self, name: str) -> Any:
        return np.memmap(self.folder / name, np.uint8, mode="r")


def files_of(place: Path | Files) -> Files:
    """Those of a folder, or what they are already."""
    return LocalFiles(place) if isinstance(place, Path) else place


def write_whole(path: Path, content: str | bytes) -> None:
    """Write bytes, or text as UTF-8, atomically; an existing file is replaced once the new one is complete and on disk.

    File names in the text may hold bytes that are not UTF-8; these are written as ``\\udcff``, as in terminals.
    Missing folders are created. Raises `OSError` if the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode(errors="backslashreplace"))
            file.flush()
            sync(file.fileno())
        # mkstemp makes files private, but this file should have the permissions of the umask.
        umask = os.umask(0)
        os.umask(umask)
        set_mode(Path(temporary), 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill; it gets its name when the block ends, and is removed if the block raises.

    Raises:
        ConfigError: The path already exists.
        MmerError: The folder cannot be created.
    """
    if os.path.lexists(path):
        raise ConfigError(f"{path} exists already; name a folder that does not")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial"))
    except OSError as error:
        raise MmerError(
            f"cannot make the folder {path} ({error.strerror}); name one in a writable place"
        ) from None
    try:
        yield partial
        set_mode(partial, 0o755)
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
