import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from support.attack_table import each_attack, each_drawn_attack, each_wide_attack
from support.attack_toys import FunctionVictim, linear_victim

from mmer_core.attacks import (
    BlackBoxAttack,
    DifferentialEvolution,
    DominantEmotionFlip,
    Generation,
    RandomPixels,
    RankDrop,
    Search,
    changed_pixels,
    judging,
    run_attack,
    write_changes,
)
from mmer_core.errors import AttackError


class Case:
    """``n`` noisy images, of which a linear victim calls some bright already and some never."""

    def __init__(self, n: int = 9, size: tuple[int, int] = (8, 8)) -> None:
        rng = np.random.default_rng(7)
        self.images = rng.integers(90, 160, (n, *size, 3), dtype=np.uint8)
        self.weights = rng.normal(size=(*size, 3))
        self.ids = [f"sample-{i}" for i in range(n)]
        clean = (self.weights * self.images).reshape(n, -1).sum(axis=1) / 255
        # One pixel moves the second score by about 3 at most: from "already" to out of reach, even of two.
        self.thresholds = clean + np.append(np.linspace(-0.5, 3.0, n - 1), 9.0)

    def run(self, attack, rows=slice(None), **settings):
        victim = linear_victim(self.weights, self.thresholds[rows].tolist())
        outcomes = run_attack(
            victim,
            DominantEmotionFlip([0] * len(self.ids[rows])),
            attack,
            self.images[rows],
            self.ids[rows],
            **{"pixels": 1, "budget": 200, "seed": 3, "batch_size": 16} | settings,
        )
        return outcomes, victim


@each_attack
def test_outcomes_agree_with_an_independent_judgement_of_the_saved_pixels(attack):
    case = Case()
    outcomes, _ = case.run(attack, pixels=2)
    assert {o.status for o in outcomes} == {"already", "fooled", "resisted"}
    for row, outcome in enumerate(outcomes):
        clean = case.images[row]
        attacked = write_changes(clean, outcome.changed)
        scores = [
            [case.thresholds[row], (case.weights * image.astype(float)).sum() / 255]
            for image in (clean, attacked)
        ]
        assert outcome.sample == case.ids[row]
        assert outcome.clean_margin == pytest.approx(scores[0][0] - scores[0][1], abs=1e-12)
        assert outcome.final_margin == pytest.approx(scores[1][0] - scores[1][1], abs=1e-12)
        assert (outcome.clean_top, outcome.final_top) == tuple(np.argmax(scores, axis=1))
        assert (outcome.status == "already") == (scores[0][1] >= scores[0][0])
        assert (outcome.status == "resisted") == (scores[1][1] < scores[1][0])
        assert changed_pixels(clean, attacked) == len(outcome.changed) <= 2
        if outcome.status == "already":
            assert outcome.queries == 0
            assert outcome.changed == ()
        else:
            assert len(outcome.changed) >= 1
        assert outcome.unconfirmed == 0


@each_attack
def test_queries_recounted_by_the_victim(attack):
    """One at a time, the victim sees the clean image, each query, each confirmation, and the final image of others."""
    outcomes, victim = Case().run(attack, batch_size=1, budget=75)
    for row, outcome in enumerate(outcomes):
        besides = {"already": 1, "fooled": 2, "resisted": 2}[outcome.status]
        assert victim.asked[row] - besides == outcome.queries <= 75
        if outcome.status == "resisted":
            assert outcome.queries == 75


