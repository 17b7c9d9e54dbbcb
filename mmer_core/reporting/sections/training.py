"""How the models were trained."""

from collections.abc import Mapping
from typing import Any

from mmer_core.reporting.sections.base import Section
from mmer_core.reporting.tables import history_table
from mmer_core.reporting.view import DatasetView


class Training(Section):
    """Losses and metrics by epoch."""

    name = "training"
    summary = "Training"
    order = 20
    template = """\
{{ figure(chart, "Every logged loss and metric by epoch. The ring marks the epoch whose weights were kept, chosen on val.") }}
<details><summary>Figures by epoch</summary>{% for history in histories %}{{ table(history, wide=true) }}{% endfor %}</details>
"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any] | None:
        from mmer_core.reporting.charts import training_curves

        trained = [family for family in dataset.families if family.history]
        if not trained:
            return None
        return {
            "chart": training_curves(trained, f"{id_}-training"),
            "histories": [history_table(family) for family in trained],
        }
