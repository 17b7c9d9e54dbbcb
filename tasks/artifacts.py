"""What a run leaves in the Prefect UI; plain runs leave nothing there.

The UI reads notes, descriptions and the cells of tables as Markdown.
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from mmer_core.attacks.record import CurvesSummary
from mmer_core.datasets.prepared import DatasetSummary
from mmer_core.errors import MmerError
from mmer_core.escaping import for_code, for_markdown
from mmer_core.evaluation.record import EvaluationSummary
from mmer_core.poisoning.record import PoisoningSummary
from mmer_core.reporting.comparison_table import differences
from mmer_core.reporting.verdict import QUESTION, verdict_rows
from mmer_core.retrieval.record import IndexSummary
from mmer_core.stages.dataset_card import SHEET_FILE, DatasetCardSummary
from mmer_core.stages.index import index_rows
from mmer_core.stages.model_card import CARD_FILE, ModelCardSummary
from mmer_core.stages.night import NightSummary
from mmer_core.stages.report import COMPARISONS_FILE
from mmer_core.statistics.comparison import Comparisons
from mmer_core.store import Artifact
from mmer_core.store.ancestry import Ancestry
from mmer_core.taxonomy import SPLITS
from mmer_core.training.record import ModelSummary

_LONG = 200  # letters of a figure that is cut


def leave(artifact: Artifact) -> None:
    """What artifacts of this kind leave in the UI, see `_LEFT`."""
    if of_kind := _LEFT.get(artifact.key.kind):
        of_kind(artifact)


def leave_summary(artifact: Artifact, title: str) -> None:
    """A markdown note: what was made, under which key, how to fetch it, and its figures."""
    figures = {name: _written(value) for name, value in artifact.summary.items() if name != "version"}
    rows = [(_words(name), text) for name, text in figures.items() if text]
    create_markdown_artifact(
        f"`{artifact.key}`\n\n{_sentence_of(artifact)}\n\n"
        f"{_rows(('figure', 'value'), rows)}\n"
        f"{_fetching(artifact)}\n",
        key=f"{artifact.key.kind}-summary",
        description=for_markdown(title),
    )


def _sentence_of(artifact: Artifact) -> str:
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


def leave_failure(error: MmerError) -> None:
    """A markdown note: what went wrong, where, and the command that tries again, to be copied."""
    places = "".join(f"- {for_markdown(place)}\n" for place in getattr(error, "__notes__", ()))
    what = f"{error.cause}; {error.advice}" if error.advice else error.cause
    again = (
        f"Once that is mended, try again with\n\n```console\n{error.again}\n```\n\n" if error.again else ""
    )
    create_markdown_artifact(
        f"{for_markdown(what)}\n\n{places}\n{again}What was finished before is in the store and is not made again.\n",
        key="failure",
        description="What went wrong",
    )


def leave_lineage(artifact: Artifact) -> None:
    """A markdown note of what an artifact was made from, as a picture (the UI draws no Mermaid) and as a tree."""
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
    create_markdown_artifact(markdown, key=str(artifact.key.kind), description=for_markdown(title))


def leave_verdict(report: Artifact) -> None:
    """A markdown note with the verdict on every dataset, a row a question."""
    found = Comparisons.read(report.folder / COMPARISONS_FILE).datasets
    notes = [
        f"## {for_markdown(name)}\n\n{_rows(QUESTION, rows)}"
        for name, comparisons in found.items()
        if (rows := verdict_rows(comparisons))
    ]
    if notes:
        create_markdown_artifact("\n".join(notes), key="verdict", description="The verdict")


def leave_table(kind: str, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table, one row a record."""
    if rows:
        table = [{_shown(_words(name)): _shown(value) for name, value in row.items()} for row in rows]
        create_table_artifact(table, key=f"{kind}-table", description=for_markdown(title))


def leave_picture(kind: str, title: str, path: Path) -> None:
    """A JPEG file, inside the artifact itself, so that it shows without any other server.

    As Markdown: on the page of an image artifact its address, which here is all of it, runs over everything else.
    """
    if path.is_file():
        picture = f"![{for_markdown(title)}]({_address('image/jpeg', path.read_bytes())})\n"
        create_markdown_artifact(picture, key=kind, description=for_markdown(title))


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _written(value: Any) -> str:
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
            return between.join(f"{_words(name)}{after} {_written(item)}" for name, item in value.items())
        case list() | tuple():
            return ", ".join(map(_written, value))
    return str(value)


