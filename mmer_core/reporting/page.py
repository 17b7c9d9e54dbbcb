"""A template of this package to one HTML file that needs nothing but itself."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mmer_core.errors import MmerError
from mmer_core.escaping import visible
from mmer_core.files import write_whole

_MACROS = '{% from "macros.html" import table, figure %}\n'


class Page:
    """Templates with the same filters."""

    def __init__(self, filters: Mapping[str, Callable[..., Any]]) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("mmer_core.reporting"),
            autoescape=True,
            finalize=_shown,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= filters

    def render(self, template: str, **fields: Any) -> str:
        """The whole page as a string; the same fields give the same string."""
        style, script = _packaged("report.css"), _packaged("page.js")
        return self._environment.get_template(template).render(
            style=Markup(style), script=Markup(script), policy=_policy(script), **fields
        )

    def fragment(self, source: str, **fields: Any) -> Markup:
        """A part of a page, from the text of a template in which the macros ``table`` and ``figure`` are known."""
        return Markup(self._environment.from_string(_MACROS + source).render(**fields))


def _shown(value: object) -> object:
    """Whatever a template prints, before it is escaped for HTML: no character of it turns the page's text around."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _policy(script: str) -> str:
    """What a page may do: show its own pictures and run its own script, and load nothing from anywhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _packaged(name: str) -> str:
    return resources.files("mmer_core.reporting").joinpath("templates", name).read_text("utf-8")


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
