"""Escaping text from data for its destination: a terminal, a log, Markdown, a spreadsheet, a graph.

Names, labels, captions, ids and file names come from others. Wherever people read them they must be inert text: they
move no cursor, start no line, form no link and compute nothing. Files that mmer reads back, and JSON, hold them
verbatim. `mmer_core.errors` and `mmer_core.log` escape their own sentences, `flows.output` and `flows.terminal` everything
that a command prints, and `mmer_core.reporting.page` everything on a page.
"""

from mmer_core.escaping.graphs import for_dot, for_mermaid
from mmer_core.escaping.json_text import ascii_json, json_text
from mmer_core.escaping.markdown import for_code, for_markdown
from mmer_core.escaping.places import without_folders
from mmer_core.escaping.spreadsheet import for_spreadsheet, from_spreadsheet
from mmer_core.escaping.visible import one_line, visible

__all__ = [
    "ascii_json",
    "for_code",
    "for_dot",
    "for_markdown",
    "for_mermaid",
    "for_spreadsheet",
    "from_spreadsheet",
    "json_text",
    "one_line",
    "visible",
    "without_folders",
]
