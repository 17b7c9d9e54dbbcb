"""Tables in a notebook and as a page."""

from __future__ import annotations

from collections.abc import Sequence

from mmer_core.reporting.page import Page
from mmer_core.reporting.table import Table

_FRAGMENT = "{% for one in lines %}<div>{{ one }}</div>{% endfor %}{% for one in tables %}{{ table(one) }}{% endfor %}"


def tables_html(tables: Sequence[Table], lines: Sequence[str] = ()) -> str:
    """Lines and tables as a fragment of HTML, which a notebook shows in its own style."""
    return str(Page({}).fragment(_FRAGMENT, lines=lines, tables=tables))


def tables_page(title: str, lines: Sequence[str], tables: Sequence[Table]) -> str:
    """A page of tables that needs nothing but itself; ``lines`` are below its title."""
    return Page({}).render("tables.html", title=title, lines=lines, tables=tables)
