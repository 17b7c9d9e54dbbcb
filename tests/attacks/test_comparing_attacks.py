"""Two models under the same attacks, and attacks beside the control, counted by hand."""

import numpy as np
import pandas as pd
import pytest

from mmer_core.attacks.comparing import Attacked, compare_attacked, compare_with_control
from mmer_core.attacks.outcomes import Outcome, outcomes_table
from mmer_core.statistics.comparison import Rule


def attacked(
    name: str, fooled: dict[str, set[int]], wrong: set[int] = frozenset(), already: set[int] = frozenset()
):
    """A model of forty images that each attack fools on some; it is wrong on others."""
    outcomes = []
    for attack, places in fooled.items():
        for i in range(40):
            status = "already" if i in already else "fooled" if i in places else "resisted"
            outcomes.append(Outcome(f"s{i:02}", attack, 5, 100, 0, status, 7, 1.0, 0.0, (), 0, 0))
    table = outcomes_table(outcomes).sample(frac=1, random_state=0)
    return Attacked(name, table, [int(sample[1:]) not in wrong for sample in table["sample"]])


PHOTOS = {f"s{i:02}": i for i in range(40)}


def test_models_are_compared_under_the_union_of_their_common_attacks():
    weak = attacked(
        "joint", {"de": set(range(10)), "pixle": set(range(5, 20)), "random": set(range(40))}, {0, 30}
    )
    strong = attacked("separate", {"de": {1}, "pixle": {2}, "sparse-rs": set(range(40)), "random": {3}}, {31})
    robust, success = compare_attacked([weak], [strong], Rule(), PHOTOS)
    # Sparse-RS ran on one of them only, and random pixels are no attack.
    assert (robust.first_value, robust.second_value) == (100 * 19 / 40, 100 * 37 / 40)
    assert (robust.n, robust.winner) == (40, "separate")
    assert success.n == 37  # without 0, 30 and 31
    assert (success.first_value, success.second_value) == pytest.approx((100 * 19 / 37, 100 * 2 / 37))
    assert (success.decision, success.winner) == ("higher", "separate")


def test_an_attack_is_compared_with_as_many_random_pixels():
    model = attacked("joint", {"de": set(range(20)), "random": {1, 2}}, already={38, 39})
    (found,) = compare_with_control([model], Rule(), PHOTOS)
    assert (found.n, found.first, found.second, found.decision) == (38, "de", "random", "higher")
    assert found.difference.value == pytest.approx(100 * 18 / 38)
    assert compare_with_control([attacked("joint", {"de": {1}})], Rule(), PHOTOS) == []


def test_the_stricter_control_decides():
    fooled = {"de": set(range(20)), "random": {1, 2}, "random-corners": set(range(18))}
    (found,) = compare_with_control([attacked("joint", fooled)], Rule(), PHOTOS)
    assert (found.second, found.second_value, found.winner) == ("random-corners", 45.0, None)


def test_models_without_a_common_attack_are_not_compared():
    one, other = attacked("joint", {"de": {1}}), attacked("separate", {"pixle": {1}})
    assert compare_attacked([one], [other], Rule(), PHOTOS) == []
    assert isinstance(one.at(5, ["pixle"]), pd.DataFrame)


def test_several_trainings_are_averaged_and_a_model_that_draws_nothing_counts_for_all():
    weak = [
        attacked("joint", {"de": set(range(n)), "random": {n}}, {0}, already={39 - n}) for n in (18, 20, 25)
    ]
    fixed = [attacked("zero-shot", {"de": {1}, "random": set()}, {31})]
    robust, success = compare_attacked(weak, fixed, Rule(), PHOTOS)
    assert robust.first_value == pytest.approx(100 * np.mean([22, 21, 16]) / 40)
    assert robust.error >= 100 * np.std([22, 21, 16], ddof=1) / 40 / 3**0.5
    assert (robust.trainings, robust.winner) == (3, "zero-shot")
    assert success.first_value == pytest.approx(100 * np.mean([17, 18, 23]) / 38)
    (control,) = compare_with_control(weak, Rule(), PHOTOS)
    assert (control.n, control.trainings, control.winner) == (40, 3, "de")
    assert control.first_value == pytest.approx(100 * np.mean([18, 19, 24]) / 39)
