"""The page is one sound, self-contained, deterministic file that holds every figure it was given."""

import re
from collections import Counter
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest
from support import report_factory as make

from mmer_core.errors import MmerError
from mmer_core.record import Interval
from mmer_core.reporting.analysis_tables import leaders_count
from mmer_core.reporting.attack_tables import margin_table, worst_case_table
from mmer_core.reporting.comparison_table import comparison_table, decision
from mmer_core.reporting.estimates import MISSING, Estimate, number
from mmer_core.reporting.metric_guide import AGREEMENT, CONTRIBUTION, PAIR, SPACE
from mmer_core.reporting.prose import strongest
from mmer_core.reporting.report import render, to_html
from mmer_core.reporting.sections.models import model_table
from mmer_core.reporting.view import ModelFacts
from mmer_core.taxonomy import PUBLISHED_EMOTIC_MAP

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Balance of tags, ids, references and visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: Counter[str] = Counter()
        self.tags: Counter[str] = Counter()
        self.references: list[str] = []
        self.unlabelled: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        found = dict(attrs)
        self.tags[tag] += 1
        if "id" in found:
            self.ids[found["id"]] += 1
        self.references += [
            found[key] for key in ("src", "href", "xlink:href", "srcset", "action") if key in found
        ]
        named = found.get("alt") or found.get("aria-label") or found.get("aria-hidden")
        if tag in ("img", "svg") and not named:
            self.unlabelled.append(str(attrs))
        if tag == "th" and "scope" not in found:
            self.unlabelled.append("th")

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag, f"</{tag}> closes something else at {self.getpos()}"

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data


def both():
    return make.report(make.emotion_dataset(), make.retrieval_dataset())


def one_family():
    return make.report(make.emotion_dataset([make.family("joint", make.emotion_evaluation(42.0))]))


def bare():
    """No attack, gallery, history, space, stream or example."""
    family = replace(
        make.family("separate", make.emotion_evaluation(31.0), attacks=False),
        evaluation=make.record(make.emotion_evaluation(31.0) | {"analyses": {}}),
        history=[],
        spaces=[],
    )
    return make.report(
        replace(make.emotion_dataset([family], synthetic=False, gallery=0), streams=None), synthetic=False
    )


VIEWS = {
    "both": both,
    "emotion": lambda: make.report(make.emotion_dataset()),
    "retrieval": lambda: make.report(make.retrieval_dataset()),
    "one family": one_family,
    "bare": bare,
    "no dataset": make.report,
}


@cache
def rendered(name: str) -> str:
    return to_html(VIEWS[name]())


@pytest.fixture(params=list(VIEWS))
def html(request):
    return rendered(request.param)


@pytest.fixture
def full():
    return rendered("both")


def test_page_is_well_formed_with_unique_ids_and_named_pictures(html):
    page = Page(html)
    assert page.open == []
    assert [name for name, count in page.ids.items() if count > 1] == []
    assert page.unlabelled == []
    assert page.tags["h1"] == 1


