"""Which model is better, question by question."""

from collections.abc import Mapping
from typing import Any

from mmer_core.reporting.comparison_table import category_differences, comparison_table
from mmer_core.reporting.sections.base import Section, filled
from mmer_core.reporting.view import DatasetView


class Comparison(Section):
    """Paired differences with their intervals and what follows."""

    name = "comparison"
    summary = "Which model is better?"
    order = 5
    template = """\
<p>Both models saw the same {{ unit }}, so what counts is the interval of the difference, not whether two intervals overlap. Robust figures are of all attacked images, of each the version, clean or attacked, that is worst for the model; robust accuracy counts those that are right and that no attack fools. “Right” means that {{ right }}. p is of no difference, after Holm’s correction where questions are asked together.</p>
{% for one in tables %}{{ table(one) }}{% endfor %}
{% for one in categories %}<details><summary>{{ word|capitalize }} by {{ word }}</summary>{{ table(one) }}</details>{% endfor %}
"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any] | None:
        tables = filled(comparison_table(dataset.comparisons, dataset.unit))
        word = dataset.text.category
        categories = filled(category_differences(dataset.comparisons, word))
        if not (tables or categories):
            return None
        return {
            "unit": dataset.unit,
            "tables": tables,
            "categories": categories,
            "word": word,
            "right": dataset.text.right,
        }
