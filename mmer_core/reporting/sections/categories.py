"""Figures of every category and modality."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from mmer_core.reporting.sections.base import Section, filled
from mmer_core.reporting.tables import category_table, confusion_table, stream_table, vad_table
from mmer_core.reporting.view import DatasetView


class Categories(Section):
    """Category by category, and by modality."""

    name = "categories"
    summary = "Category by category"
    order = 30
    template = """\
<div class="tables">{% for one in tables %}{{ table(one) }}{% endfor %}</div>
{% if confusion %}{{ figure(confusion, "Which class is predicted for the samples of each class: a row adds up to 100 %.", "tall") }}{% endif %}
{% if streams %}{{ figure(streams, "Average precision of each " ~ word ~ " when it is read from one modality at a time. The tick marks the chance level.", "tall") }}{% endif %}
{% for one in categories %}<details{% if not streams %} open{% endif %}><summary>All figures for all {{ word }}s</summary>{{ table(one, wide=true) }}
<p class="meta">Accuracy counts the samples for which a {{ word }} is rightly not predicted, too: never predicting it scores 100 less the prevalence.</p>
{% if not confusion %}<p class="meta">Thresholds maximise F1 on val.{% if emotic %} In EMOTIC, people of the training split carry fewer labels than those of val and test, who had several annotators.{% endif %}</p>{% endif %}</details>{% endfor %}
"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any] | None:
        from mmer_core.reporting.charts import confusion_matrices

        families, word = dataset.families, dataset.text.category
        confused = [family for family in families if family.evaluation.confusion]
        tables = filled(vad_table(families), stream_table(families), *map(confusion_table, confused))
        categories, streams = filled(category_table(families, word)), _streams(dataset, id_)
        if not (tables or categories or streams):
            return None
        return {
            "tables": tables,
            "categories": categories,
            "streams": streams,
            "confusion": confusion_matrices(confused, f"{id_}-confusion") if confused else None,
            "word": word,
            "emotic": dataset.text.published_on == "EMOTIC",
            "heading": f"{word.capitalize()} by {word}",
        }


def _streams(dataset: DatasetView, id_: str) -> Markup | None:
    from mmer_core.reporting.charts import modality_bars

    if dataset.streams is None or not dataset.streams.ap:
        return None
    prevalence = {
        category.name: category.prevalence
        for family in dataset.families
        for category in family.evaluation.per_category
    }
    return modality_bars(dataset.streams, prevalence, dataset.text.category, f"{id_}-streams")
