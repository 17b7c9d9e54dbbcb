"""Questions to the models, and their best results."""

from collections.abc import Mapping
from typing import Any

from mmer_core.reporting.sections.base import Section
from mmer_core.reporting.view import DatasetView


class Examples(Section):
    """Retrieval in both directions."""

    name = "examples"
    summary = "Retrieval examples"
    order = 40
    template = """\
<div class="examples">
{% for item in examples %}
<article class="example">
<p class="tagline"><span class="dot {{ item.family }}"></span>{{ item.family }} model · {% if item.query_text is not none %}text to image{% else %}image to text{% endif %}</p>
<div class="query">
{% if item.query_text is not none %}<blockquote>{{ item.query_text }}</blockquote>
{% elif item.query_image is not none %}<img src="{{ item.query_image|thumbnail }}" alt="The query image">{% endif %}
</div>
<ol class="{{ 'images' if item.query_text is not none else 'texts' }}">
{% for result, score, correct in item.results %}
<li{% if correct %} class="correct"{% endif %}>
{% if result is string %}<span class="text">{{ result }}</span>{% else %}<img src="{{ result|thumbnail }}" alt="Result {{ loop.index }}, {{ 'the right image' if correct else 'another image' }}">{% endif %}
<span class="score">{% if correct %}<b>✓ right</b> {% endif %}{{ '%.3f'|format(score) }}</span></li>
{% endfor %}
</ol>
</article>
{% endfor %}
</div>
"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any] | None:
        return {"examples": dataset.examples} if dataset.examples else None
