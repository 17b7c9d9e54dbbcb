"""Text from data, made harmless for whatever shows it: a terminal, a log, Markdown, a spreadsheet, a graph.

Names, labels, captions, ids and file names were written by others. Where people read them they are text and nothing
else: they move no cursor, start no line, link nowhere, compute nothing. Files that mmer reads back, and JSON, hold them
as they are. `mmer_core.errors` and `mmer_core.log` escape their sentences themselves, `flows.output` and `flows.terminal` all that a command
prints, and `mmer_core.reporting.page` all that a page shows.
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
