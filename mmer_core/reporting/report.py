"""Rendering a `ReportView` into one HTML file that needs nothing but itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from mmer_core.reporting import methods, pictures, prose
from mmer_core.reporting.labels import attack_name, pixels
from mmer_core.reporting.page import Page, write_page
from mmer_core.reporting.sections import SECTIONS
from mmer_core.reporting.sections.defences import verdict_on_defences
from mmer_core.reporting.table import plain
from mmer_core.reporting.tables import key_table, spread_table
from mmer_core.reporting.verdict import verdict_table
from mmer_core.reporting.view import DatasetView, Picture, ReportView

_THUMBNAIL = 160
"""Longest side in pixels of a picture among retrieval results."""


@dataclass(frozen=True)
class Part:
    """A section about one dataset, as it stands on the page."""

    heading: str
    html: Markup


def render(view: ReportView, path: Path) -> None:
    """Write the report; a file of that name is replaced only when the new one is complete.

    Args:
        view: Everything the report shows.
        path: The HTML file to write; missing folders are made.

    Raises:
        MmerError: The file cannot be written.
    """
    write_page(to_html(view), path)


def to_html(view: ReportView) -> str:
    """The report as a string; the same view gives the same string."""
    page = Page({"attack_name": attack_name, "pixels": pixels, "thumbnail": _thumbnail})
    sections = []
    for place, dataset in enumerate(view.datasets, 1):
        parts = list(_parts(page, dataset, f"d{place}"))
        sections.append(
            {
                "id": f"d{place}",
                "view": dataset,
                "verdict": verdict_table(dataset.name, dataset.comparisons, verdict_on_defences(dataset)),
                "key": key_table(dataset),
                "spread": spread_table(dataset),
                "parts": parts,
            }
        )
    return page.render(
        "report.html",
        view=view,
        question=prose.question(view),
        unit=prose.unit(view),
        answer=prose.answer(view),
        warnings=prose.warnings(view),
        sections=sections,
        methods={
            "attacks": methods.attacks_table(view.datasets),
            "success": methods.success_table(view.datasets),
            "tables": (methods.DENOMINATORS, methods.WORST_CASE, methods.METRICS, methods.STATISTICS),
        },
        lineage=plain("Artifacts", ("What", "key"), view.lineage),
        versions=plain("Versions", ("Library", "version"), view.versions.items()),
    )


def _thumbnail(image: Picture) -> str:
    return pictures.data_uri(image, largest=_THUMBNAIL)


def _parts(page: Page, dataset: DatasetView, id_: str) -> Iterator[Part]:
    for kind in sorted(SECTIONS.values(), key=lambda kind: (kind.order, kind.name)):
        if kind.tasks and dataset.card.task not in kind.tasks:
            continue
        if fields := kind().fields(dataset, id_):
            yield Part(fields.get("heading", kind.summary), page.fragment(kind.template, **fields))
