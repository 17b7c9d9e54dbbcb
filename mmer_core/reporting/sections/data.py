"""What was kept of the dataset, and what was left out."""

from collections.abc import Mapping
from typing import Any

from mmer_core.reporting.sections.base import Section, filled
from mmer_core.reporting.tables import counts_table, provenance_table, quarantine_table
from mmer_core.reporting.view import DatasetView


class Data(Section):
    """Counts and protocol."""

    name = "data"
    summary = "Data"
    order = 10
    template = """\
<p>Protocol “{{ card.protocol }}”: {{ "{:,}".format(card.inputs) }} inputs found, {{ "{:,}".format(card.counts.values()|sum) }} kept and {{ "{:,}".format(card.quarantined.values()|sum) }} left out.{% if absent %} {{ absent }}{% endif %}</p>
<div class="tables">{% for one in tables %}{{ table(one) }}{% endfor %}</div>
"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any]:
        tables = filled(counts_table(dataset), quarantine_table(dataset), provenance_table(dataset))
        return {"card": dataset.card, "absent": dataset.absent, "tables": tables}
