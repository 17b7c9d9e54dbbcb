"""Every criterion against a plain reading of what it says, on scores with few values so that ties happen."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmer_core.attacks import (
    CategoryAppears,
    CategorySuppressed,
    Columns,
    DominantEmotionBecomes,
    DominantEmotionFlip,
    ImageRankDrop,
    ImageRankRise,
    LabelsChange,
    RandomPixels,
    RankDrop,
    RankRise,
    RatingShift,
    TopEmotionsChange,
    image_bars,
    run_attack,
)
from mmer_core.errors import AttackError

VALUES = st.sampled_from([-2.0, -1.0, -1e-7, 0.0, 1e-7, 1.0, 2.5])


@st.composite
def scored(draw, least: int = 2):
    """Scores ``(B, S)``, float32 or float64, and rows ``(B,)`` of two samples."""
    columns, batch = draw(st.integers(least, 7)), draw(st.integers(1, 5))
    line = st.lists(VALUES, min_size=columns, max_size=columns)
    scores = draw(st.lists(line, min_size=batch, max_size=batch))
    rows = draw(st.lists(st.integers(0, 1), min_size=batch, max_size=batch))
    return np.array(scores, dtype=draw(st.sampled_from([np.float32, np.float64]))), rows


def successes(criterion, scores: np.ndarray, rows: list[int]) -> list[bool]:
    return (criterion.margin(torch.from_numpy(scores), torch.tensor(rows)) <= 0).tolist()


def column(data, scores: np.ndarray) -> int:
    return data.draw(st.integers(0, scores.shape[1] - 1))


@given(st.data(), scored())
def test_a_target_must_lead_without_a_tie(data, drawn):
    scores, rows = drawn
    target = [column(data, scores) for _ in range(2)]
    expected = [
        line[target[row]] > np.delete(line, target[row]).max() for line, row in zip(scores, rows, strict=True)
    ]
    assert successes(DominantEmotionBecomes(target), scores, rows) == expected


@given(st.data(), scored(least=3))
def test_the_top_changes_where_another_category_reaches_its_last(data, drawn):
    scores, rows = drawn
    m = data.draw(st.integers(1, scores.shape[1] - 1))
    top = [data.draw(st.permutations(range(scores.shape[1])))[:m] for _ in range(2)]
    expected = [
        line[top[row]].min() <= np.delete(line, top[row]).max()
        for line, row in zip(scores, rows, strict=True)
    ]
    assert successes(TopEmotionsChange(top), scores, rows) == expected
    if m == 1:
        single = [one[0] for one in top]
        assert successes(DominantEmotionFlip(single), scores, rows) == expected


@given(st.data(), scored())
def test_a_category_is_present_from_its_threshold_on(data, drawn):
    scores, rows = drawn
    category, threshold = column(data, scores), data.draw(VALUES | st.just(np.inf))
    present = [bool(line[category] >= scores.dtype.type(threshold)) for line in scores]
    assert successes(CategoryAppears(category, threshold), scores, rows) == present
    assert successes(CategorySuppressed(category, threshold), scores, rows) == [not one for one in present]


@given(st.data(), scored())
def test_labels_change_where_the_set_of_present_categories_is_another(data, drawn):
    scores, rows = drawn
    count = scores.shape[1]
    bars = np.array(data.draw(st.lists(VALUES | st.just(np.inf), min_size=count, max_size=count)))
    clean = np.array(
        data.draw(st.lists(st.lists(st.booleans(), min_size=count, max_size=count), min_size=2, max_size=2))
    )
    expected = [
        bool(((line >= bars.astype(scores.dtype)) != clean[row]).any())
        for line, row in zip(scores, rows, strict=True)
    ]
    assert successes(LabelsChange(clean, bars), scores, rows) == expected


@given(st.data(), scored())
def test_a_rating_shifts_from_tau_on(data, drawn):
    scores, rows = drawn
    dimension, tau = column(data, scores), data.draw(st.sampled_from([0.5, 1.0, 3.5]))
    clean = data.draw(st.lists(st.sampled_from([-1.0, 0.0, 1.0, 2.5]), min_size=2, max_size=2))
    moved = [line[dimension] - clean[row] for line, row in zip(scores, rows, strict=True)]
    up = successes(RatingShift(clean, dimension, tau, "up"), scores, rows)
    down = successes(RatingShift(clean, dimension, tau, "down"), scores, rows)
    assert up == [step >= tau for step in moved]
    assert down == [-step >= tau for step in moved]
    either = RatingShift(clean, dimension, tau)
    both_ways = RatingShift(clean, dimension, tau, "up") | RatingShift(clean, dimension, tau, "down")
    assert successes(either, scores, rows) == [u or d for u, d in zip(up, down, strict=True)]
    assert successes(both_ways, scores, rows) == successes(either, scores, rows)


@given(st.data(), scored(least=3))
def test_a_foreign_caption_rises_where_fewer_than_top_others_reach_it(data, drawn):
    scores, rows = drawn
    target = [column(data, scores) for _ in range(2)]
    top = data.draw(st.integers(1, scores.shape[1] - 1))
    expected = [
        int((np.delete(line, target[row]) >= line[target[row]]).sum()) < top
        for line, row in zip(scores, rows, strict=True)
    ]
    assert successes(RankRise(target, top), scores, rows) == expected


@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 3))
def test_text_to_image_equals_ranking_the_whole_gallery_with_the_attacked_image_in_it(seed, count, captions):
    rng = np.random.default_rng(seed)
    # Small integers, so that similarities are exact and ties happen.
    images = rng.integers(-2, 3, (count, 4)).astype(np.float32)
    texts = rng.integers(-2, 3, (count * captions, 4)).astype(np.float32)
    owner = np.repeat(np.arange(count), captions)
    top = int(rng.integers(1, count))
    embeddings = torch.from_numpy(texts), torch.from_numpy(images)
    bars = image_bars(*embeddings, torch.from_numpy(owner), top)
    own = [np.flatnonzero(owner == row) for row in range(count)]
    target = [int(rng.choice(np.flatnonzero(owner != row))) for row in range(count)]
    rows = list(range(count))
    attacked = rng.integers(-2, 3, (count, 4)).astype(np.float32)
    dropped, risen = [], []
    for row in rows:
        gallery = images.copy()
        gallery[row] = attacked[row]
        similarity = texts @ gallery.T  # (T, N)

        def rank(caption: int, row: int = row, similarity: np.ndarray = similarity) -> int:
            return int((np.delete(similarity[caption], row) >= similarity[caption, row]).sum())

        dropped.append(all(rank(caption) >= top for caption in own[row]))
        risen.append(rank(target[row]) < top)
    scores = attacked @ texts.T
    assert successes(ImageRankDrop(own, bars), scores, rows) == dropped
    foreign = image_bars(embeddings[0][target], embeddings[1], torch.tensor(rows), top)
    assert successes(ImageRankRise(target, foreign), scores, rows) == risen
    both = successes(RankDrop(own, 1) & ImageRankDrop(own, bars), scores, rows)
    assert both == [a and b for a, b in zip(successes(RankDrop(own, 1), scores, rows), dropped, strict=True)]


def test_columns_let_categories_and_ratings_be_judged_together():
    scores = torch.tensor([[2.0, 1.0, 5.0], [0.0, 1.0, 5.0], [0.0, 1.0, 7.0]])
    flip = Columns(DominantEmotionFlip([0, 0, 0]), 0, 2)
    shift = RatingShift([5.0, 5.0, 5.0], dimension=2, tau=1.5)
    rows = torch.arange(3)
    assert (flip.margin(scores, rows) <= 0).tolist() == [False, True, True]
    assert ((flip & shift).margin(scores, rows) <= 0).tolist() == [False, False, True]
    assert repr(flip) == "Columns(DominantEmotionFlip(clean_dominant=<3 samples>), 0, 2)"
    with pytest.raises(AttackError, match="column 3"):
        Columns(flip, 2, 4).margin(scores, rows)


BARS = torch.zeros(4)
KINDS = [
    DominantEmotionBecomes([0, 1]),
    TopEmotionsChange([[0, 1], [2, 3]]),
    CategorySuppressed(1, 0.5),
    CategoryAppears(1, 0.5),
    LabelsChange(np.zeros((2, 4), np.bool_), [0.5] * 4),
    RatingShift([1.0, 2.0], 3, 0.5, "up"),
    Columns(DominantEmotionFlip([0, 1]), 0, 3),
    RankRise([2, 3], 2),
    ImageRankDrop([[0, 1], [2]], BARS),
    ImageRankRise([2, 3], BARS),
]
each_kind = pytest.mark.parametrize("criterion", KINDS, ids=lambda kind: type(kind).__name__)


@each_kind
def test_nan_is_refused_by_every_kind(criterion):
    scores = torch.zeros(2, 4)
    scores[1, 2] = torch.nan
    with pytest.raises(AttackError, match="row 1"):
        criterion.margin(scores, torch.tensor([0, 1]))


@each_kind
def test_every_kind_composes_prints_and_is_attacked(criterion):
    class Ramp:
        size = (3, 3)

        def scores(self, images, rows):
            return images.double().sum(dim=(1, 2, 3))[:, None] / 100 * torch.tensor([1.0, -1.0, 2.0, -2.0])

    assert repr(criterion & criterion) == f"({criterion!r} & {criterion!r})"
    assert "object at" not in repr(criterion)
    images = np.full((2, 3, 3, 3), 120, np.uint8)
    for one in (criterion, criterion | criterion):
        outcomes = run_attack(Ramp(), one, RandomPixels(), images, ["a", "b"], pixels=2, budget=20)
        for row, outcome in enumerate(outcomes):
            attacked = images[row].copy()
            for y, x, *colour in outcome.changed:
                attacked[y, x] = colour
            scores = Ramp().scores(torch.from_numpy(attacked[None]), None)
            assert (outcome.status != "resisted") == bool(criterion.margin(scores, torch.tensor([row])) <= 0)


@pytest.mark.parametrize(
    ("criterion", "columns"),
    [
        (DominantEmotionBecomes([3]), 3),
        (TopEmotionsChange([[0, 1, 2]]), 3),
        (CategorySuppressed(3, 0.0), 3),
        (CategoryAppears(3, 0.0), 3),
        (LabelsChange(np.zeros((1, 4), np.bool_), [0.0] * 4), 3),
        (RatingShift([1.0], 3, 1.0), 3),
        (RankRise([0], 3), 3),
        (ImageRankDrop([[3]], BARS), 3),
        (ImageRankRise([3], BARS), 3),
    ],
)
def test_columns_that_are_not_there_are_refused(criterion, columns):
    with pytest.raises(AttackError, match="column"):
        criterion.margin(torch.zeros(1, columns), torch.tensor([0]))


@pytest.mark.parametrize(
    "build",
    [
        lambda: DominantEmotionBecomes([-1]),
        lambda: TopEmotionsChange([[0, 0]]),
        lambda: TopEmotionsChange([[-1, 0]]),
        lambda: TopEmotionsChange([0, 1]),
        lambda: TopEmotionsChange(np.zeros((2, 0), int)),
        lambda: CategorySuppressed(-1, 0.0),
        lambda: CategoryAppears(0, np.nan),
        lambda: LabelsChange(np.zeros((1, 2)), [0.0, 0.0]),
        lambda: LabelsChange(np.zeros((1, 2), np.bool_), [0.0]),
        lambda: LabelsChange(np.zeros((1, 2), np.bool_), [0.0, np.nan]),
        lambda: RatingShift([1.0], -1, 1.0),
        lambda: RatingShift([1.0], 0, 0.0),
        lambda: RatingShift([1.0], 0, 1.0, "sideways"),
        lambda: RatingShift([np.nan], 0, 1.0),
        lambda: Columns(DominantEmotionFlip([0]), 2, 2),
        lambda: RankRise([0], 0),
        lambda: ImageRankDrop([[4]], BARS),
        lambda: ImageRankRise([0] * 5, BARS),
        lambda: ImageRankRise([0], BARS[None]),
        lambda: ImageRankRise([0], BARS * torch.nan),
        lambda: image_bars(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0, 1]), top=2),
        lambda: image_bars(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0, 1]), top=0),
    ],
)
def test_parameters_without_meaning_are_refused(build):
    with pytest.raises(AttackError):
        build()
