"""The answer claims what the intervals show, and nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import report_factory as make

from mmer_core.record import Interval
from mmer_core.reporting import prose
from mmer_core.reporting.estimates import Estimate, number, significant
from mmer_core.reporting.view import DatasetView


def told(*datasets: DatasetView) -> str:
    """The answer with plain spaces, as a reader sees it."""
    return prose.answer(make.report(*datasets)).replace("\u00a0", " ")


def warned(*datasets: DatasetView, synthetic: bool = True) -> str:
    return " ".join(prose.warnings(make.report(*datasets, synthetic=synthetic))).replace("\u00a0", " ")


def emotion(separate: float, joint: float, strength: float = 1.0, **options: bool) -> DatasetView:
    families = [
        make.family("separate", make.emotion_evaluation(separate), **options),
        make.family("joint", make.emotion_evaluation(joint), strength, **options),
    ]
    return make.emotion_dataset(families, gallery=0)


def test_names_the_better_model_when_the_intervals_do_not_overlap():
    text = told(emotion(31.0, 42.0))
    assert "the joint model reads emotion better than the separate one: 42.0 % mAP (40.0–44.0)" in text
    assert "against 31.0 % mAP (29.0–33.0); the chance level is 17.0 %." in text


def test_names_the_baseline_when_it_is_the_better_one():
    assert "the separate model reads emotion better than the joint one" in told(emotion(42.0, 31.0))


@pytest.mark.parametrize("joint", [31.0, 33.0, 35.0])  # 35 - 2 = 31 + 2: the ends still touch
def test_names_no_winner_when_the_intervals_overlap(joint):
    text = told(emotion(31.0, joint))
    assert "the two models are not distinguishable in how well they read emotion" in text
    assert "better" not in text


def test_one_family_is_compared_with_chance_only():
    dataset = make.emotion_dataset([make.family("joint", make.emotion_evaluation(42.0))], gallery=0)
    text = told(dataset)
    assert "the joint model reaches 42.0 % mAP (40.0–44.0); the chance level is 17.0 %" in text
    assert "two models" not in text


def test_leakage_is_told_before_any_figure():
    clean = emotion(31.0, 42.0)
    leaky = replace(clean, leaks={"identical": 2, "group": 1})
    assert "two splits" not in warned(clean)
    assert "two splits (2 identical, 1 group)" in warned(leaky)


def test_retrieval_is_judged_by_mean_recall():
    text = told(make.retrieval_dataset())
    assert "are not distinguishable in how well they match images to text" in text
    assert "separate 22.5 % mean recall (20.5–24.5) and joint 23.5 % mean recall (21.5–25.5)" in text


def test_attack_stands_beside_the_control_at_the_largest_and_smallest_k():
    text = told(emotion(31.0, 42.0, 1.6))
    assert (
        "Changing 5 pixels changes the dominant emotion in 37.0 % (33.5–40.5) of the images for the separate"
        in text
    )
    assert "and 59.2 % (55.7–62.7) of the images for the joint model" in text
    assert "changing 1 pixel, in 11.0 % and 17.6 %" in text
    assert "where as many random pixels manage 9.0 % and 14.4 %; changing 1 pixel" in text
    assert "The median success with 5 pixels took 156 and 156 queries." in text
    assert "With 5 pixels, the joint model is the easier one to fool." in text


def test_an_attack_no_better_than_its_control_is_said_to_be_so():
    family = make.family("joint", make.emotion_evaluation(42.0))
    weak = [one.model_copy(update={"success": make.estimate(9.0)}) for one in family.curves]
    text = told(make.emotion_dataset([replace(family, curves=weak)], gallery=0))
    assert "random pixels manage 9.0 % (not distinguishable from the attack on the joint model)" in text


def test_equal_attacks_name_no_easier_model():
    assert "are not distinguishable in how easily they are fooled" in told(emotion(31.0, 42.0, 1.05))


def test_control_alone_is_not_sold_as_an_attack():
    family = make.family("joint", make.emotion_evaluation(42.0))
    control = [one for one in family.curves if one.attack == "random"]
    text = told(make.emotion_dataset([replace(family, curves=control)], gallery=0))
    assert "Changing 5 pixels at random changes the dominant emotion in 9.0 %" in text
    assert "as many random pixels" not in text


def test_no_attack_means_no_claim():
    text = told(emotion(31.0, 42.0, attacks=False))
    assert text.endswith(
        "No attack was run, so nothing can be said here about how little it takes to fool them."
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
    text = told(make.emotion_dataset([make.family("joint", evaluation)], gallery=0))
    assert "the joint model is off by 1.000 points (0.980–1.020), which is not clearly better" in text
    assert "valence" not in told(emotion(31.0, 42.0)).lower()


def test_synthetic_data_is_said_aloud_and_real_data_is_not_called_synthetic():
    assert "Synthetic data (emotic): mmer drew these photos itself" in warned(emotion(31.0, 42.0))
    assert "On emotic (synthetic)" in told(emotion(31.0, 42.0))
    real = make.emotion_dataset(synthetic=False)
    assert warned(real, synthetic=False) == ""
    assert "synthetic" not in told(real)


def test_estimate_reads_numbers_and_refuses_what_is_not_finite():
    assert Estimate.of(3) == Estimate(3.0, 3.0, 3.0)
    assert Estimate.of(Interval(3.0, float("nan"), None)) == Estimate(3.0, 3.0, 3.0)
    assert Estimate.of(None) is None
    assert Estimate.of(Interval(float("nan"), 0.0, 1.0)) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4))
def test_overlap_is_the_existence_of_a_common_point(ends):
    (a, b), (c, d) = sorted(ends[:2]), sorted(ends[2:])
    one, other = Estimate(a, a, b), Estimate(c, c, d)
    assert one.overlaps(other) == any(a <= point <= b and c <= point <= d for point in ends)
    assert one.overlaps(other) == other.overlaps(one)


def test_numbers_are_printed_for_people():
    assert number(1234.56) == "1,234.6"
    assert number(-0.5, 2) == "−0.50"
    assert number(None) == number(float("nan")) == "–"
    assert [significant(value) for value in (17.0, 0.43211, -2.718281, None)] == [
        "17",
        "0.4321",
        "−2.718",
        "–",
    ]
