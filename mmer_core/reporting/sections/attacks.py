"""How many images attacks fool, together, where, and with how many queries."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmer_core.reporting import attack_tables
from mmer_core.reporting.sections.base import Section, filled
from mmer_core.reporting.view import DatasetView, FamilyView


class Attacks(Section):
    """Success against changed pixels and queries, transfer, and what is fragile."""

    name = "attacks"
    summary = "How little it takes to fool them"
    order = 60
    template = """\
{% if parts %}
<p>An image counts as fooled when {{ fooled }}. Success is of the images on which that was not so before, against the model’s own answer, true or not; robust accuracy is of all images, right before and not fooled. The control changes as many pixels at random, with as many queries.{% if unattacked %} {{ unattacked }}{% endif %}</p>
{% for part in parts %}{% if part.attacked %}<p>Attacked: {{ part.attacked }}.</p>
{% endif %}{% for one in part.worst %}{{ table(one) }}{% endfor %}
{{ figure(part.by_pixels, "Share of images fooled against the number of changed pixels; bands and bars are the intervals.") }}
{{ table(part.attacks, wide=true) }}
{% for one in part.margins %}<p>How much is left? A margin is what the scores still lack to fool the model, 0 where it is fooled; of an image counts the smallest that any attack reached. Scores of two models differ in scale, so margins are divided by how much those of the clean images differ.</p>
{{ table(one) }}{% endfor %}
{% for one in part.strength %}{{ table(one) }}{% endfor %}
{% endfor %}{% if transfers %}<p>Do the models fail together? Each attacked image that fooled one model is shown to the other, which is fooled by the same criterion; images that it got wrong before are left out.</p>
{{ table(transfers) }}{% endif %}
{% if fragile %}<p>What is fragile? The area is what pixels at random places would score.</p>
{% for one in fragile %}{{ table(one) }}{% endfor %}{% endif %}
{% for part in parts %}{% if part.by_queries %}{{ figure(part.by_queries, "Share of images fooled within a number of queries to the model; thicker lines change more pixels.") }}
<details><summary>Figures by queries</summary>{{ table(part.queries, wide=true) }}</details>{% endif %}{% endfor %}
{% else %}
<p>None of the models shown here was attacked.</p>
{% endif %}
"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any]:
        families = dataset.families
        # What was attacked through different pixels is not shown side by side.
        streams = dict.fromkeys(family.attacked for family in families if family.curves)
        fragile = (
            attack_tables.fragile_categories_table(families, dataset.text.category),
            attack_tables.fragile_regions_table(families),
        )
        return {
            "fooled": dataset.fooled_when,
            "unattacked": dataset.unattacked,
            "parts": [
                _part([family for family in families if family.attacked == attacked], f"{id_}{number or ''}")
                for number, attacked in enumerate(streams)
            ],
            "transfers": attack_tables.transfer_table(dataset.transfers) if dataset.transfers else None,
            "fragile": filled(*fragile),
        }


def _part(families: Sequence[FamilyView], id_: str) -> Mapping[str, Any]:
    """Of models that were attacked through the same pixels."""
    from mmer_core.reporting import charts

    attacked = [family for family in families if family.curves]
    queried = [family for family in families if family.by_queries]
    return {
        "attacked": families[0].attacked,
        "by_pixels": charts.success_by_pixels(attacked, f"{id_}-pixels") if attacked else None,
        "attacks": attack_tables.attack_table(attacked) if attacked else None,
        "worst": filled(attack_tables.worst_case_table(attacked)),
        "margins": filled(attack_tables.margin_table(attacked)),
        "strength": filled(attack_tables.strength_table(attacked), attack_tables.seeds_table(attacked)),
        "by_queries": charts.success_by_queries(queried, f"{id_}-queries") if queried else None,
        "queries": attack_tables.query_table(queried) if queried else None,
    }
