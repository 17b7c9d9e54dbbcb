"""What attacks leave of mAP, macro-F1 and recall, against all combinations of versions and slow references."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, f1_score

from mmer_core.attacks.comparing import Attacked, compare_attacked
from mmer_core.attacks.worst_case import worst_cases
from mmer_core.evaluation.comparing import Asked, compare_emotions
from mmer_core.evaluation.robust_figures import robust_macro_f1, robust_map, robust_recalls
from mmer_core.statistics.comparison import Rule


def slow_map(scores: np.ndarray, labels: np.ndarray) -> float:
    shown = labels.any(axis=0)
    return 100 * float(
        np.mean([average_precision_score(labels[:, c], scores[:, c]) for c in np.flatnonzero(shown)])
    )


def slow_f1(scores: np.ndarray, labels: np.ndarray) -> float:
    truth, said = labels.argmax(axis=1), scores.argmax(axis=1)
    return 100 * f1_score(truth, said, labels=np.union1d(truth, said), average="macro", zero_division=0)


def slow_descent(measure, versions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The rule as the documentation states it."""
    chosen = versions[0].copy()
    while True:
        before = chosen.copy()
        for image in range(len(chosen)):
            figures = []
            for version in versions[:, image]:
                changed = chosen.copy()
                changed[image] = version
                figures.append(measure(changed, labels))
            if min(figures) < measure(chosen, labels) - 1e-10:
                chosen[image] = versions[int(np.argmin(figures)), image]
        if np.array_equal(before, chosen):
            return chosen


