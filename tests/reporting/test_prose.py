"""The answer claims what paired comparisons show, and nothing else."""

from dataclasses import replace

import pytest
from support import report_factory as make

from mmer_core.evaluation.averaging import average
from mmer_core.record import Interval
from mmer_core.reporting import prose
from mmer_core.reporting.estimates import Estimate, number, p_value, significant
from mmer_core.reporting.tables import spread_table
from mmer_core.reporting.view import DatasetView, ModelFacts


def prose_of(*datasets: DatasetView) -> str:
    """The answer with plain spaces, as a reader sees it."""
    return prose.answer(make.report(*datasets)).replace("\u00a0", " ")


def thrice(dataset: DatasetView, **fields: object) -> DatasetView:
    """The dataset as if every model were trained three times."""
    families = [replace(family, trainings=3, **fields) for family in dataset.families]  # type: ignore[arg-type]
    return replace(dataset, families=families)


def warned(*datasets: DatasetView, synthetic: bool = True) -> str:
    return " ".join(prose.warnings(make.report(*datasets, synthetic=synthetic))).replace("\u00a0", " ")


def emotion(
    separate: float, joint: float, strength: float = 1.0, error: float = 2.0, **options: bool
) -> DatasetView:
    families = [
        make.family("separate", make.emotion_evaluation(separate), **options),
        make.family("joint", make.emotion_evaluation(joint), strength, **options),
    ]
    dataset = make.emotion_dataset(families, gallery=0)
    skill = make.comparison("skill", joint, separate, error)
    return replace(dataset, comparisons=[skill, *dataset.comparisons[1:]])


def test_names_the_better_model_where_the_paired_test_does():
    text = prose_of(emotion(31.0, 42.0))
    assert "the joint model reads emotion better than the separate one, by 11.0 points of mAP." in text


def test_names_the_baseline_when_it_is_the_better_one():
    text = prose_of(emotion(42.0, 31.0))
    assert "the separate model reads emotion better than the joint one, by 11.0 points of mAP." in text


def test_overlapping_intervals_decide_nothing():
    # The intervals of both figures overlap, but what matters is the interval of their difference.
    assert "the joint model reads emotion better" in prose_of(emotion(31.0, 34.0, error=1.0))
    text = prose_of(emotion(31.0, 35.0, error=3.0))
    assert "it is undecided which model reads emotion better." in text
    assert "model reads emotion better than" not in text


def test_models_within_the_margin_are_said_to_be():
    text = prose_of(emotion(31.0, 31.5, error=1.0))
    assert "both models read emotion alike: no more than 5 points of mAP apart." in text


def test_without_a_comparison_nothing_is_claimed():
    text = prose_of(replace(emotion(31.0, 42.0), comparisons=()))
    assert "the models were not compared with each other on the same samples" in text
    assert "better" not in text


def test_one_family_is_compared_with_chance_only():
    dataset = make.emotion_dataset([make.family("joint", make.emotion_evaluation(42.0))], gallery=0)
    text = prose_of(dataset)
    assert "the joint model reaches 42.0 % mAP, where chance gives 17.0 %." in text
    assert "both" not in text


def test_leakage_is_stated_before_any_figure():
    clean = emotion(31.0, 42.0)
    leaky = replace(clean, leaks={"identical": 2, "group": 1})
    assert "two splits" not in warned(clean)
    assert "two splits (2 identical, 1 group)" in warned(leaky)


def test_retrieval_is_judged_by_mean_recall():
    text = prose_of(make.retrieval_dataset())
    assert "both models match images to text alike: no more than 5 points of mean recall apart" in text


def test_attack_stands_beside_the_control_at_the_largest_k():
    text = prose_of(emotion(31.0, 42.0, 1.6))
    assert (
        "Changing 5 pixels changes the dominant emotion in 37 % (separate) and 59 % (joint) of the images, more often than "
        "as many random pixels do; under attack the separate model stays right more often."
    ) in text


def test_the_answer_is_short():
    text = prose_of(emotion(31.0, 42.0), make.retrieval_dataset())
    assert text.count(". ") + 1 <= 5
    assert text.count("%") <= 2 * 2


def test_an_attack_no_better_than_its_control_is_said_to_be_so():
    family = make.family("joint", make.emotion_evaluation(42.0))
    alike, better = (
        replace(
            make.emotion_dataset([family], gallery=0),
            comparisons=[make.comparison("control joint de K=5", attack, 9.0)],
        )
        for attack in (10.0, 30.0)
    )
    said = "which is not shown to be more often than as many random pixels do."
    assert said in prose_of(alike)
    assert said not in prose_of(better)


def test_equal_attacks_name_no_sturdier_model():
    dataset = emotion(31.0, 42.0)
    even = replace(dataset, comparisons=make.comparisons(31.0, 42.0, robust=(50.0, 49.0)))
    text = prose_of(even)
    assert "under attack both stay right alike, no more than 5 points apart." in text


@pytest.mark.parametrize(
    ("joint", "said"),
    [
        (40.0, "under attack the separate model reads emotion better."),
        (50.5, "under attack both read emotion alike, no more than 5 points apart."),
        (46.5, "which model reads emotion better under attack is undecided."),
    ],
)
def test_what_attacks_leave_is_judged_by_the_metric_of_the_task(joint, said):
    dataset = emotion(31.0, 42.0)
    robust = make.comparison("robust map K=5", joint, 50.0)
    assert said in prose_of(replace(dataset, comparisons=[*dataset.comparisons, robust]))


