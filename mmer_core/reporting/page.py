"""A template of this package to one HTML file that needs nothing but itself."""

from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mmer_core.errors import MmerError
from mmer_core.files import write_whole


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
        write_whole(path, html)
    except OSError as error:
        raise MmerError(
            f"the report cannot be written to {path} ({error.strerror}): name a file in a writable folder"
        ) from error