@each_wide_attack
def test_batches_are_pooled_full_and_never_too_large(attack):
    class Recording(FunctionVictim):
        device = torch.device("cpu")

        def images_at_once(self, pixels):
            return None

        def pass_size(self, useful):
            return 1

        def candidate_scores(self, images, rows, candidates):
            pooled.append(len(rows))
            return torch.tensor([[1.0, 0.0]]).expand(len(rows), 2)

    pooled: list[int] = []
    images = np.zeros((9, 8, 8, 3), np.uint8)
    victim = Recording((8, 8), lambda image, row: [1.0, 0.0])
    run_attack(
        victim,
        DominantEmotionFlip([0] * 9),
        attack,
        images,
        list("abcdefghi"),
        pixels=1,
        budget=64,
        batch_size=16,
    )
    assert max([*pooled, *victim.batches]) == 16
    assert len(pooled) <= -(-9 * 64 // 16) + 5  # only the last of a generation holds fewer


@each_attack
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_batch_sizes_and_shards_change_no_outcome(attack, batch_size):
    case = Case()
    whole, _ = case.run(attack, batch_size=16)
    shards = [case.run(attack, rows, batch_size=batch_size)[0] for rows in (slice(0, 4), slice(4, 9))]
    assert shards[0] + shards[1] == whole


@each_drawn_attack
def test_the_seed_and_the_sample_id_choose_the_search(attack):
    case = Case()
    first, _ = case.run(attack)
    assert case.run(attack)[0] == first
    assert [o.changed for o in case.run(attack, seed=4)[0]] != [o.changed for o in first]
    case.ids = [f"other-{i}" for i in range(9)]
    assert [o.changed for o in case.run(attack)[0]] != [o.changed for o in first]


def test_one_pixel_against_exhaustive_search():
    """On a linear victim the best colour is a corner, so position x 8 corners is the exact optimum."""
    case = Case(n=24)
    corners = np.array(np.meshgrid(*[[0, 255]] * 3)).reshape(3, -1).T
    best = np.array(
        [
            [
                threshold
                - ((case.weights * image).sum() + (case.weights[y, x] * (c - image[y, x])).sum()) / 255
                for y in range(8)
                for x in range(8)
                for c in corners
            ]
            for image, threshold in zip(case.images.astype(float), case.thresholds, strict=True)
        ]
    ).min(axis=1)  # (n,)
    outcomes, _ = case.run(DifferentialEvolution(population=60), budget=3000, batch_size=64)
    attacked = [(o, b) for o, b in zip(outcomes, best, strict=True) if o.status != "already"]
    possible = [(o, b) for o, b in attacked if b <= 0]
    assert 5 <= len(possible) <= len(attacked) - 3
    for outcome, optimum in attacked:
        assert outcome.final_margin >= optimum - 1e-9
        assert outcome.status == "resisted" or optimum <= 0
        if outcome.status == "resisted":
            assert outcome.final_margin <= optimum + 0.35
    assert sum(o.status == "fooled" for o, _ in possible) >= len(possible) - 1


def test_evolution_beats_the_control():
    case = Case(n=24)
    attacks = [DifferentialEvolution(population=12), RandomPixels()]
    rates = [sum(o.status == "fooled" for o in case.run(attack, budget=400)[0]) for attack in attacks]
    assert rates[0] > rates[1] > 0


@each_attack
def test_a_budget_of_nothing_is_resisted_with_no_query(attack):
    outcomes, _ = Case().run(attack, budget=0)
    assert {(o.status, o.queries) for o in outcomes} == {("already", 0), ("resisted", 0)}
    for outcome in outcomes:
        assert outcome.final_margin == outcome.clean_margin
        assert outcome.final_top == outcome.clean_top
        assert outcome.changed == ()


@each_attack
def test_no_images_no_outcomes(attack):
    assert Case().run(attack, slice(0, 0))[0] == []


@each_attack
def test_a_victim_at_chance_that_ties_all_scores_is_fooled_already(attack):
    """Equal scores have no dominant column: by the definition of a margin this is no correct answer."""
    victim = FunctionVictim((4, 4), lambda image, row: [0.5, 0.5, 0.5])
    images = np.zeros((2, 4, 4, 3), np.uint8)
    for criterion in (DominantEmotionFlip([0, 1]), RankDrop([[0], [2]], top=2)):
        outcomes = run_attack(victim, criterion, attack, images, ["a", "b"], pixels=1, budget=9)
        assert [(o.status, o.queries, o.clean_margin) for o in outcomes] == [("already", 0, 0.0)] * 2


@each_attack
def test_an_image_that_is_misclassified_before_any_change_is_not_attacked(attack):
    victim = FunctionVictim((4, 4), lambda image, row: [0.1, 0.9, 0.0])
    images = np.zeros((2, 4, 4, 3), np.uint8)
    true = DominantEmotionFlip([0, 1])
    wrong, right = run_attack(victim, true, attack, images, ["a", "b"], pixels=1, budget=9)
    assert (wrong.status, wrong.queries, wrong.changed, wrong.clean_top) == ("already", 0, (), 1)
    assert (right.status, right.queries) == ("resisted", 9)


@each_attack
def test_a_victim_that_looks_at_nothing_cannot_be_fooled(attack):
    victim = FunctionVictim((4, 4), lambda image, row: [0.5, 0.5 - 1e-9])
    images = np.zeros((1, 4, 4, 3), np.uint8)
    (outcome,) = run_attack(victim, DominantEmotionFlip([0]), attack, images, ["a"], pixels=2, budget=40)
    assert (outcome.status, outcome.queries) == ("resisted", 40)
    assert outcome.final_margin == outcome.clean_margin


@each_attack
@pytest.mark.parametrize("settings", [{"pixels": 0}, {"pixels": 65}, {"budget": -1}, {"batch_size": 0}])
@pytest.mark.parametrize("rows", [slice(None), slice(0, 0)])
def test_parameters_without_meaning_are_refused(attack, settings, rows):
    with pytest.raises(AttackError):
        Case().run(attack, rows, **settings)


@pytest.mark.parametrize(
    ("images", "ids"),
    [
        (np.zeros((2, 4, 4, 3), np.uint8), ["a", "a"]),
        (np.zeros((2, 4, 4, 3), np.uint8), ["a"]),
        (np.zeros((2, 4, 5, 3), np.uint8), ["a", "b"]),
        (np.zeros((2, 4, 4), np.uint8), ["a", "b"]),
        (np.zeros((2, 4, 4, 3), np.float32), ["a", "b"]),
    ],
)
def test_images_and_ids_that_do_not_fit_are_refused(images, ids):
    victim = FunctionVictim((4, 4), lambda image, row: [1.0, 0.0])
    with pytest.raises(AttackError):
        run_attack(victim, DominantEmotionFlip([0, 0]), RandomPixels(), images, ids, pixels=1, budget=9)


@pytest.mark.parametrize("when", ["clean", "attacked"])
def test_nan_scores_name_the_sample(when):
    def score(image, row):
        broken = row == 1 and (when == "clean" or image.any())
        return [1.0, np.nan if broken else 0.0]

    with pytest.raises(AttackError, match=r"sample 'b'.*NaN"):
        run_attack(
            FunctionVictim((4, 4), score),
            DominantEmotionFlip([0, 0]),
            RandomPixels(),
            np.zeros((2, 4, 4, 3), np.uint8),
            ["a", "b"],
            pixels=1,
            budget=9,
        )


def test_nan_margins_of_a_home_made_criterion_name_the_sample():
    class Broken:
        def margin(self, scores, rows):
            return scores[:, 0] * torch.nan

    victim = FunctionVictim((4, 4), lambda image, row: [1.0, 0.0])
    images = np.zeros((1, 4, 4, 3), np.uint8)
    with pytest.raises(AttackError, match=r"margins.*sample 'a'"):
        run_attack(victim, Broken(), RandomPixels(), images, ["a"], pixels=1, budget=9)


def test_scores_of_another_shape_are_refused():
    victim = FunctionVictim((4, 4), lambda image, row: 1.0)
    images = np.zeros((1, 4, 4, 3), np.uint8)
    with pytest.raises(AttackError, match="shape"):
        run_attack(victim, DominantEmotionFlip([0]), RandomPixels(), images, ["a"], pixels=1, budget=9)


def scripted(search: type[Search]) -> BlackBoxAttack:
    """An attack of this search."""

    class Scripted(BlackBoxAttack):
        name = "scripted"

        def _search(self, targets):
            return search(targets)

    return Scripted()


def white(*places: Sequence[int]) -> Generation:
    """Sets of white pixels in one image."""
    return Generation(
        torch.tensor([places]), torch.full((1, len(places), len(places[0]), 3), 255, dtype=torch.uint8)
    )


def attacked_alone(attack, level, **settings):
    """One black image whose second score is its sum, beside a level."""
    victim = FunctionVictim((4, 4), lambda image, row: [level, image.sum()])
    images = np.zeros((1, 4, 4, 3), np.uint8)
    (outcome,) = run_attack(
        victim, DominantEmotionFlip([0]), attack, images, ["a"], **{"pixels": 1, "budget": 10} | settings
    )
    return outcome


def test_an_attack_that_changes_more_than_k_pixels_is_caught():
    class Greedy(Search):
        def propose(self):
            return white([0, 5])

        def learn(self, margins):
            pass

    with pytest.raises(AttackError, match="changed 2 pixels where K is 1"):
        attacked_alone(scripted(Greedy), 1e9)


@pytest.mark.parametrize("place", [-1, 16])
def test_places_outside_the_image_are_caught(place):
    class Stray(Search):
        def propose(self):
            return white([place])

        def learn(self, margins):
            pass

    with pytest.raises(AttackError, match="outside its image"):
        attacked_alone(scripted(Stray), 1e9)


def test_an_attack_with_nothing_left_to_propose_ends_its_search():
    class Two(Search):
        left = 2

        def propose(self):
            self.left -= 1
            return white([self.left]) if self.left >= 0 else None

        def learn(self, margins):
            assert margins.tolist() == [[1e9 - 765]]

    outcome = attacked_alone(scripted(Two), 1e9)
    assert (outcome.status, outcome.queries, outcome.changed) == ("resisted", 2, ((0, 1, 255, 255, 255),))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_candidates_behind_a_success_do_not_count(batch_size):
    class Growing(Search):
        def propose(self):
            return white([1, 1, 1], [1, 2, 2], [1, 2, 3], [4, 5, 6])

        def learn(self, margins):
            raise AssertionError("a search that succeeded learns nothing")

    outcome = attacked_alone(scripted(Growing), 765 * 3, pixels=3, batch_size=batch_size)
    assert (outcome.status, outcome.queries, outcome.final_margin) == ("fooled", 3, 0.0)
    assert [pixel[:2] for pixel in outcome.changed] == [(0, 1), (0, 2), (0, 3)]


def test_a_search_that_goes_on_after_a_success_keeps_the_last_one():
    class Thrifty(Search):
        asked = 0

        def propose(self):
            self.asked += 1
            return white([[1, 2, 3], [1, 1, 1], [1, 2, 2]][self.asked - 1])

        def learn(self, margins):
            assert margins.tolist() == [[[-100 - 765.0], [700 - 35.0]][self.asked - 1]]

        def goes_on(self, number, changed):
            assert changed == {1: 3, 3: 2}[self.asked]
            return changed == 3

    outcome = attacked_alone(scripted(Thrifty), 1430, pixels=3)
    assert (outcome.status, outcome.queries, outcome.final_margin) == ("fooled", 3, -100.0)
    assert len(outcome.changed) == 2


class RoundingVictim(FunctionVictim):
    """Succeeds at once in a batch, by rounding of large scores; alone, only where the red of some pixel is above a level."""

    def __init__(self, level: int) -> None:
        super().__init__((4, 4), lambda image, row: [1e7 + level, 1e7 + image[..., 0].max()])

    def scores(self, images, rows):
        alone = super().scores(images, rows)
        return alone if len(rows) == 1 else alone + torch.tensor([0.0, 1000.0], dtype=torch.float64)


def test_a_success_that_does_not_hold_alone_is_none_and_the_search_goes_on():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    arguments = (DominantEmotionFlip([0, 0]), RandomPixels(), images, ["a", "b"])
    settings = {"pixels": 1, "budget": 60, "batch_size": 8}
    for never in run_attack(RoundingVictim(300), *arguments, **settings):
        assert (never.status, never.queries) == ("resisted", 60)
        assert never.final_margin > 0
        # The last batch of 120 holds 8 candidates, so each of the 60 was an apparent success.
        assert never.unconfirmed == 60
    settings["budget"] = 400
    later = run_attack(RoundingVictim(250), *arguments, **settings)
    plain = run_attack(RoundingVictim(250), *arguments, **settings | {"batch_size": 1})
    for one in later:
        assert one.status == "fooled"
        assert one.unconfirmed == one.queries - 1 > 0
    assert [dataclasses.replace(one, unconfirmed=0) for one in later] == plain


@pytest.mark.parametrize(("together", "batches"), [(1, [1] * 6), (8, [6, 1])], ids=["cpu", "device"])
def test_near_verdicts_are_of_the_image_alone(monkeypatch, together, batches):
    if together > 1:
        monkeypatch.setattr(judging, "_judged_together", lambda device, batch_size: together)
    images = np.zeros((6, 4, 4, 3), np.uint8)
    images[:, 0, 0, 0] = [0, 100, 200, 199, 201, 50]
    victim = FunctionVictim((4, 4), lambda image, row: [200, image[..., 0].max()])
    outcomes = run_attack(
        victim, DominantEmotionFlip([0] * 6), RandomPixels(), images, list("abcdef"), pixels=1, budget=0
    )
    assert victim.batches == batches  # 199 and 201 are farther from 200 than a thousandth
    assert [one.clean_margin for one in outcomes] == [200, 100, 0, 1, -1, 150]


def test_progress_ends_with_every_image():
    seen = []
    case = Case()
    run_attack(
        linear_victim(case.weights, case.thresholds.tolist()),
        DominantEmotionFlip([0] * 9),
        RandomPixels(),
        case.images,
        case.ids,
        pixels=1,
        budget=50,
        progress=lambda done, total, note="": seen.append((done, total)),
    )
    assert seen == sorted(seen)
    assert seen[-1] == (9, 9)
    assert all(total == 9 for _, total in seen)
