"""Rendering a `ReportView` into one HTML file that needs nothing but itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mmer_core.reporting import attack_tables, charts, pictures, prose, tables
from mmer_core.reporting.analysis_section import AnalysisSection, analysis_section
from mmer_core.reporting.comparison_table import comparison_table, emotion_differences
from mmer_core.reporting.labels import FOOLED, attack_name, pixels
from mmer_core.reporting.page import render_page, write_page
from mmer_core.reporting.table import Table, plain
from mmer_core.reporting.view import AttackedImage, DatasetView, EmbeddingSpace, Picture, ReportView

_THUMBNAIL = 160
"""Longest side in pixels of a picture among retrieval results."""


@dataclass(frozen=True)
class SpaceSection:
    """One embedding space on the page: its map and the legend of its groups (sign, colour, name)."""

    family: str
    space: EmbeddingSpace
    chart: Markup
    legend: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class DatasetSection:
    """One dataset on the page: tables and charts that are there when the view holds their figures."""

    id: str
    view: DatasetView
    key: Table
    compared: Table | None
    emotions_compared: Table | None
    data: tuple[Table, ...]
    training: Markup | None
    histories: tuple[Table, ...]
    results: tuple[Table, ...]
    categories: Table | None
    streams: Markup | None
    spaces: tuple[SpaceSection, ...]
    variance: Markup | None
    analyses: AnalysisSection
    attacks: Table | None
    transfers: Table | None
    fragile: tuple[Table, ...]
    by_pixels: Markup | None
    by_queries: Markup | None
    query_figures: Table | None
    gallery: tuple[tuple[AttackedImage, pictures.MarkedPicture], ...]
    fooled: str
    published: Table | None


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
    filters: dict[str, Callable[..., Any]] = {
        "attack_name": attack_name,
        "pixels": pixels,
        "thumbnail": _thumbnail,
    }
    return render_page(
        "report.html",
        filters,
        view=view,
        answer=prose.answer(view),
        warnings=prose.warnings(view),
        sections=[_section(dataset, f"d{place}") for place, dataset in enumerate(view.datasets, 1)],
        lineage=plain("Artifacts", ("What", "key"), view.lineage),
        versions=plain("Versions", ("Library", "version"), view.versions.items()),
    )


def _thumbnail(image: Picture) -> str:
    return pictures.data_uri(image, largest=_THUMBNAIL)


def _section(dataset: DatasetView, id_: str) -> DatasetSection:
    families = dataset.families
    spaces = _spaces(dataset, id_)
    trained = [family for family in families if family.history]
    attacked = [family for family in families if family.curves]
    queried = [family for family in families if family.by_queries]
    return DatasetSection(
        id=id_,
        view=dataset,
        key=tables.key_table(dataset),
        compared=_first(comparison_table(dataset.comparisons)),
        emotions_compared=_first(emotion_differences(dataset.comparisons)),
        data=_filled(
            tables.counts_table(dataset), tables.quarantine_table(dataset), tables.provenance_table(dataset)
        ),
        training=charts.training_curves(trained, f"{id_}-training") if trained else None,
        histories=tuple(tables.history_table(family) for family in trained),
        results=_filled(tables.vad_table(families), tables.stream_table(families)),
        categories=_first(tables.category_table(families)),
        streams=_streams(dataset, id_),
        spaces=spaces,
        variance=charts.explained_variance(families, f"{id_}-variance") if spaces else None,
        analyses=analysis_section(dataset, id_),
        attacks=attack_tables.attack_table(attacked) if attacked else None,
        transfers=attack_tables.transfer_table(dataset.transfers) if dataset.transfers else None,
        fragile=_filled(
            attack_tables.fragile_emotions_table(families), attack_tables.fragile_regions_table(families)
        ),
        by_pixels=charts.success_by_pixels(attacked, f"{id_}-pixels") if attacked else None,
        by_queries=charts.success_by_queries(queried, f"{id_}-queries") if queried else None,
        query_figures=attack_tables.query_table(queried) if queried else None,
        gallery=tuple((item, pictures.marked(item)) for item in dataset.gallery),
        fooled=dataset.fooled or FOOLED[dataset.text.criterion],
        published=tables.published_table(dataset),
    )


def _first(table: Table) -> Table | None:
    return table if table.rows else None


def _filled(*candidates: Table) -> tuple[Table, ...]:
    return tuple(table for table in candidates if table.rows)


def _streams(dataset: DatasetView, id_: str) -> Markup | None:
    if dataset.streams is None or not dataset.streams.ap:
        return None
    prevalence = {
        category.name: category.prevalence
        for family in dataset.families
        for category in family.evaluation.per_category
    }
    return charts.modality_bars(dataset.streams, prevalence, f"{id_}-streams")


def _spaces(dataset: DatasetView, id_: str) -> tuple[SpaceSection, ...]:
    found: Sequence[tuple[str, EmbeddingSpace]] = [
        (family.family, space) for family in dataset.families for space in family.spaces
    ]
    styles = charts.group_styles([space for _, space in found])
    return tuple(
        SpaceSection(
            family, space, charts.embedding_map(space, styles, f"{id_}-space{place}"), _legend(space, styles)
        )
        for place, (family, space) in enumerate(found)
    )


def _legend(
    space: EmbeddingSpace, styles: dict[str, tuple[str, str, str]]
) -> tuple[tuple[str, str, str], ...]:
    present = [group for group in styles if group in set(space.groups)]
    own = [
        (styles[group][2], styles[group][0], group)
        for group in present
        if styles[group] != charts.OTHER_STYLE
    ]
    if len(own) < len(present):
        own.append((charts.OTHER_STYLE[2], charts.OTHER_STYLE[0], "others"))
    return tuple(own)
