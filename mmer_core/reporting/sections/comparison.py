"""Which model is better, question by question."""

from collections.abc import Mapping
from typing import Any

from mmer_core.reporting.comparison_table import comparison_table, emotion_differences
from mmer_core.reporting.sections.base import Section, filled
from mmer_core.reporting.view import DatasetView


class Comparison(Section):
    """Paired differences with their intervals and what follows."""

    name = "comparison"
    summary = "Which model is better?"
    order = 5
    template = """\
<p>Both models saw the same images, so what counts is the interval of the difference, not whether two intervals overlap. Robust accuracy is of all images: right by the true labels, and fooled by no attack. “Right” means that the emotion read first is one of the person’s labels or, for captions, that one of the photo’s own was found. p is of no difference, after Holm’s correction where questions are asked together.</p>
{% for one in tables %}{{ table(one) }}{% endfor %}
{% for one in emotions %}<details><summary>Emotion by emotion</summary>{{ table(one) }}</details>{% endfor %}
"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any] | None:
        tables = filled(comparison_table(dataset.comparisons))
        emotions = filled(emotion_differences(dataset.comparisons))
        return {"tables": tables, "emotions": emotions} if tables or emotions else None
