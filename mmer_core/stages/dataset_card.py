"""Prepared arrays -> the dataset card."""

import json
from dataclasses import asdict
from typing import Literal

from mmer_core.config import DatasetCardConfig
from mmer_core.datasets.leakage import find_leaks, leaks_by_kind, write_leaks
from mmer_core.datasets.prepared import QUARANTINE_FILE, Prepared
from mmer_core.datasets.sample import Quarantined
from mmer_core.datasets.statistics import describe_split
from mmer_core.escaping.tables import read_for_people
from mmer_core.record import Record
from mmer_core.reporting.absence import without_images
from mmer_core.reporting.contact_sheet import contact_sheet, pick_samples
from mmer_core.reporting.page import write_page
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.store import ArtifactKey, Workspace

CARD_PAGE = "card.html"
STATISTICS_FILE = "statistics.json"
LEAKAGE_FILE = "leakage.csv"
SHEET_FILE = "samples.jpg"


class DatasetCardSummary(Record):
    """Samples and texts by split, samples left out by reason, and leaks by kind."""

    version: Literal[1] = 1
    name: str
    counts: dict[str, int]
    texts: dict[str, int]
    quarantined: dict[str, int]
    leaks: dict[str, int]


@stage("dataset-card", version=6)
def dataset_card(
    context: Context, workspace: Workspace, config: DatasetCardConfig, prepared: ArtifactKey
) -> DatasetCardSummary:
    """The dataset card.

    Files: ``card.html``; ``statistics.json``, the figures of every split; ``leakage.csv``, what occurs in two
    splits; ``samples.jpg``, a contact sheet.
    """
    from mmer_core.reporting.dataset_card import CardView, render_card  # draws with matplotlib

    dataset = Prepared.open(context.parts(prepared))
    leaks = find_leaks(dataset, workers=context.runtime.workers, progress=context.progress)
    statistics = {name: describe_split(dataset.split(name)) for name in dataset.card.splits}
    shown = pick_samples(dataset, config.samples)
    view = CardView(dataset.card, statistics, leaks, _quarantined(dataset), shown, without_images(dataset))
    write_page(render_card(view), workspace.out / CARD_PAGE)
    write_leaks(leaks, workspace.out / LEAKAGE_FILE)
    fields = {name: asdict(one) for name, one in statistics.items()}
    (workspace.out / STATISTICS_FILE).write_text(json.dumps(fields, indent=2) + "\n")
    if any(sample.picture is not None for sample in shown):
        contact_sheet(shown).save(workspace.out / SHEET_FILE, quality=85)
    return DatasetCardSummary(
        name=dataset.card.name,
        counts=dataset.card.counts,
        texts=dataset.card.texts,
        quarantined=dataset.card.quarantined,
        leaks=leaks_by_kind(leaks),
    )


def _quarantined(dataset: Prepared) -> list[Quarantined]:
    table = read_for_people(dataset.files.path(QUARANTINE_FILE))
    return [Quarantined(*row) for row in table.itertuples(index=False)]
