"""Attacked images with their changed pixels enlarged."""

from collections.abc import Mapping
from typing import Any

from mmer_core.reporting.sections.base import Section
from mmer_core.reporting.view import DatasetView


class Gallery(Section):
    """Before and after."""

    name = "gallery"
    summary = "Attacked images"
    order = 70
    template = """\
{% for files, gallery in galleries %}<p>{% if files %}As their files hold them, before the model crops and resizes them.{% else %}As the model sees them, at its input resolution.{% endif %} The third picture shows where pixels were changed, three times as wide and in their new colours; below, some are enlarged before and after.</p>
<div class="gallery">
{% for item, picture in gallery %}
<article class="attacked">
<p class="tagline"><span class="dot {{ item.family }}"></span>{{ item.family }} model · {{ item.attack|attack_name }}</p>
<p class="said">The photo as it is: <b>{{ item.before }}</b>. With {{ picture.marks|length|pixels }} of {{ "{:,}".format(picture.width * picture.height) }} changed: <b>{{ item.after }}</b>.</p>
<div class="pair">
<figure><svg viewBox="0 0 {{ picture.width }} {{ picture.height }}" role="img" aria-label="{{ item.sample }} before the attack: {{ item.before }}"><image href="{{ picture.clean }}" width="{{ picture.width }}" height="{{ picture.height }}" preserveAspectRatio="none"/></svg>
<figcaption><small>clean</small> {{ item.before }}</figcaption></figure>
<figure><svg viewBox="0 0 {{ picture.width }} {{ picture.height }}" role="img" aria-label="{{ item.sample }} after the attack: {{ item.after }}"><image href="{{ picture.attacked }}" width="{{ picture.width }}" height="{{ picture.height }}" preserveAspectRatio="none"/>
{% for mark in picture.marks %}<rect x="{{ mark.x }}" y="{{ mark.y }}" width="1" height="1" fill="{{ mark.colour }}"/>
{% endfor %}</svg>
<figcaption><small>attacked</small> {{ item.after }}</figcaption></figure>
<figure><svg viewBox="0 0 {{ picture.width }} {{ picture.height }}" role="img" aria-label="Where: {{ picture.marks|length|pixels }}"><image class="faded" href="{{ picture.clean }}" width="{{ picture.width }}" height="{{ picture.height }}" preserveAspectRatio="none"/>
{% for mark in picture.marks %}<rect x="{{ mark.x - 1 }}" y="{{ mark.y - 1 }}" width="3" height="3" fill="{{ mark.colour }}"/>{% if picture.ringed %}<circle class="halo" cx="{{ mark.x + 0.5 }}" cy="{{ mark.y + 0.5 }}" r="{{ picture.radius }}"/><circle class="ring" cx="{{ mark.x + 0.5 }}" cy="{{ mark.y + 0.5 }}" r="{{ picture.radius }}"/>{% endif %}
{% endfor %}</svg>
<figcaption><small>where</small> {{ picture.marks|length|pixels }}</figcaption></figure>
</div>
<ul class="insets">
{% for inset in picture.insets %}
<li><img src="{{ inset.before }}" alt="Enlarged, {{ inset.place }}, before"><img src="{{ inset.after }}" alt="Enlarged, {{ inset.place }}, after"><small>{{ inset.place }}<br>{{ inset.colours }}</small></li>
{% endfor %}
</ul>
<p class="foot">{{ item.queries }} {{ 'query' if item.queries == 1 else 'queries' }} · sample {{ item.sample }}{% if picture.marks|length > picture.insets|length %} · {{ picture.insets|length }} of {{ picture.marks|length }} changed pixels enlarged{% endif %}</p>
</article>
{% endfor %}
</div>
{% endfor %}"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any] | None:
        from mmer_core.reporting.pictures import marked

        if not dataset.gallery:
            return None
        return {
            "galleries": [
                (files, [(item, marked(item)) for item in shown])
                for files in (False, True)
                if (shown := [item for item in dataset.gallery if item.file == files])
            ]
        }