def drawn(seed: int, versions: int, images: int, single: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores of versions ``(V, N, 3)``, with ties, and labels ``(N, 3)``."""
    rng = np.random.default_rng(seed)
    labels = (
        np.eye(3)[rng.integers(0, 3, images)] if single else (rng.random((images, 3)) < 0.4).astype(float)
    )
    return rng.integers(0, 6, (versions, images, 3)) + 2.0 * labels, labels


def with_flags(scores: np.ndarray) -> np.ndarray:
    return np.concatenate([np.ones((*scores.shape[:-1], 1)), scores], axis=-1)


CASES = [
    (robust_map, slow_map, False, "mAP"),
    (robust_macro_f1, slow_f1, True, "macro-F1"),
]


@pytest.mark.parametrize(("build", "slow", "single", "label"), CASES)
def test_the_worst_case_follows_its_rule_and_is_no_better_than_all_combinations_allow(
    build, slow, single, label
):
    met = 0
    for seed in range(6):
        scores, labels = drawn(seed, versions=3, images=4, single=single)
        if not labels.any():
            continue
        figure = build(labels, "Which")
        found = figure.worst(with_flags(scores))
        reference = slow_descent(slow, scores, labels)
        np.testing.assert_array_equal(found[:, 1:], reference)
        assert figure.value(found) == pytest.approx(slow(reference, labels))
        lowest = min(
            slow(scores[list(chosen), range(4)], labels) for chosen in itertools.product(range(3), repeat=4)
        )
        clean = slow(scores[0], labels)
        assert lowest - 1e-9 <= figure.value(found) <= clean + 1e-9
        met += figure.value(found) == pytest.approx(lowest)
    assert met >= 3, "most of these are the lowest there is"
    assert figure.label == label


def test_a_larger_study_follows_the_rule_too():
    scores, labels = drawn(5, versions=3, images=20, single=False)
    found = robust_map(labels, "Which").worst(with_flags(scores))
    np.testing.assert_array_equal(found[:, 1:], slow_descent(slow_map, scores, labels))


def test_recall_counts_the_version_that_finds_least():
    rng = np.random.default_rng(3)
    versions = np.concatenate([np.ones((4, 30, 1)), rng.integers(0, 14, (4, 30, 4)).astype(float)], axis=-1)
    versions[:, 4, 3:] = np.nan  # an image with one caption
    figures = robust_recalls(image_to_text=True, text_to_image=True)
    assert [one.name for one in figures] == ["i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10"]
    for figure, k in zip(figures, (1, 5, 10) * 2, strict=True):
        hits = queries = 0
        for image in range(30):
            ranks = versions[:, image, 1:2] if figure.name.startswith("i2t") else versions[:, image, 2:]
            hits += min(sum(rank < k for rank in one if not np.isnan(rank)) for one in ranks)
            queries += int((~np.isnan(ranks[0])).sum())
        assert figure.value(figure.worst(versions)) == pytest.approx(100 * hits / queries), figure.name


SAMPLES = [f"s{place:03}" for place in range(24)]
CLUSTERS = {sample: place // 2 for place, sample in enumerate(SAMPLES)}


def model(name: str, seed: int, harm: float, labels: np.ndarray, attacks=("a", "b", "random")) -> Attacked:
    """A model of known skill; each search lowers its scores on some images."""
    rng = np.random.default_rng(seed)
    clean = labels * 1.5 + rng.normal(size=labels.shape)
    rows = []
    for attack in attacks:
        hit = rng.random(len(SAMPLES)) < 0.7
        final = clean - harm * hit[:, None] * labels
        rows += [
            {"sample": sample, "attack": attack, "pixels": 5, "seed": 0, "status": "fooled" if hit[n] else "resisted",
             "clean_reading": tuple(clean[n]), "final_reading": tuple(final[n])}
            for n, sample in enumerate(SAMPLES)
        ]  # fmt: skip
    table = pd.DataFrame(rows).sample(frac=1, random_state=seed, ignore_index=True)
    place = {sample: n for n, sample in enumerate(SAMPLES)}

    def figures(samples):
        return [robust_map(labels[[place[one] for one in samples]], "Which model reads emotion better")]

    return Attacked(name, table, np.ones(len(table), bool), figures)


@pytest.fixture
def labels() -> np.ndarray:
    return (np.random.default_rng(0).random((24, 4)) < 0.4).astype(float)


def test_two_models_are_compared_by_what_their_common_searches_leave(labels):
    weak = [model("joint", seed, 3.0, labels) for seed in (1, 2)]
    sturdy = [model("separate", seed, 0.2, labels, ("a", "c", "random")) for seed in (3, 4)]
    found, _ = compare_attacked(weak, sturdy, Rule(resamples=200), CLUSTERS)
    assert (found.topic, found.winner, found.trainings) == ("robust map K=5", "separate", 2)
    assert found.question == "Which model reads emotion better under a?"

    def left(one: Attacked) -> np.ndarray:
        """The scores that count, by the slow rule, under the one search that ran on both."""
        table = one.outcomes[one.outcomes["attack"] == "a"].sort_values("sample")
        versions = np.stack([np.array(table[name].tolist()) for name in ("clean_reading", "final_reading")])
        return slow_descent(slow_map, versions, labels)

    scores = [[left(one) for one in each] for each in (weak, sturdy)]
    photos = [CLUSTERS[sample] for sample in SAMPLES]
    expected, *_ = compare_emotions(
        ("joint", "separate"), scores, labels, list("abcd"), Rule(resamples=200), Asked("", ""), photos
    )
    assert found.first_value == pytest.approx(np.mean([slow_map(one, labels) for one in scores[0]]))
    for end in ("value", "low", "high"):
        assert getattr(found.difference, end) == pytest.approx(getattr(expected.difference, end))


def test_the_worst_case_of_several_trainings_is_their_mean_with_what_each_attack_added(labels):
    trainings = [model("joint", seed, 2.0, labels) for seed in (1, 2, 3)]
    (found,) = worst_cases(trainings, CLUSTERS)
    alone = [worst_cases([one], CLUSTERS)[0] for one in trainings]
    assert found.clean.value == pytest.approx(np.mean([one.clean.value for one in alone]))
    assert found.robust.value == pytest.approx(np.mean([one.robust.value for one in alone]))
    assert found.robust.low < found.robust.value < found.robust.high < found.clean.value
    assert [step.value for step in found.steps] == sorted((step.value for step in found.steps), reverse=True)
    assert found.steps[-1].value == pytest.approx(found.robust.value)
    assert {step.attack for step in found.steps} == {"a", "b"}
    clean = np.array(
        trainings[0].outcomes.drop_duplicates("sample").sort_values("sample")["clean_reading"].tolist()
    )
    assert alone[0].clean.value == pytest.approx(slow_map(clean, labels))


def test_images_without_any_label_have_no_map_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = robust_map(np.zeros((4, 2)), "Which")
        versions = with_flags(np.random.default_rng(0).random((2, 4, 2)))
        np.testing.assert_array_equal(figure.worst(versions), versions[0])
        assert np.isnan(figure.value(versions[0]))
