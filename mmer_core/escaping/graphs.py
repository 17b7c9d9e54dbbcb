"""Text inside the double quotes of Graphviz and Mermaid source."""

import re

from mmer_core.escaping.visible import one_line


def for_dot(text: object) -> str:
    """For Graphviz: escape quotes and backslashes."""
    return one_line(text).replace("\\", "\\\\").replace('"', '\\"')


def for_mermaid(text: object) -> str:
    """For Mermaid, which interprets HTML, Markdown and its own entities there: ``#34;`` for a quote."""
    return re.sub(r"[^\w .,:;/()+×…-]|;", lambda found: f"#{ord(found[0])};", one_line(text))
