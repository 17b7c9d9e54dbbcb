"""The verdict at the top of the report."""

from dataclasses import replace

from support.report_factory import comparison, emotion_dataset, report

from mmer_core.reporting.report import to_html
from mmer_core.reporting.verdict import decisive, verdict_rows, verdict_table

TOPICS = (
    "skill", "category Anger", "recall i2t 1", "robust accuracy K=1", "robust accuracy K=10", "shared success K=10",
    "control joint de K=1", "control joint de K=10", "control joint sparse-rs K=10",
)  # fmt: skip


def test_it_asks_of_skill_and_of_the_largest_number_of_pixels():
    asked = decisive([comparison(topic, 30.0, 20.0) for topic in TOPICS])
    assert [one.topic for one in asked] == [
        "skill",
        "robust accuracy K=10",
        "control joint de K=10",
        "control joint sparse-rs K=10",
    ]


def test_the_task_s_own_metric_or_recall_takes_the_place_of_accuracy_under_attack():
    def shown(*names: str) -> list[str]:
        asked = decisive([comparison(f"robust {name} K={k}", 30.0, 20.0) for name in names for k in (1, 10)])
        return [one.topic for one in asked]

    assert shown("map", "accuracy") == ["robust map K=10"]
    assert shown("macro_f1", "accuracy") == ["robust macro_f1 K=10", "robust accuracy K=10"]
    assert shown("i2t_r1", "i2t_r5", "accuracy") == ["robust i2t_r1 K=10", "robust i2t_r5 K=10"]


def test_each_question_has_its_answer_difference_size_and_rule():
    dataset = emotion_dataset()
    table = verdict_table(dataset.name, dataset.comparisons)
    one = dataset.compared("skill")
    assert one is not None
    row = table.rows[0]
    assert row.head == one.question
    assert one.rule in row.hint
    answer, difference, n, seeds = row.cells
    assert answer.text.startswith(f"{one.winner} better" if one.winner else "undecided")
    assert f"{one.difference.value:.1f}" in difference.text
    assert (n.text, seeds.text) == ("400", "1")
    (first, *_) = verdict_rows(dataset.comparisons)
    assert first[:2] == (one.question, answer.text)
    assert first[2] == f"{difference.text} ({difference.note})"
    assert first[3:] == ("400", "1", f"{one.quantity}: {one.rule}")


def test_it_comes_before_all_figures():
    html = to_html(report(emotion_dataset()))
    assert (
        html.index("emotic: the verdict")
        < html.index('class="answer"')
        < html.index("Mean average precision")
    )


def test_a_dataset_is_called_synthetic_once():
    dataset = replace(emotion_dataset(synthetic=True), name="EMOTIC (synthetic)")
    assert "(synthetic) (synthetic)" not in to_html(report(dataset))
    assert "On EMOTIC (synthetic)" in to_html(report(dataset))
