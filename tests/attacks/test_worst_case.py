"""The worst case over attacks against counting by hand."""

import itertools

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmer_core.attacks.comparing import Attacked
from mmer_core.attacks.worst_case import worst_cases

SEARCHES, CONTROL = ("de", "sparse-rs", "sparse-pgd"), "random"
SAMPLES = tuple("abcdef")
CLUSTERS = {sample: place for place, sample in enumerate(SAMPLES)}


def attacked(right: dict[str, bool], fooled: dict[str, set[str]]) -> Attacked:
    rows = [
        {
            "sample": sample,
            "attack": attack,
            "pixels": 5,
            "status": "fooled" if sample in hit else "robust",
            "seed": 0,
            "clean_reading": (),
            "final_reading": (),
        }
        for attack, hit in fooled.items()
        for sample in SAMPLES
    ]
    table = pd.DataFrame(rows)
    return Attacked("joint", table, table["sample"].map(right).to_numpy())


subsets = st.sets(st.sampled_from(SAMPLES))


@given(st.lists(st.booleans(), min_size=6, max_size=6), *itertools.repeat(subsets, 4))
def test_an_image_is_robust_if_no_search_fools_it(right, one, two, three, control):
    known = dict(zip(SAMPLES, right, strict=True))
    fooled = dict(zip((*SEARCHES, CONTROL), (one, two, three, control), strict=True))
    (found,) = worst_cases([attacked(known, fooled)], CLUSTERS)
    survivors = [s for s in SAMPLES if known[s] and not any(s in fooled[attack] for attack in SEARCHES)]
    assert found.robust.value == pytest.approx(100 * len(survivors) / 6)
    assert found.clean.value == pytest.approx(100 * sum(right) / 6)
    assert {step.attack for step in found.steps} == {*SEARCHES}
    left = [step.value for step in found.steps]
    assert left == sorted(left, reverse=True)
    assert left[-1] == pytest.approx(found.robust.value)
    # The first is the strongest alone, by brute force.
    alone = [sum(known[s] and s not in fooled[attack] for s in SAMPLES) for attack in SEARCHES]
    assert left[0] == pytest.approx(100 * min(alone) / 6)


def test_controls_count_where_nothing_else_ran():
    (found,) = worst_cases([attacked(dict.fromkeys(SAMPLES, True), {CONTROL: {"a", "b"}})], CLUSTERS)
    assert found.robust.value == pytest.approx(100 * 4 / 6)
    assert found.robust.low < found.robust.value < found.robust.high
