"""What modalities add, where they agree, what embedding spaces look like, and which words matter."""

from collections.abc import Mapping
from typing import Any

from mmer_core.evaluation.embeddings import MOST_COMPARED
from mmer_core.reporting import analysis_tables as tables
from mmer_core.reporting.metric_guide import AGREEMENT, CONTRIBUTION
from mmer_core.reporting.sections.base import Section
from mmer_core.reporting.table import Table
from mmer_core.reporting.view import MOST_LINES, DatasetView

Fields = Mapping[str, Any] | None
_SAMPLED = f"Of more than {MOST_COMPARED:,} texts, so many drawn ones ask, with their samples, among all."


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
{% if captions.rows %}
<h4>What image and caption add</h4>
<p>A photo asks for its other captions by its image, by its first caption, or by the mean of both: the mean of recall at 1, 5 and 10, in %. “None” is chance.</p>
{{ table(captions, wide=true) }}
{% endif %}
{% if matching.rows %}
<h4>Images and texts</h4>
<p>By the cosine of a sample’s text with the mean of its images, in the shared space. Samples may have the same text: the gallery holds it once, and it finds any of them. {{ sampled }}</p>
{{ table(matching, wide=true) }}
{% endif %}
{% if similarity %}
<h4>Similarity of modalities</h4>
{{ figure(similarity.chart, similarity.caption, "tall") }}
{% endif %}
{% if maps or spaces %}<h4>Embedding spaces</h4>{% endif %}
{% if maps %}
<div class="maps">
{% for one in maps.maps %}
<figure><div class="canvas">{{ one.chart }}</div><figcaption><b><span class="dot {{ one.family }}"></span>{{ one.family }}: {{ one.name }}</b><span class="key-list">{% for sign, colour, name in one.legend %}<span><i style="color:{{ colour }}" aria-hidden="true">{{ sign }}</i> {{ name }}</span>{% endfor %}</span></figcaption></figure>
{% endfor %}
</div>
<p class="meta">t-SNE keeps neighbours together; distances between clusters and sizes of clusters mean nothing.{% if maps.lines %} Lines join the modalities of a sample, {{ maps.lines }} of them at most, evenly spaced in the split. A long line is not a large distance: the table below has the cosines.{% endif %}</p>
{{ figure(maps.variance, "Explained variance: the faster a line reaches the dotted 95 %, the fewer dimensions its space uses.") }}
{% endif %}
{% if spaces %}
{{ table(spaces.spaces, wide=true) }}
{{ readings(spaces.space_readings) }}
{% if spaces.pairs.rows %}
{{ table(spaces.pairs, wide=true) }}
{{ readings(spaces.pair_readings) }}
{% endif %}
{% if spaces.dimensions.rows %}
<h4>Dimensions</h4>
{{ table(spaces.dimensions, wide=true) }}
<p class="meta">Dimensions are numbered from 0. Diversity is how evenly all of them share the variance: 100 % if all have the same, near 0 if one has everything. A single dimension means little: a space can be rotated without changing any cosine, distance or rank, and then other dimensions come first; “rotated” is the diversity after such a rotation at random. What does not change is the number of effective dimensions above.</p>
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
            "captions": tables.caption_table(dataset.families),
            "matching": tables.matching_table(dataset.families),
            "similarity": _similarity(dataset, id_),
            "maps": _maps(dataset, id_),
            "spaces": _spaces(dataset),
            "words": _words(dataset, id_),
        }
        there = (one.rows if isinstance(one, Table) else one for one in found.values())
        return found | {"word": dataset.text.category, "sampled": _SAMPLED} if any(there) else None


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


def _similarity(dataset: DatasetView, id_: str) -> Fields:
    from mmer_core.reporting.analysis_charts import similarity_maps

    families = [family for family in dataset.families if family.similarities]
    if not families:
        return None
    one = families[0].similarities[0]
    return {
        "chart": similarity_maps(families, f"{id_}-similarity"),
        "caption": f"Cosine of each of {len(one.values)} samples, of {one.total:,}, in one modality (rows) with each in the other "
        f"(columns), {one.order}. Pairs are on the diagonal: the more it stands out, the better the model separates them. Blue is above 0, "
        "orange below.",
    }


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
    lines = MOST_LINES if any(space.pairs for _, space in found) else 0
    return {"maps": maps, "lines": lines, "variance": explained_variance(dataset.families, f"{id_}-variance")}


def _spaces(dataset: DatasetView) -> Fields:
    spaces = tables.space_table(dataset.families)
    if not spaces.rows:
        return None
    return {
        "spaces": spaces,
        "space_readings": tables.shown_spaces(dataset.families),
        "pairs": tables.pair_table(dataset.families),
        "dimensions": tables.dimension_table(dataset.families),
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
