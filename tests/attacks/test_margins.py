"""Margins of models whose scores differ in scale, against the formula written out."""

import numpy as np
import pandas as pd
import pytest

from mmer_core.attacks.margins import margins_left


def outcomes(scale: float = 1.0) -> pd.DataFrame:
    """30 images, two attacks and the control at two K; the second attack goes further at the larger K."""
    rng = np.random.default_rng(0)
    clean = rng.normal(2.0, 1.0, 30)
    return pd.DataFrame(
        {
            "sample": f"s{place:02}",
            "attack": attack,
            "pixels": pixels,
            "clean_margin": scale * clean[place],
            "final_margin": scale * (clean[place] - pixels * taken * (1 + place % 3)),
        }
        for pixels in (1, 4)
        for attack, taken in (("de", 0.1), ("sparse-rs", 0.2), ("random", 9.0))
        for place in range(30)
    )


PHOTOS = {f"s{place:02}": place // 2 for place in range(30)}


def test_it_is_the_formula():
    table = outcomes()
    points = margins_left(table, PHOTOS)
    assert [(one.pixels, one.n) for one in points] == [(1, 30), (4, 30)]
    for one in points:
        at = table[table["pixels"] == one.pixels].set_index(["attack", "sample"])
        clean, after = [], []
        for sample in PHOTOS:
            clean.append(at.loc[("de", sample), "clean_margin"])
            after.append(min(at.loc[(attack, sample), "final_margin"] for attack in ("de", "sparse-rs")))
        spread = np.std(clean)
        assert one.clean.value == pytest.approx(np.mean(np.maximum(clean, 0)) / spread)
        assert one.left.value == pytest.approx(np.mean(np.maximum(after, 0)) / spread)
        assert one.left.low < one.left.value < one.left.high
    assert points[1].left.value < points[0].left.value < points[0].clean.value


@pytest.mark.parametrize("scale", [1e-3, 40.0])
def test_the_scale_of_the_scores_does_not_matter(scale):
    for one, other in zip(
        margins_left(outcomes(), PHOTOS), margins_left(outcomes(scale), PHOTOS), strict=True
    ):
        for field in ("value", "low", "high"):
            assert getattr(one.left, field) == pytest.approx(getattr(other.left, field))
            assert getattr(one.clean, field) == pytest.approx(getattr(other.clean, field))


def test_equal_margins_have_no_scale():
    table = outcomes().assign(clean_margin=1.0)
    assert all(one.clean.value is None and one.left.value is None for one in margins_left(table, PHOTOS))


def test_the_control_counts_where_nothing_else_ran():
    table = outcomes()
    control = table[table["attack"] == "random"]
    assert [one.left.value for one in margins_left(control, PHOTOS)] == [0.0, 0.0]
    # One margin a sample, or the spread of few photos would seem that of many.
    assert margins_left(control, PHOTOS)[0].n == 30
