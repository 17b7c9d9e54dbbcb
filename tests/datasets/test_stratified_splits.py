"""Splits of related rows: nothing related is parted, shares are those asked for, and little moves."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mmer_core.datasets.stratified_splits import SHARES, connected, stratified_splits

ROWS = st.lists(
    st.tuples(st.integers(0, 30), st.sets(st.sampled_from("abcd"), max_size=3)), min_size=1, max_size=60
)


def alone(labels: list[str], seed: int, names: list[int] | None = None) -> dict[int, str]:
    """The splits of rows that share nothing, by their names."""
    names = names or list(range(len(labels)))
    keys = [str(name).encode() for name in names]
    found = stratified_splits(range(len(labels)), keys, [[label] for label in labels], seed=seed)
    return dict(zip(names, found, strict=True))


@given(st.lists(st.sets(st.integers(0, 12), max_size=3), max_size=20))
def test_components_are_those_of_scipy(ties):
    rows, count = len(ties), len(ties) + 13
    edges = [(row, rows + tie) for row, names in enumerate(ties) for tie in names]
    one, other = np.array(edges, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges)), (one, other)), shape=(count, count))
    expected = connected_components(graph, directed=False)[1][:rows]
    found = connected(ties)
    assert all(
        (found[i] == found[j]) == (expected[i] == expected[j]) for i in range(rows) for j in range(rows)
    )


@given(ROWS, st.integers(0, 5), st.randoms())
def test_components_are_never_parted_and_the_order_of_rows_decides_nothing(rows, seed, random):
    parts = [part for part, _ in rows]
    keys = [f"{part} {sorted(labels)}".encode() for part, labels in rows]
    labels = [labels for _, labels in rows]
    found = stratified_splits(parts, keys, labels, seed=seed)
    assert all(
        len({split for split, other in zip(found, parts, strict=True) if other == part}) == 1
        for part in parts
    )
    assert len(set(parts)) < 2 or "val" in found
    assert found[0] in SHARES
    order = list(range(len(rows)))
    random.shuffle(order)
    again = stratified_splits(
        [parts[at] for at in order], [keys[at] for at in order], [labels[at] for at in order], seed=seed
    )
    assert again == [found[at] for at in order]


@given(st.lists(st.sampled_from("aaaab" + "c" * 2), min_size=8, max_size=150), st.integers(0, 20))
def test_every_label_has_the_shares_of_the_whole_within_one_row(labels, seed):
    found = alone(labels, seed)
    for label, count in Counter(labels).items():
        got = Counter(found[row] for row, other in enumerate(labels) if other == label)
        if count > 6:
            assert all(abs(got[split] - share * count) < 1 for split, share in SHARES.items())
        assert got["train"]


@given(st.integers(2, 12), st.integers(40, 120), st.integers(0, 20))
def test_shares_with_components_of_several_rows_are_off_by_no_more_than_a_component(largest, count, seed):
    sizes = np.random.default_rng(seed).integers(1, largest + 1, count)
    parts = np.repeat(np.arange(count), sizes).tolist()
    found = Counter(
        stratified_splits(parts, [str(part).encode() for part in parts], [["x"]] * len(parts), seed=seed)
    )
    assert all(abs(found[split] - share * len(parts)) <= largest for split, share in SHARES.items())


@given(
    st.lists(st.sampled_from("ab"), max_size=80).map(lambda drawn: [*"aaaaaaaabbbbbbbb", *drawn]),
    st.sampled_from("ab"),
    st.integers(0, 20),
)
def test_a_row_that_is_added_moves_at_most_one_other_across_each_cut(labels, label, seed):
    before = alone(labels, seed)
    after = alone([*labels, label], seed)
    moved = [row for row in before if before[row] != after[row]]
    assert len(moved) <= 2
    assert all(labels[row] == label for row in moved)


def test_what_is_settled_stays_and_seeds_differ():
    labels = ["x"] * 100
    settled = dict.fromkeys(range(5), "test")
    keys = [str(row).encode() for row in range(100)]
    found = stratified_splits(range(100), keys, [[one] for one in labels], settled=settled)
    assert found[:5] == ["test"] * 5
    assert abs(found[5:].count("train") - 0.7 * 95) < 1
    assert alone(labels, 0) == alone(labels, 0) != alone(labels, 1)
