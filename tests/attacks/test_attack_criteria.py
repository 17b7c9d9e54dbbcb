import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmer_core.attacks.criteria import (
    CategoryAppears,
    CategorySuppressed,
    DominantEmotionBecomes,
    DominantEmotionFlip,
    RankDrop,
    RankRise,
)
from mmer_core.errors import AttackError


@given(st.data())
def test_rank_drop_succeeds_iff_the_pessimistic_rank_of_the_best_own_caption_is_top_or_worse(data):
    columns = data.draw(st.integers(3, 12))
    samples = data.draw(st.integers(1, 4))
    own = [
        data.draw(st.lists(st.integers(0, columns - 1), min_size=1, max_size=columns - 2))
        for _ in range(samples)
    ]
    top = data.draw(st.integers(1, columns - max(len(set(columns_)) for columns_ in own)))
    rows = data.draw(st.lists(st.integers(0, samples - 1), min_size=1, max_size=6))
    # Few distinct values, so that ties happen.
    scores = np.array(
        [data.draw(st.lists(st.integers(-3, 3), min_size=columns, max_size=columns)) for _ in rows],
        dtype=np.float32,
    )
    margins = RankDrop(own, top).margin(torch.from_numpy(scores), torch.tensor(rows)).numpy()
    for line, row, margin in zip(scores, rows, margins, strict=True):
        best = max(line[column] for column in own[row])
        others = [line[column] for column in range(columns) if column not in own[row]]
        rank = sum(other >= best for other in others)
        assert (margin <= 0) == (rank >= top)
        assert margin == best - sorted(others, reverse=True)[top - 1]


@given(st.data())
def test_dominant_flip_is_the_lead_over_the_best_other_category(data):
    columns = data.draw(st.integers(2, 6))
    dominant = data.draw(st.lists(st.integers(0, columns - 1), min_size=1, max_size=4))
    rows = data.draw(st.lists(st.integers(0, len(dominant) - 1), min_size=1, max_size=6))
    scores = np.array(
        [data.draw(st.lists(st.integers(-3, 3), min_size=columns, max_size=columns)) for _ in rows],
        dtype=np.float32,
    )
    margins = DominantEmotionFlip(dominant).margin(torch.from_numpy(scores), torch.tensor(rows)).numpy()
    for line, row, margin in zip(scores, rows, margins, strict=True):
        assert margin == line[dominant[row]] - np.delete(line, dominant[row]).max()


def test_composition_takes_the_larger_and_the_smaller_margin():
    scores = torch.tensor([[1.0, 3.0, 0.0], [2.0, 0.0, 1.0]])
    rows = torch.tensor([0, 1])
    flip, drop = DominantEmotionFlip([1, 0]), RankDrop([[0], [1]], top=2)
    assert flip.margin(scores, rows).tolist() == [2.0, 1.0]
    assert drop.margin(scores, rows).tolist() == [1.0, -1.0]
    assert (flip & drop).margin(scores, rows).tolist() == [2.0, 1.0]
    assert (flip | drop).margin(scores, rows).tolist() == [1.0, -1.0]
    assert ((flip | drop) & flip).margin(scores, rows).tolist() == [2.0, 1.0]


def test_criteria_print_their_parameters():
    flip, drop = DominantEmotionFlip([1, 0]), RankDrop([[0], [1]], top=2)
    assert repr(flip & drop | flip) == (
        "((DominantEmotionFlip(clean_dominant=<2 samples>) & RankDrop(own=<2 samples>, top=2))"
        " | DominantEmotionFlip(clean_dominant=<2 samples>))"
    )


@pytest.mark.parametrize("criterion", [DominantEmotionFlip([0, 0]), RankDrop([[0], [0]], top=1)])
def test_nan_scores_are_refused_by_row(criterion):
    scores = torch.tensor([[1.0, 2.0], [1.0, torch.nan]])
    with pytest.raises(AttackError, match="row 1"):
        criterion.margin(scores, torch.tensor([0, 1]))


@pytest.mark.parametrize("criterion", [DominantEmotionFlip([0]), RankDrop([[0]], top=1)])
def test_unknown_rows_are_refused(criterion):
    with pytest.raises(AttackError, match="knows 1 samples"):
        criterion.margin(torch.zeros(1, 3), torch.tensor([1]))


@pytest.mark.parametrize(
    ("criterion", "columns"),
    [
        (DominantEmotionFlip([0]), 1),
        (DominantEmotionFlip([4]), 3),
        (RankDrop([[5]], top=1), 3),
        (RankDrop([[0, 1]], top=2), 3),
    ],
)
def test_too_few_columns_are_refused(criterion, columns):
    with pytest.raises(AttackError, match="column"):
        criterion.margin(torch.zeros(1, columns), torch.tensor([0]))


@pytest.mark.parametrize(
    "build",
    [
        lambda: RankDrop([[0]], top=0),
        lambda: RankDrop([[]], top=1),
        lambda: RankDrop([[-1]], top=1),
        lambda: DominantEmotionFlip([-1]),
        lambda: DominantEmotionFlip(np.array([0.5])),
    ],
)
def test_parameters_without_meaning_are_refused(build):
    with pytest.raises(AttackError):
        build()


@pytest.mark.parametrize(
    "criterion",
    [
        DominantEmotionFlip([1]),
        DominantEmotionBecomes([1]),
        RankRise([1], top=2),
        CategorySuppressed(1, 0.0),
        CategoryAppears(1, 0.0),
    ],
    ids=repr,
)
def test_margins_have_the_slope_of_their_scores(criterion):
    """Also through the neighbouring number, which torch knows no slope of."""
    scores = torch.tensor([[0.3, -0.2, 0.9, 0.1]], dtype=torch.float64, requires_grad=True)
    rows = torch.tensor([0])
    (slope,) = torch.autograd.grad(criterion.margin(scores, rows).sum(), scores)
    moved = torch.eye(4, dtype=torch.float64) * 1e-6
    with torch.no_grad():
        rises = criterion.margin(scores + moved, rows.expand(4)) - criterion.margin(scores, rows)
    assert torch.allclose(slope[0], rises / 1e-6, atol=1e-6)
    assert slope.abs().max() == 1
