"""A template of this package to one HTML file that needs nothing but itself."""

import os
import tempfile
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mmer_core.errors import MmerError


def render_page(template: str, filters: Mapping[str, Callable[..., Any]], **fields: Any) -> str:
    """The page as a string; the same fields give the same string."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mmer_core.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    style = resources.files("mmer_core.reporting").joinpath("templates/report.css").read_text("utf-8")
    return environment.get_template(template).render(style=Markup(style), **fields)


def write_page(html: str, path: Path) -> None:
    """Write a page; a file of that name is replaced only when the new one is complete.

    Args:
        path: The file to write; missing folders are made.

    Raises:
        MmerError: The file cannot be written.
    """
    try:
        _write(path, html)
    except OSError as error:
        raise MmerError(
            f"the report cannot be written to {path} ({error.strerror}): name a file in a writable folder"
        ) from error


def _write(path: Path, html: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(html)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; a report is for everyone whom the umask allows.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
