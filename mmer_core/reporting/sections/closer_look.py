"""What modalities add, where they agree, what embedding spaces look like, and which words matter."""

from collections.abc import Mapping
from typing import Any

from mmer_core.reporting import analysis_tables as tables
from mmer_core.reporting.metric_guide import AGREEMENT, CONTRIBUTION
from mmer_core.reporting.sections.base import Section
from mmer_core.reporting.view import DatasetView

Fields = Mapping[str, Any] | None


class CloserLook(Section):
    """The analyses of a dataset's models; each is there where a model has it."""

    name = "closer-look"
    summary = "A closer look"
    order = 50
    template = """\
{% macro readings(list) %}
<dl class="readings">{% for one in list %}<div><dt>{{ one.label }}</dt><dd>{{ one.sentence }}</dd></div>{% endfor %}</dl>
{% endmacro %}
{% if contribution %}
<h4>What each modality adds</h4>
{{ figure(contribution.chart, "From the chance level (the tick) to the whole model: each piece is the Shapley value of a modality, the line the interval of the whole. Leaving out a modality that a model was trained with is an unusual input, so a piece can be small or even negative.") }}
{{ table(contribution.table, wide=true) }}
{{ readings(contribution.readings) }}
{% if contribution.leaders.rows %}
{{ table(contribution.counts) }}
<p class="meta">“Clearly” means that its lead over the second best modality has p ≤ 0.05 after Holm’s correction for every {{ word }}.</p>
<details><summary>Best modality of every {{ word }}</summary>{{ table(contribution.leaders, wide=true) }}</details>
{% endif %}
{% endif %}
{% if agreement %}
<h4>Where modalities agree</h4>
{{ table(agreement.table, wide=true) }}
{{ readings(agreement.readings) }}
<details><summary>Agreement on every {{ word }}</summary>{{ table(agreement.by_category, wide=true) }}</details>
{% endif %}
{% if maps or spaces %}<h4>Embedding spaces</h4>{% endif %}
{% if maps %}
<div class="maps">
{% for one in maps.maps %}
<figure><div class="canvas">{{ one.chart }}</div><figcaption><b><span class="dot {{ one.family }}"></span>{{ one.family }}: {{ one.name }}</b><span class="key-list">{% for sign, colour, name in one.legend %}<span><i style="color:{{ colour }}" aria-hidden="true">{{ sign }}</i> {{ name }}</span>{% endfor %}</span></figcaption></figure>
{% endfor %}
</div>
<p class="meta">t-SNE keeps neighbours together; distances between clusters and sizes of clusters mean nothing.</p>
{{ figure(maps.variance, "Explained variance: the faster a line reaches the dotted 95 %, the fewer dimensions its space uses.") }}
{% endif %}
{% if spaces %}
{{ table(spaces.spaces, wide=true) }}
{{ readings(spaces.space_readings) }}
{% if spaces.pairs.rows %}
{{ table(spaces.pairs, wide=true) }}
{{ readings(spaces.pair_readings) }}
{% endif %}
{% endif %}
{% if words %}
<h4>Similarity by word</h4>
{{ figure(words.chart, "Words whose captions lie nearest to their own photo (above) and farthest from it (below), with the number of captions that hold them. Filled points differ from zero with p ≤ 0.05 after Holm’s correction for all words. Words co-occur in captions, so a word may reflect the words around it.", "tall") }}
{% for data in words.tables %}
<details><summary>{{ data.caption }}, all words</summary>{{ table(data, wide=true) }}</details>
{% endfor %}
{% endif %}
"""

    def fields(self, dataset: DatasetView, id_: str) -> Fields:
        found = {
            "contribution": _contribution(dataset, id_),
            "agreement": _agreement(dataset),
            "maps": _maps(dataset, id_),
            "spaces": _spaces(dataset),
            "words": _words(dataset, id_),
        }
        return found | {"word": dataset.text.category} if any(found.values()) else None


def _contribution(dataset: DatasetView, id_: str) -> Fields:
    from mmer_core.reporting.analysis_charts import contribution_bars

    families = [family for family in dataset.families if family.analyses.contribution]
    if not families:
        return None
    return {
        "chart": contribution_bars(families, f"{id_}-contribution"),
        "table": tables.contribution_table(families),
        "counts": tables.leaders_count(families, dataset.text.category),
        "leaders": tables.leaders_table(families, dataset.text.category),
        "readings": CONTRIBUTION,
    }


def _agreement(dataset: DatasetView) -> Fields:
    table = tables.agreement_table(dataset.families)
    by_category = tables.agreement_by_category(dataset.families, dataset.text.category)
    return {"table": table, "by_category": by_category, "readings": AGREEMENT} if table.rows else None


def _maps(dataset: DatasetView, id_: str) -> Fields:
    """Maps of embedding spaces, each with the legend of its groups: sign, colour, name."""
    from mmer_core.reporting.charts import OTHER_STYLE, embedding_map, explained_variance, group_styles

    found = [(family.family, space) for family in dataset.families for space in family.spaces]
    styles = group_styles([space for _, space in found])
    maps = []
    for place, (family, space) in enumerate(found):
        present = {group: style for group, style in styles.items() if group in set(space.groups)}
        legend = [
            (sign, colour, group)
            for group, (colour, _, sign) in present.items()
            if styles[group] != OTHER_STYLE
        ]
        if len(legend) < len(present):
            legend.append((OTHER_STYLE[2], OTHER_STYLE[0], "others"))
        chart = embedding_map(space, styles, f"{id_}-space{place}")
        maps.append({"family": family, "name": space.name, "chart": chart, "legend": legend})
    if not maps:
        return None
    return {"maps": maps, "variance": explained_variance(dataset.families, f"{id_}-variance")}


def _spaces(dataset: DatasetView) -> Fields:
    spaces = tables.space_table(dataset.families)
    if not spaces.rows:
        return None
    return {
        "spaces": spaces,
        "space_readings": tables.shown_spaces(dataset.families),
        "pairs": tables.pair_table(dataset.families),
        "pair_readings": tables.shown_pairs(dataset.families),
    }


def _words(dataset: DatasetView, id_: str) -> Fields:
    from mmer_core.reporting.analysis_charts import word_differences

    families = [family for family in dataset.families if family.analyses.words]
    if not families:
        return None
    return {
        "chart": word_differences(families, f"{id_}-words"),
        "tables": [tables.word_table(family) for family in families],
    }