def _rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *(map(_cell, row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return for_markdown(text if len(text) <= _LONG else text[: _LONG - 1] + "…")


def _shown(value: Any) -> Any:
    """A cell of a table: a number as it is, all else as Markdown that shows it."""
    if value is None:
        return "–"
    return value if isinstance(value, bool | int | float) else for_markdown(value)


def _prepared(artifact: Artifact) -> None:
    leave_summary(artifact, f"Prepared {artifact.manifest.summary_as(DatasetSummary).name}")


def _dataset_card(artifact: Artifact) -> None:
    figures = artifact.manifest.summary_as(DatasetCardSummary)
    leave_summary(artifact, f"Dataset card of {figures.name}")
    counts = {name: figures.counts[name] for name in SPLITS if name in figures.counts}
    leave_table(
        "dataset",
        "Samples and texts by split",
        [{"split": name, "samples": n, "texts": figures.texts[name]} for name, n in counts.items()],
    )
    out = [*figures.quarantined.items(), *((f"leak, {kind}", n) for kind, n in figures.leaks.items())]
    leave_table("quarantine", "Left out, and in two splits", [{"reason": why, "count": n} for why, n in out])
    leave_picture("dataset-samples", f"Samples of {figures.name}", artifact.folder / SHEET_FILE)
    leave_lineage(artifact)


def _model(artifact: Artifact) -> None:
    made = artifact.manifest.summary_as(ModelSummary)
    leave_summary(artifact, f"{made.family.capitalize()} model of {made.dataset}")


def _evaluation(artifact: Artifact) -> None:
    measured = artifact.manifest.summary_as(EvaluationSummary)
    leave_summary(artifact, f"{measured.family.capitalize()} model on {measured.split}")


def _model_card(artifact: Artifact) -> None:
    title = f"{artifact.manifest.summary_as(ModelCardSummary).family.capitalize()} model's card"
    leave_note(artifact, title, (artifact.folder / CARD_FILE).read_text("utf-8"))
    leave_lineage(artifact)


def _index(artifact: Artifact) -> None:
    built = artifact.manifest.summary_as(IndexSummary)
    leave_summary(artifact, f"FAISS index, version {built.revision}")
    leave_table("index", "What searches find, and how fast", index_rows(built))


def _report(artifact: Artifact) -> None:
    leave_summary(artifact, "Report")
    leave_verdict(artifact)
    leave_lineage(artifact)


def _night(artifact: Artifact) -> None:
    found = artifact.manifest.summary_as(NightSummary)
    lines = [
        f"**{for_markdown(found.sentence)}**",
        *(f"- {for_markdown(one)}" for one in (*found.moved, *found.said)),
    ]
    for name, compared in Comparisons.read(artifact.folder / COMPARISONS_FILE).datasets.items():
        table = differences(name, compared)
        lines += [
            f"## {for_markdown(name)}: tonight less the night before",
            _rows(table.columns, table.texts()),
        ]
    leave_note(artifact, f"{found.series}: {found.sentence}", "\n\n".join([*lines, _fetching(artifact)]))


def _poisoning(artifact: Artifact) -> None:
    found = artifact.manifest.summary_as(PoisoningSummary)
    leave_summary(artifact, f"Poisoning {found.dataset}")
    leave_table("poisoning", "Success of poisons, means over seeds", [dict(row) for row in found.means])
    if found.warnings:
        leave_note(artifact, "Warnings", "\n".join(f"- {for_markdown(one)}" for one in found.warnings))


def _curves(artifact: Artifact) -> list[dict[str, Any]]:
    """Rows of success against changed pixels, under names that need no manual."""
    names = {"n": "attacked", "already": "met without a change"}
    rows = []
    for point in artifact.manifest.summary_as(CurvesSummary).curves:
        success = point.success.value  # None where nothing was attacked
        shown = {names.get(name, name): value for name, value in point if name != "success"}
        rows.append(shown | {"success %": None if success is None else round(success, 1)})
    return rows


_LEFT: dict[str, Callable[[Artifact], None]] = {
    "prepared": _prepared,
    "dataset-card": _dataset_card,
    "captions": lambda made: leave_summary(made, "Captions"),
    "features": lambda made: leave_summary(made, "Features"),
    "adapter": lambda made: leave_summary(made, "Adapted encoders"),
    "model": _model,
    "evaluation": _evaluation,
    "model-card": _model_card,
    "index": _index,
    "robustness": lambda made: leave_table("robustness", "Success of pixel attacks", _curves(made)),
    "transfer": lambda made: leave_table("transfer", "Successes that fool another model too", _curves(made)),
    "night": _night,
    "report": _report,
    "poisoning": _poisoning,
}
