"""What a run leaves in the Prefect UI; plain runs leave nothing there.

The UI reads notes, descriptions and the cells of tables as Markdown.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext, TaskRunContext

from mmer_core.escaping import for_code, for_markdown
from mmer_core.store import Artifact
from mmer_core.store.ancestry import Ancestry

_LONG = 200  # letters of a figure that is cut


def leave_summary(artifact: Artifact, title: str) -> None:
    """A markdown note: what was made, under which key, how to fetch it, and its figures."""
    if not _in_run():
        return
    figures = {name: _told(value) for name, value in artifact.summary.items() if name != "version"}
    rows = "".join(f"| {_cell(_words(name))} | {_cell(text)} |\n" for name, text in figures.items() if text)
    create_markdown_artifact(
        f"`{artifact.key}`\n\n{_told_of(artifact)}\n\n"
        f"| figure | value |\n|---|---|\n{rows}\n"
        f"{_fetching(artifact)}\n",
        key=f"{artifact.key.kind}-summary",
        description=for_markdown(title),
    )


def _told_of(artifact: Artifact) -> str:
    """When it was made, or what that took."""
    manifest = artifact.manifest
    if artifact.reused:
        return f"Found in the store, where it was made at {manifest.created[:16].replace('T', ' ')} UTC."
    if usage := manifest.usage:
        return f"Made and stored in {usage.wall_seconds:.1f} s: {usage.sentence}."
    return f"Made in {manifest.wall_seconds:.1f} s."


def _fetching(artifact: Artifact) -> str:
    store, command = artifact.store, f"mmer artifacts fetch {artifact.key}"
    if store.place == store.url:
        return f"Fetch it with\n\n```console\n{command} --store {store.url}\n```"
    return (
        f"Fetch it from the store {for_code(store.place)} of the machine that ran this, with\n\n"
        f"```console\n{command}\n```"
    )


def leave_lineage(artifact: Artifact) -> None:
    """A markdown note of what an artifact was made from, as a picture (the UI draws no Mermaid) and as a tree."""
    if not _in_run():
        return
    ancestry = Ancestry.of(artifact.store, artifact.key)
    picture = _address("image/svg+xml", ancestry.svg().encode())
    create_markdown_artifact(
        f"![What {artifact.key} was made from]({picture})\n\n"
        f"Every input, its key, when it was made and how long that took:\n\n```text\n{ancestry.tree()}\n```\n",
        key=f"{artifact.key.kind}-lineage",
        description=f"What {artifact.key.kind} {artifact.key.digest[:8]} was made from",
    )


def leave_note(artifact: Artifact, title: str, markdown: str) -> None:
    """A markdown note that was written for the artifact itself."""
    if _in_run():
        create_markdown_artifact(markdown, key=str(artifact.key.kind), description=for_markdown(title))


def leave_table(kind: str, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table, one row a record."""
    if _in_run() and rows:
        table = [{_shown(_words(name)): _shown(value) for name, value in row.items()} for row in rows]
        create_table_artifact(table, key=f"{kind}-table", description=for_markdown(title))


def leave_picture(kind: str, title: str, path: Path) -> None:
    """A JPEG file, inside the artifact itself, so that it shows without any other server.

    As Markdown: on the page of an image artifact its address, which here is all of it, runs over everything else.
    """
    if _in_run() and path.is_file():
        picture = f"![{for_markdown(title)}]({_address('image/jpeg', path.read_bytes())})\n"
        create_markdown_artifact(picture, key=kind, description=for_markdown(title))


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _in_run() -> bool:
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


def _words(name: str) -> str:
    return name.replace("_", " ")


def _told(value: Any) -> str:
    """A figure as people write it; nothing for what is empty."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case Mapping():
            nested = any(isinstance(item, Mapping) for item in value.values())
            between, after = ("; ", ":") if nested else (", ", "")
            return between.join(f"{_words(name)}{after} {_told(item)}" for name, item in value.items())
        case list() | tuple():
            return ", ".join(map(_told, value))
    return str(value)


def _cell(text: str) -> str:
    return for_markdown(text if len(text) <= _LONG else text[: _LONG - 1] + "…")


def _shown(value: Any) -> Any:
    """A cell of a table: a number as it is, all else as Markdown that shows it."""
    if value is None:
        return "–"
    return value if isinstance(value, bool | int | float) else for_markdown(value)