def test_page_loads_nothing(html):
    page = Page(html)
    assert [one for one in page.references if not one.startswith(("data:image/", "#"))] == []
    assert [one for one in re.findall(r"url\(([^)]*)\)", html) if not one.startswith("#")] == []
    assert "@import" not in html
    assert set(re.findall(r"https?://[^\"'\s<]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_inner_references_point_somewhere(full):
    page = Page(full)
    inner = [one[1:] for one in page.references if one.startswith("#")]
    inner += [one[1:] for one in re.findall(r"url\(([^)]*)\)", full)]
    assert inner
    assert set(inner) <= set(page.ids)


def test_every_figure_is_in_the_text(full):
    text = Page(full).text
    view = both()
    for dataset in view.datasets:
        for family in dataset.families:
            for name, raw in family.evaluation.metrics.items():
                digits = 3 if name == "vad_mae" else 1
                for end in (raw.low, raw.value, raw.high):
                    assert f"{end:.{digits}f}" in text, name
            for record in family.evaluation.per_category:
                for end in (record.ap.low, record.ap.value, record.ap.high, record.prevalence):
                    assert f"{end:.1f}".replace("-", "−") in text, record.name
            for record in family.curves:
                assert f"{record.success.high:.1f}" in text
            for record in family.fragility.emotions if family.fragility else ():
                assert f"{record.success.low:.1f}" in text, record.group
            for record in family.fragility.regions if family.fragility else ():
                assert f"{record.changed:.1f}" in text, record.region
                assert f"{record.area:.1f}" in text
            for record in family.history:
                assert f"{record['train_loss']:.4g}" in text
            for space in family.analyses.spaces:
                assert f"{space.effective_dimensionality:.0f}" in text
                assert f"{space.uniformity:.2f}".replace("-", "−") in text
            for pair in family.analyses.pairs:
                assert f"{pair.cka:.2f}" in text
                assert f"{100 * (pair.own_neighbours or 0.8123):.1f}" in text
            for stream in family.analyses.contribution.streams if family.analyses.contribution else ():
                for part in (stream.alone, stream.left_out, stream.shapley):
                    assert number(part.high) in text
            for record in family.analyses.words:
                assert record.word in text
                assert f"{record.difference.value:.3f}".replace("-", "−") in text
        for transfer in dataset.transfers:
            assert f"{transfer.source} to {transfer.target}" in text
            for record in transfer.curves:
                assert f"{record.success.value:.1f}" in text
        for item in dataset.gallery:
            assert f"{item.queries} queries · sample {item.sample}" in text
        assert f"{dataset.card.inputs:,} inputs found" in text
    for _, key in view.lineage:
        assert key in text
    for name, score in PUBLISHED_EMOTIC_MAP.items():
        assert name in text
        assert f"{score:.2f}" in text
    assert '"seed": 7' in text
    assert "2.14.0" in text


def test_every_shown_analysis_says_how_to_read_it(full):
    text = Page(full).text
    for one in (*SPACE, *PAIR, *CONTRIBUTION, *AGREEMENT):
        assert one.sentence in text, one.key
    assert "A closer look" not in Page(rendered("bare")).text
    # A retrieval model has neighbours' labels nowhere, so nothing is said about reading them.
    assert "neighbours’ mAP" not in Page(rendered("retrieval")).text


def test_models_are_compared_in_tables_and_calibration_is_shown(full):
    text = Page(full).text
    for shown in ("joint better", "no more than 5 points apart", "0.1234", "0.0321", "0.2345", "0.1987"):
        assert shown in text
    # The emotions stand apart from the few questions that decide.
    assert [row.head for row in comparison_table(make.comparisons(31.0, 42.0)).rows][:2] == [
        "skill",
        "robust accuracy K=1",
    ]


def test_every_model_stands_beside_what_it_was_compared_with():
    def facts(family, embedding, fusion, map_):
        return ModelFacts(
            family,
            ("context", "text"),
            embedding,
            fusion,
            12345,
            7,
            family == "joint",
            "0.002, 0.01, 0.4",
            8,
            8.9,
            make.estimate(map_),
        )

    models = [
        facts("joint", "one space", "mean of embeddings", 42.0),
        facts("separate", "a space a stream", "mean of predictions", 31.0),
        facts("joint-late", "one space", "mean of predictions", 41.5),
    ]
    late = make.comparison("ablation joint-late", 42.0, 41.5).model_copy(update={"second": "joint-late"})
    dataset = make.emotion_dataset()
    dataset = replace(dataset, models=models, comparisons=[*dataset.comparisons, late])
    rows = {row.head: [one.text for one in row.cells] for row in model_table(dataset).rows}
    assert rows["joint"][3:7] == ["42.0", *[MISSING] * 3]
    assert rows["separate"][4:7] == ["joint − separate", "11.0", "joint better"]
    assert rows["joint-late"] == [
        "one space", "mean of predictions", "12,345", "41.5",
        "joint − joint-late", "0.5", "no more than 5 points apart", "0.002, 0.01, 0.4", "8", "7", "8.9 s",
    ]  # fmt: skip
    assert "ablation joint-late" not in [row.head for row in comparison_table(dataset.comparisons).rows]
    assert "12,345" in to_html(make.report(dataset))


def test_margins_stand_on_one_scale_by_pixels_and_family():
    dataset = make.emotion_dataset()
    rows = {row.head: [one.text for one in row.cells] for row in margin_table(dataset.families).rows}
    assert rows["5 pixels"] == ["1.87", "0.20", "1.87", "0.32"]
    assert "standard deviations of the model’s own clean margins" in Page(rendered("emotion")).text
    assert margin_table(bare().datasets[0].families).rows == ()


def test_the_worst_case_tells_what_each_attack_added():
    dataset = make.emotion_dataset()
    rows = {row.head: [one.text for one in row.cells] for row in worst_case_table(dataset.families).rows}
    assert rows["joint, 5 pixels: mAP"][0] == "100"
    assert rows["joint, 5 pixels: mAP"][-1] == "Sparse-RS 75.0, then Differential evolution 70.0"
    assert "The worst case over attacks" in Page(rendered("emotion")).text
    assert worst_case_table(bare().datasets[0].families).rows == ()


def test_every_decision_has_its_words():
    assert decision(make.comparison("skill", 42.0, 31.0)) == "joint better"
    assert decision(make.comparison("skill", 31.0, 42.0)) == "separate better"
    assert decision(make.comparison("fooled", 31.0, 42.0, better="lower")) == "joint better"
    assert decision(make.comparison("skill", 32.0, 31.0, 0.3)) == "joint better, by less than 5 points"
    assert decision(make.comparison("skill", 32.0, 31.0)) == "no more than 5 points apart"
    assert decision(make.comparison("skill", 35.0, 31.0, 3.0)) == "undecided; about 1,766 would decide"
    assert decision(make.comparison("skill", 35.0, 31.0, float("nan"))) == "undecided: too few to tell"
    assert decision(make.comparison("control joint de K=1", 42.0, 31.0)) == "yes"
    assert decision(make.comparison("control joint de K=1", 31.0, 42.0)) == "no, less often"


def test_leaders_are_counted_by_hand(full):
    """Of 26 leads -5, -4, ..., 20, each ± 3, alternating between two modalities, those from 4 on are clear."""
    (family, *_) = both().datasets[0].families
    rows = {row.head: [cell.text for cell in row.cells] for row in leaders_count([family], "emotion").rows}
    assert rows == {"context": ["13", "8"], "body": ["13", "9"]}


def test_intervals_with_a_minus_are_readable():
    assert Estimate(-1.0, -2.5, -0.1).interval() == "−2.5 to −0.1"
    assert Estimate(1.0, 0.5, 2.0).interval() == "0.5–2.0"


def test_captions_and_names_are_escaped(full):
    assert "<script>alert(1)</script>" not in full
    assert "A dog & a <script>alert(1)</script>" in Page(full).text
    hostile = replace(bare().datasets[0], name='<img src="x">')
    html = to_html(make.report(hostile))
    assert '<img src="x">' not in html
    assert Page(html).open == []


def test_same_view_same_bytes():
    assert to_html(one_family()) == rendered("one family")


def test_synthetic_badge_only_where_data_is_synthetic():
    assert "Synthetic data" in Page(rendered("emotion")).text
    assert "ynthetic" not in Page(rendered("bare")).text


def test_render_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "report.html"
    render(bare(), path)
    render(make.report(), path)
    assert path.read_text("utf-8") == rendered("no dataset")
    assert list(path.parent.iterdir()) == [path]


def test_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MmerError, match=r"the report cannot be written to .*report\.html"):
        render(bare(), tmp_path / "file" / "report.html")


@pytest.mark.long
def test_models_of_one_label_have_a_confusion_matrix_and_no_thresholds():
    dataset = make.emotion_dataset()
    names = [one.name for one in dataset.families[0].evaluation.per_category]
    confusion = tuple(tuple(1000 * row + column for column in range(len(names))) for row in range(len(names)))
    families = []
    for family in dataset.families:
        categories = tuple(
            one.model_copy(update={"threshold": None}) for one in family.evaluation.per_category
        )
        update = {"per_category": categories, "confusion": confusion}
        families.append(replace(family, evaluation=family.evaluation.model_copy(update=update)))
    words = replace(dataset.text, category="label", skill=("tell the labels apart", "tells the labels apart"))
    page = to_html(make.report(replace(dataset, families=families, text=words)))
    assert page.count("samples by class and by prediction") == 2
    assert f"{sum(confusion[3]):,}" in page, "the support of a class"
    assert "Confusion matrices" in page
    assert ">threshold<" not in page
    assert "Thresholds maximise" not in page
    assert "Every label" in page
    assert "do the separate (baseline) and the joint model tell the labels apart," in " ".join(page.split())
    many = to_html(make.report(dataset))
    assert "Confusion matrices" not in many
    assert "F1 at tuned thresholds" in many


def test_methods_name_threats_success_denominators_statistics_and_the_command_that_computes_again(full):
    text = " ".join(Page(full).text.partition("Compute them again")[0].rpartition("Threat model")[2].split())
    for said in (
        "at most K whole pixels", "Differential evolution", "the control, random pixels in random colours",
        "the emotion read first is one of the person’s own", "the dominant emotion changes",
        "one of the photo’s own captions is found", "every true caption leaves the top results",
        "those on which both models are right", "Wilson 1927", "McNemar 1947", "Tango 1998", "Holm 1979", "Schuirmann 1987",
    ):  # fmt: skip
        assert said in text, said
    assert "mmer recompute report/0123abcd" in Page(full).text
    assert "Threat model" not in Page(rendered("bare")).text


def test_a_curve_of_attacks_on_no_image_is_drawn_without_a_name():
    """Where a model was right on none of them, there is no share to name the end of a line at."""
    from mmer_core.reporting.charts import success_by_queries

    family = make.family("joint", make.emotion_evaluation(20.0))
    nothing = [replace(one, success=[None] * len(one.queries)) for one in family.by_queries]
    assert "<svg" in success_by_queries([replace(family, by_queries=nothing)], "x")
    unknown = Interval(None, None, None)
    assert (
        strongest(
            replace(family, curves=[one.model_copy(update={"success": unknown}) for one in family.curves])
        )
        == []
    )
