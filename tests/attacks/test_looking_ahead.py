"""Queries that are proposed ahead fill passes, and change nothing that a search does."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.attack_driving import targets_of
from support.attack_toys import FunctionVictim

from mmer_core.attacks import DominantEmotionFlip, Outcome, SparseRS, run_attack
from mmer_core.attacks.candidates import Renderer
from mmer_core.attacks.sparse_rs import _RandomSearch


class PassVictim(FunctionVictim):
    """Scores candidates in passes of one size. In a batch every tenth score lies: it claims a success that is none."""

    device = torch.device("cpu")

    def __init__(self, size: tuple[int, int], pass_size: int, weights: np.ndarray) -> None:
        super().__init__(size, lambda image, row: [float((image * weights).sum()) + 300 * row, 0.0])
        self._pass_size = pass_size
        self.calls: list[int] = []
        self.useful: list[float] = []

    def images_at_once(self, pixels):
        return None

    def pass_size(self, useful):
        self.useful.append(useful)
        return self._pass_size

    def candidate_scores(self, images, rows, candidates):
        self.calls.append(len(rows))
        rendered = Renderer(images)(rows, candidates)
        scores = self.scores(rendered, rows)
        lies = torch.tensor([float(image.sum()) % 10 == 0 for image in rendered.double()])
        scores[:, 0] = torch.where(lies, -1.0, scores[:, 0])
        return scores


def attacked(
    pass_size: int, pixels: int, budget: int, batch_size: int = 64
) -> tuple[list[Outcome], PassVictim]:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (5, 6, 5, 3), dtype=np.uint8)
    victim = PassVictim((6, 5), pass_size, rng.normal(0.3, 0.1, (6, 5, 3)))
    outcomes = run_attack(
        victim,
        DominantEmotionFlip([0] * 5),
        SparseRS(),
        images,
        list("abcde"),
        pixels=pixels,
        budget=budget,
        batch_size=batch_size,
    )
    return outcomes, victim


@pytest.mark.parametrize("pixels", [1, 8, 29, 30])
def test_outcomes_and_queries_are_those_of_one_query_at_a_time(pixels):
    alone, slow = attacked(1, pixels, 150)
    assert any(one.unconfirmed for one in alone)
    for pass_size in (4, 7, 64):
        together, victim = attacked(pass_size, pixels, 150)
        assert together == alone
        assert max(victim.calls) > 5
        assert len(victim.calls) < len(slow.calls)


def test_a_batch_is_never_exceeded():
    alone, _ = attacked(1, 8, 60)
    together, victim = attacked(64, 8, 60, batch_size=11)
    assert together == alone
    assert max(victim.calls) == 11


@settings(max_examples=25, deadline=None)
@given(
    pixels=st.sampled_from([1, 3, 20]),
    rooms=st.lists(st.integers(0, 40), min_size=1, max_size=8),
    seed=st.integers(0, 9),
)
def test_the_sets_that_count_are_those_of_a_search_without_room(pixels, rooms, seed):
    """Driven by hand, with room that changes from generation to generation, beside searches that are alone."""
    images = [np.full((5, 7, 3), 99, np.uint8), np.full((8, 6, 3), 7, np.uint8)]
    budget = 60

    def loss(image: int, query: int) -> float:
        return float(np.random.default_rng([seed, image, query]).uniform(1, 2))

    def run(those: list[int], room: list[int]) -> dict[int, list[list[int]]]:
        search = _RandomSearch(SparseRS(), targets_of([images[one] for one in those], budget, pixels, those))
        counted: dict[int, list[list[int]]] = {one: [] for one in those}
        lowest = dict.fromkeys(those, np.inf)
        step = 0
        while min(map(len, counted.values())) < budget:
            search.room, step = room[step % len(room)], step + 1
            generation = search.propose()
            width = generation.places.shape[1]
            margins = torch.full((len(those), width), torch.inf, dtype=torch.float64)
            for number, one in enumerate(those):
                count = width if generation.counts is None else int(generation.counts[number])
                for ahead in range(count):
                    value = loss(one, len(counted[one]))
                    counted[one].append(generation.places[number, ahead].tolist())
                    margins[number, ahead] = value
                    if value < lowest[one]:
                        lowest[one] = value
                        break
            search.learn(margins)
        return {one: sets[:budget] for one, sets in counted.items()}

    together = run([0, 1], rooms)
    for one in (0, 1):
        assert together[one] == run([one], [0])[one]


def test_more_answers_are_useful_as_improvements_become_rare():
    outcomes, victim = attacked(16, 8, 600)
    attacked_to_the_end = sum(one.status == "resisted" for one in outcomes)
    assert attacked_to_the_end
    # Half of the first queries are taken for improvements; in the end hardly any is one.
    assert victim.useful[0] == 2 * len(outcomes)
    assert victim.useful[-1] > 20 * attacked_to_the_end
    assert max(victim.useful) <= 1000 * len(outcomes)


def test_what_was_proposed_ahead_is_no_query():
    outcomes, victim = attacked(64, 8, 150)
    assert sum(one.queries for one in outcomes) < sum(victim.calls)