@pytest.mark.parametrize(
    ("split", "fitted_on", "said"),
    [
        (
            "val",
            "val",
            "measured on val, which also chose its epoch and fitted its thresholds and calibration:",
        ),
        ("val", None, "measured on val, which also chose its epoch:"),
        ("test", "val", None),
    ],
)
def test_figures_of_the_split_that_chose_are_warned_about(split, fitted_on, said):
    figures = {"error": 0.1, "brier": 0.2}
    calibration = {"before": figures, "after": figures, "fitted_on": fitted_on}
    evaluation = make.emotion_evaluation(42.0) | {"split": split, "calibration": calibration}
    text = warned(make.emotion_dataset([make.family("joint", evaluation)], gallery=0))
    assert said in text if said else "measured on val" not in text


def test_models_that_predict_as_the_linear_probe_are_named():
    joint = ModelFacts("joint", (), "one space", "", 1, 7, True, "", 4, 1.0, 42.0)
    separate = replace(joint, family="separate")
    dataset = emotion(42.0, 42.0)
    for models, said in (
        ([separate, joint], "the separate and joint models predict labels as the linear probe does"),
        ([separate, replace(joint, linear=False)], "the separate model predicts labels as the linear probe"),
    ):
        assert said in warned(replace(dataset, models=models))
    assert "linear probe" not in warned(replace(dataset, models=[replace(joint, linear=False)]))


def test_control_alone_is_not_sold_as_an_attack():
    family = make.family("joint", make.emotion_evaluation(42.0))
    control = [one for one in family.curves if one.attack == "random"]
    text = prose_of(make.emotion_dataset([replace(family, curves=control)], gallery=0))
    assert "Changing 5 pixels at random changes the dominant emotion in 9 % (joint) of the images." in text
    assert "as many random pixels" not in text


def test_no_attack_means_no_claim():
    text = prose_of(emotion(31.0, 42.0, attacks=False))
    assert text.endswith(
        "None of these models was attacked, so nothing can be said here about how little it takes to fool them."
    )


@pytest.mark.parametrize(("score", "expected"), [(18.0, True), (18.98, True), (19.1, False)])
def test_a_model_not_clearly_above_chance_is_warned_about(score, expected):
    text = warned(emotion(score, 42.0))
    assert ("the separate model is not clearly above chance" in text) is expected
    assert "the joint model is not clearly above chance" not in text
    assert ("robustness figures mean little" in text) is expected


def test_vad_that_does_not_beat_the_constant_is_named():
    evaluation = make.emotion_evaluation(42.0)
    evaluation["metrics"]["vad_mae"] = Interval(1.0, 0.98, 1.02)
    text = warned(make.emotion_dataset([make.family("joint", evaluation)], gallery=0))
    assert "the joint model is off by 1.000 points (0.980–1.020), which is not clearly better" in text
    assert "valence" not in warned(emotion(31.0, 42.0)).lower()


def test_synthetic_data_is_said_aloud_and_real_data_is_not_called_synthetic():
    assert "Synthetic data (emotic): mmer drew these photos itself" in warned(emotion(31.0, 42.0))
    assert "On emotic (synthetic)" in prose_of(emotion(31.0, 42.0))
    real = make.emotion_dataset(synthetic=False)
    assert warned(thrice(real), synthetic=False) == ""
    assert "synthetic" not in prose_of(real)


def test_estimate_reads_numbers_and_refuses_what_is_not_finite():
    assert Estimate.of(3) == Estimate(3.0, 3.0, 3.0)
    assert Estimate.of(Interval(3.0, float("nan"), None)) == Estimate(3.0, 3.0, 3.0)
    assert Estimate.of(None) is None
    assert Estimate.of(Interval(float("nan"), 0.0, 1.0)) is None


def test_numbers_are_printed_for_people():
    assert number(1234.56) == "1,234.6"
    assert number(-0.5, 2) == "−0.50"
    assert number(None) == number(float("nan")) == "–"
    assert [*map(p_value, (None, 0.0, 0.00099, 0.001, 0.5))] == ["–", "< 0.001", "< 0.001", "0.001", "0.500"]
    assert [significant(value) for value in (17.0, 0.43211, -2.718281, None)] == [
        "17",
        "0.4321",
        "−2.718",
        "–",
    ]


def test_the_question_is_about_what_was_measured():
    one = make.emotion_dataset([make.family("joint", make.emotion_evaluation(42.0))])
    quiet = emotion(31.0, 42.0, attacks=False)
    said = [
        prose.question(make.report(*each)) for each in ((one,), (quiet,), (quiet, make.retrieval_dataset()))
    ]
    assert said == [
        "How well does the joint model read emotion, and how little does it take to fool it?",
        "How well do the separate (baseline) and the joint model read emotion?",
        "How well do the separate (baseline) and the joint model read emotion and match images to text, and how little "
        "does it take to fool them?",
    ]


def test_one_training_is_warned_about_and_several_are_shown_with_both_deviations():
    dataset = emotion(31.0, 42.0)
    assert "trained once" in warned(dataset)
    alone = [make.family("joint", make.emotion_evaluation(value)).evaluation for value in (40.0, 42.0, 44.0)]
    averaged = average(alone)
    assert averaged.record.metrics["map"].value == 42.0
    several = thrice(dataset, evaluation=averaged.record, spread=averaged.metrics)
    assert "trained once" not in warned(several)
    (row,) = (one for one in spread_table(several).rows if "average precision" in one.head.lower())
    interval = alone[0].metrics["map"]
    mean, trainings, images = (float(cell.text) for cell in row.cells[:3])
    assert mean == 42.0
    assert images == pytest.approx((interval.high - interval.low) / (2 * 1.96), abs=0.01)
    assert trainings == 2.0
    assert not spread_table(dataset).rows
