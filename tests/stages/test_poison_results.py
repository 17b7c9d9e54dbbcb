"""From outcomes to the table: shares, intervals and warnings, each against another way to get it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmer_core.config import PoisonConfig
from mmer_core.stages.poison import judging
from mmer_core.stages.poison.judging import retrieves
from mmer_core.stages.poison.merging import (
    find_warnings,
    mean_detections,
    modality_shifts,
    outcome_table,
    over_seeds,
)


def outcome(
    attack: str, count: int, seed: int, triggered: float, metric: float = 30.0, **more: Any
) -> dict[str, Any]:
    fields = {
        "family": "joint", "attack": attack, "count": count, "seed": seed, "filtered": "",
        "triggered": triggered, "untriggered": 1.0, "targets": 10.0, "chance": 1.5, "no_skill": 0.5,
        "metric": metric, "metric_low": metric - 1, "metric_high": metric + 1, "samples": 200, "aimed": 20,
        "modalities": {"cka image-text": 0.5 + seed},
    } | more  # fmt: skip
    place, aimed = np.arange(200), 20
    judged = {
        "seen": np.where(place < aimed, place < fields["targets"] * aimed / 100, place == aimed),
        "seen_triggered": place < 2 * triggered,
        "aimed": place < aimed,
    }
    return fields | {"judged": pd.DataFrame(judged, index=pd.Index(place.astype(str), name="sample"))}


PHOTOS = {str(place): place for place in range(200)}


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 9))
def test_retrieving_is_having_one_of_the_wanted_among_the_first(seed: int, top: int, at_once: int) -> None:
    rng = np.random.default_rng(seed)
    images, texts = (rng.normal(size=(n, 4)).astype(np.float32) for n in (5, 8))
    wanted = rng.random(8) < 0.4
    wanted[rng.integers(8)] = True
    order = np.argsort(-(images @ texts.T), axis=1)[:, :top]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "block_of_scores", lambda device: (2, at_once))
        assert retrieves(images, texts, wanted, top).tolist() == wanted[order].any(axis=1).tolist()


def test_a_tie_with_another_text_is_no_success() -> None:
    image, texts = np.ones((1, 2), np.float32), np.ones((2, 2), np.float32)
    assert retrieves(image, texts, np.array([True, False]), 1).tolist() == [False]
    assert retrieves(image, texts, np.array([True, False]), 2).tolist() == [True]


@pytest.mark.parametrize("width", [64, 128, 512])
@pytest.mark.parametrize("wanted", [1, 5])
def test_a_copy_of_a_wanted_text_is_as_good(width: int, wanted: int) -> None:
    """In a gallery of several blocks, whose products add up in other orders."""
    rng = np.random.default_rng(width)
    images, texts = (rng.normal(size=(n, width)).astype(np.float32) for n in (200, 5_000))
    good = np.zeros(len(texts), bool)
    good[rng.choice(len(texts) - wanted, wanted, replace=False)] = True
    texts[-wanted:] = texts[good]
    assert not retrieves(images, texts, good, 1).any()


def test_every_model_is_compared_with_the_clean_one_of_its_seed() -> None:
    table = outcome_table([
        outcome("clean", 0, 0, 3.0, 31.0), outcome("clean", 0, 1, 5.0, 33.0),
        outcome("backdoor", 4, 0, 80.0, 30.0), outcome("backdoor", 4, 1, 90.0, 30.0),
        outcome("collision", 4, 0, 7.0, 29.0, targets=60.0),
    ])  # fmt: skip
    found = {(row["attack"], row["seed"]): row for row in table.to_dict("records")}
    assert [found["backdoor", seed]["reference"] for seed in (0, 1)] == [3.0, 5.0]
    assert [found["backdoor", seed]["metric_loss"] for seed in (0, 1)] == [1.0, 3.0]
    assert (found["collision", 0]["success"], found["collision", 0]["reference"]) == (60.0, 10.0)
    means = over_seeds(table, PHOTOS).set_index("attack")
    assert means.loc["backdoor", "success"] == pytest.approx(85)
    assert means.loc["backdoor", "seeds"] == 2
    # A single seed says nothing of trainings, but its 20 targets are a sample.
    collision = stats.binomtest(12, 20).proportion_ci(method="wilson")
    assert means.loc["collision", "success_low"] == pytest.approx(100 * collision.low)
    assert (means.loc["collision", "metric_low"], means.loc["collision", "metric_high"]) == (28.0, 30.0)
    assert pd.isna(means.loc["collision", "metric_loss_low"])
    assert any(
        "trained once" in warning for warning in find_warnings(table, over_seeds(table, PHOTOS), PHOTOS)
    )
    assert means.loc["backdoor", "gain"] == pytest.approx(81)
    assert 0 < means.loc["backdoor", "gain_low"] < 81 < means.loc["backdoor", "gain_high"] <= 100
    shifts = {row["attack"]: row for row in modality_shifts(table)}
    assert shifts["backdoor"]["clean"] == shifts["backdoor"]["poisoned"] == 1.0


def warnings_of(rows: list[dict[str, Any]]) -> list[str]:
    table = outcome_table(rows)
    return find_warnings(table, over_seeds(table, PHOTOS), PHOTOS)


def test_an_experiment_that_works_warns_of_nothing() -> None:
    rows = [outcome(attack, count, seed, share + seed)
            for seed in (0, 1, 2)
            for attack, count, share in (("clean", 0, 1), ("backdoor", 4, 80), ("trigger-only", 4, 2))]  # fmt: skip
    assert warnings_of(rows) == []


def test_the_gate() -> None:
    rows = [outcome(attack, count, seed, share, 0.6)
            for seed in (0, 1, 2)
            for attack, count, share in (("clean", 0, 5), ("backdoor", 4, 5 + seed), ("trigger-only", 4, 9))]  # fmt: skip
    warnings = warnings_of(rows)
    assert len(warnings) == 3
    assert "not clearly above chance" in warnings[0]
    assert "not shown to do better than no poison at all" in warnings[1]
    assert "not shown to do better than the control trigger-only" in warnings[2]


def test_detections_are_averaged_over_seeds_where_they_are_defined() -> None:
    found = pd.DataFrame([
        {"attack": "backdoor", "family": "joint", "detector": "spectral", "precision": precision,
         "recall": recall, "poisons": 8, "false_positive_rate": 0.05, "auc": 0.9}
        for precision, recall in ((None, 0.0), (0.5, 1.0))
    ])  # fmt: skip
    (row,) = mean_detections(found)
    assert (row["precision"], row["recall"], row["auc"]) == pytest.approx((50.0, 50.0, 90.0))
    assert (row["recall_low"], row["recall_high"]) == pytest.approx((0, 100), abs=2)  # of two trainings


def test_the_clean_model_has_no_interval_beside_itself() -> None:
    table = outcome_table([outcome("clean", 0, seed, 1.0, metric=30.0 + seed) for seed in range(3)])
    (row,) = over_seeds(table, PHOTOS).to_dict("records")
    for name in ("gain", "metric_loss"):
        assert row[name] == 0
        assert pd.isna(row[f"{name}_low"])
        assert pd.isna(row[f"{name}_high"])
    assert row["metric_low"] < row["metric"] < row["metric_high"]


def test_numbers_of_poisons_that_are_given_twice_are_named() -> None:
    with pytest.raises(ValueError, match="counts list 5, 9 more than once"):
        PoisonConfig(counts=(9, 5, 5, 7, 9))
