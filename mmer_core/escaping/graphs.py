"""Text inside the double quotes of a graph's source, for Graphviz and for Mermaid."""

import re

from mmer_core.escaping.visible import one_line


def for_dot(text: object) -> str:
    """For Graphviz: a quote ends nothing, and a backslash is one."""
    return one_line(text).replace("\\", "\\\\").replace('"', '\\"')


def for_mermaid(text: object) -> str:
    """For Mermaid, which reads HTML, Markdown and entities of its own there: ``#34;`` for a quote."""
    return re.sub(r"[^\w .,:;/()+×…-]|;", lambda found: f"#{ord(found[0])};", one_line(text))
