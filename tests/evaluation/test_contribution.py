"""What streams contribute, against sums over orders of joining, scikit-learn and planted signals."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from mmer_core.config import EvaluationConfig
from mmer_core.evaluation.contribution import coalitions, shapley, stream_contributions
from mmer_core.evaluation.record import Leader

CONFIG = EvaluationConfig(resamples=60)
NAMES = ("Anger", "Fear", "Joy")


def test_coalitions_are_all_non_empty_sets():
    assert coalitions("ab") == [{"a"}, {"b"}, {"a", "b"}]
    assert len(set(coalitions("abcd"))) == 15


@settings(max_examples=40)
@given(count=st.integers(1, 4), seed=st.integers(0, 1000))
def test_shapley_equals_the_mean_over_all_orders(count, seed):
    players = "abcd"[:count]
    generator = np.random.default_rng(seed)
    worth = {one: generator.normal(size=2) for one in [frozenset(), *coalitions(players)]}
    values = shapley(worth, players)
    for player in players:
        gains = []
        for order in permutations(players):
            before = frozenset(order[: order.index(player)])
            gains.append(worth[before | {player}] - worth[before])
        np.testing.assert_allclose(values[player], np.mean(gains, axis=0))
    np.testing.assert_allclose(sum(values.values()), worth[frozenset(players)] - worth[frozenset()])


def test_shapley_of_the_glove_game():
    """Two left gloves and one right: only a pair is worth anything (Shapley 1953's axioms, by hand)."""
    worth = {one: float("r" in one and len(one) > 1) for one in [frozenset(), *coalitions("abr")]}
    values = shapley(worth, "abr")
    assert {name: float(value) for name, value in values.items()} == pytest.approx(
        {"a": 1 / 6, "b": 1 / 6, "r": 4 / 6}
    )


def planted(seed=0, size=400):
    """Body reads Anger, text reads Fear, context reads nothing; Joy is read by nobody."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((size, 3)) < [0.3, 0.4, 0.5]).astype(float)
    noise = {name: generator.normal(size=(size, 3)) for name in ("text", "body", "context")}
    noise["body"][:, 0] += 3 * labels[:, 0]
    noise["text"][:, 1] += 3 * labels[:, 1]
    return {one: sum(noise[name] for name in one) for one in coalitions(noise)}, labels


def test_contributions_equal_sklearn():
    scores, labels = planted()
    result = stream_contributions(scores, labels, NAMES, CONFIG)

    def worth(*members):
        if not members:
            return 100 * labels.mean()
        return 100 * average_precision_score(labels, scores[frozenset(members)])

    assert result.all.value == pytest.approx(worth("context", "body", "text"))
    assert result.none.value == pytest.approx(worth())
    assert [stream.name for stream in result.streams] == ["context", "body", "text"]
    body = result.streams[1]
    assert body.alone.value == pytest.approx(worth("body"))
    assert body.left_out.value == pytest.approx(result.all.value - worth("context", "text"))
    by_hand = (
        (worth("body") - worth()) / 3
        + (worth("body", "text") - worth("text")) / 6
        + (worth("body", "context") - worth("context")) / 6
        + (worth("body", "text", "context") - worth("text", "context")) / 3
    )
    assert body.shapley.value == pytest.approx(by_hand)
    total = sum(stream.shapley.value for stream in result.streams)
    assert total == pytest.approx(result.all.value - result.none.value)


def test_planted_signals_are_found_and_nothing_else():
    result = stream_contributions(*planted(), NAMES, CONFIG)
    by_name = {stream.name: stream for stream in result.streams}
    assert by_name["body"].shapley.low > 0
    assert by_name["text"].left_out.low > 0
    assert by_name["context"].left_out.high < by_name["body"].left_out.low
    leaders = {record.name: record for record in result.leaders}
    assert leaders["Anger"].best == "body"
    assert leaders["Anger"].lead.low > 0
    assert leaders["Fear"].best == "text"
    assert leaders["Joy"].lead.low < 0 < leaders["Joy"].lead.high


def test_intervals_equal_resampled_rows():
    scores, labels = planted(size=120)
    config = EvaluationConfig(resamples=1000)
    found = stream_contributions(scores, labels, NAMES, config).streams[1].left_out
    generator = np.random.default_rng(3)
    drawn = []
    for _ in range(300):
        rows = generator.integers(120, size=120)
        with_it, without = (
            average_precision_score(labels[rows], scores[frozenset(one)][rows])
            for one in (("context", "body", "text"), ("context", "text"))
        )
        drawn.append(100 * (with_it - without))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.2 * (high - low))
    assert found.high == pytest.approx(high, abs=0.2 * (high - low))


def test_one_stream_leads_alone_and_an_absent_category_has_no_leader():
    scores, labels = planted()
    labels[:, 2] = 0
    result = stream_contributions({frozenset(("body",)): scores[frozenset(("body",))]}, labels, NAMES, CONFIG)
    assert result.leaders == (Leader(name="Anger", best="body"), Leader(name="Fear", best="body"))
    assert result.streams[0].left_out == result.streams[0].shapley


def test_a_missing_set_of_streams_raises():
    scores, labels = planted()
    del scores[frozenset(("body", "text"))]
    with pytest.raises(ValueError, match="body, text"):
        stream_contributions(scores, labels, NAMES, CONFIG)
