"""One dataset's analyses on the page: tables, charts and how to read them, where there are figures."""

from dataclasses import dataclass

from markupsafe import Markup

from mmer_core.reporting import analysis_charts as charts
from mmer_core.reporting import analysis_tables as tables
from mmer_core.reporting.metric_guide import AGREEMENT, CONTRIBUTION, MetricGuide
from mmer_core.reporting.table import Table
from mmer_core.reporting.view import DatasetView

MetricGuides = tuple[MetricGuide, ...]


@dataclass(frozen=True)
class ContributionSection:
    """What each modality adds, and which emotions it reads best."""

    chart: Markup
    table: Table
    counts: Table | None
    leaders: Table
    readings: MetricGuides


@dataclass(frozen=True)
class AgreementSection:
    """How far modalities agree."""

    table: Table
    by_category: Table
    readings: MetricGuides


@dataclass(frozen=True)
class SpacesSection:
    """What each space measures, and how two modalities lie to each other."""

    spaces: Table
    space_readings: MetricGuides
    pairs: Table | None
    pair_readings: MetricGuides


@dataclass(frozen=True)
class WordsSection:
    """Similarity by word."""

    chart: Markup
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class AnalysisSection:
    """All of them; None where a model has none."""

    contribution: ContributionSection | None
    agreement: AgreementSection | None
    spaces: SpacesSection | None
    words: WordsSection | None


def analysis_section(dataset: DatasetView, id_: str) -> AnalysisSection:
    """The analyses of a dataset's models.

    Args:
        id_: Prefix of the ids of its charts, unique in the page.
    """
    return AnalysisSection(
        _contribution(dataset, id_), _agreement(dataset), _spaces(dataset), _words(dataset, id_)
    )


def _contribution(dataset: DatasetView, id_: str) -> ContributionSection | None:
    families = [family for family in dataset.families if family.analyses.contribution]
    if not families:
        return None
    leaders = tables.leaders_table(families, dataset.text.category)
    return ContributionSection(
        charts.contribution_bars(families, f"{id_}-contribution"),
        tables.contribution_table(families),
        tables.leaders_count(families, dataset.text.category) if leaders.rows else None,
        leaders,
        CONTRIBUTION,
    )


def _agreement(dataset: DatasetView) -> AgreementSection | None:
    table = tables.agreement_table(dataset.families)
    if not table.rows:
        return None
    by_category = tables.agreement_by_category(dataset.families, dataset.text.category)
    return AgreementSection(table, by_category, AGREEMENT)


def _spaces(dataset: DatasetView) -> SpacesSection | None:
    spaces = tables.space_table(dataset.families)
    if not spaces.rows:
        return None
    pairs = tables.pair_table(dataset.families)
    return SpacesSection(
        spaces,
        tables.shown_spaces(dataset.families),
        pairs if pairs.rows else None,
        tables.shown_pairs(dataset.families),
    )


def _words(dataset: DatasetView, id_: str) -> WordsSection | None:
    families = [family for family in dataset.families if family.analyses.words]
    if not families:
        return None
    return WordsSection(
        charts.word_differences(families, f"{id_}-words"), tuple(map(tables.word_table, families))
    )
