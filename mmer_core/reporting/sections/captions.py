"""Captions that decoders wrote, beside people's."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from mmer_core.evaluation.caption_metrics import METRICS
from mmer_core.reporting.labels import metric
from mmer_core.reporting.sections.base import Section
from mmer_core.reporting.table import Row, Table, cell
from mmer_core.reporting.view import CaptionWriter, DatasetView, FamilyView


class Captions(Section):
    """Losses by epoch, metrics with intervals, and examples."""

    name = "captions"
    summary = "Written captions"
    order = 45
    tasks = ("retrieval",)
    template = """\
<p>{% for one in writers %}The {{ one.family }} model has a decoder ({{ one.decoder }}), which writes a caption from the photo’s embedding, {% if one.beam == 1 %}always the most probable next word{% else %}by beam search with {{ one.beam }} captions at a time{% endif %}. {% endfor %}Words are compared in small letters and without punctuation; a photo’s caption is compared with all of people’s.</p>
{{ figure(chart, "Cross-entropy of the next word, in nats, by epoch: training dashed (with dropout), validation solid. The ring marks the epoch whose weights were kept, chosen by mean recall on val.") }}
{{ table(metrics) }}
<div class="examples">
{% for item in examples %}
<article class="example">
<div class="query"><img src="{{ item.image|thumbnail }}" alt="Photo {{ loop.index }}"></div>
{% for family, caption in item.written %}<p class="tagline"><span class="dot {{ family }}"></span>{{ family }} model</p>
<blockquote>{{ caption }}</blockquote>
{% endfor %}<p class="tagline">People’s captions</p>
<ol class="texts">
{% for one in item.references %}<li><span class="text">{{ one }}</span></li>
{% endfor %}</ol>
</article>
{% endfor %}
</div>
"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any] | None:
        if dataset.captions is None:
            return None
        writers = dataset.captions.writers
        own = {one.family for one in writers}
        families = [family for family in dataset.families if family.family in own]
        return {
            "writers": writers,
            "chart": _curves(families, writers, f"{id_}-captions"),
            "metrics": _table(families),
            "examples": dataset.captions.examples,
        }


def _table(families: Sequence[FamilyView]) -> Table:
    rows = [
        Row(
            metric(name).label.removesuffix(" of written captions"),
            tuple(cell(family.evaluation.metrics.get(name), metric(name).digits) for family in families),
            metric(name).hint,
        )
        for name in METRICS
    ]
    heads = (f"{family.family} model" for family in families)
    return Table("Written captions against people’s", ("Metric", *heads), tuple(rows))


def _curves(families: Sequence[FamilyView], writers: Sequence[CaptionWriter], name: str) -> Markup:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from mmer_core.reporting.charts import WIDE
    from mmer_core.reporting.svg import FAMILY_COLOUR, PAPER, STYLE, to_svg

    weights = {one.family: one.weight for one in writers}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDE, 2.6))
        axis = figure.subplots()
        for family in families:
            colour = FAMILY_COLOUR[family.family]
            # The history has the loss as it is weighted in the sum that is minimised.
            for key, scale, style, part in (
                ("train_captions", 1 / weights[family.family], "--", "training"),
                ("val_caption_loss", 1.0, "-", "validation"),
            ):
                steps = [
                    (one["epoch"], scale * one[key]) for one in family.history if one.get(key) is not None
                ]
                if not steps:
                    continue
                axis.plot(*zip(*steps, strict=True), style, color=colour, label=f"{family.family}, {part}")
                kept = [step for step in steps if step[0] == family.best_epoch]
                if kept and part == "validation":
                    axis.plot(*zip(*kept, strict=True), "o", mfc=PAPER, mec=colour, mew=1.4)
        axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axis.set_xlabel("epoch")
        axis.set_ylabel("nats per word")
        axis.legend(loc="upper right", ncols=2)
        return to_svg(
            figure, name, "Loss of the decoders by epoch; the table of figures by epoch holds them."
        )
