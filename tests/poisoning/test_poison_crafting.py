"""Poisons against the papers' procedures written out slowly, one at a time, in plain autograd."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.poison_toys import SIDE, WIDTH, names, photos, toy_encoder

from mmer_core.encoders import ImageEncoder
from mmer_core.errors import PoisonError
from mmer_core.poisoning import (
    POISON_ATTACKS,
    BullseyePolytope,
    Crafted,
    FeatureCollision,
    PoisonAttack,
    is_crafted,
    visibility,
)

ENCODERS = [toy_encoder(0), toy_encoder(1)]


def features(encoder: ImageEncoder, image: torch.Tensor) -> torch.Tensor:
    """``(H, W, 3)`` float pixels to ``(D,)``, by the definition of the preprocessing."""
    mean, std = (torch.tensor(values) for values in (encoder.preprocessing.mean, encoder.preprocessing.std))
    return encoder.module(((image - mean) / std).permute(2, 0, 1)[None])[0]


def slow_collision(
    attack: FeatureCollision, encoder: ImageEncoder, base: np.ndarray, target: np.ndarray
) -> np.ndarray:
    b, t = torch.tensor(base).float(), torch.tensor(target).float()
    goal = features(encoder, t)
    beta = attack.options.beta * WIDTH**2 / (3 * SIDE * SIDE) ** 2

    def within(image: torch.Tensor) -> torch.Tensor:
        if attack.options.eps is not None:
            image = torch.minimum(torch.maximum(image, b - attack.options.eps), b + attack.options.eps)
        return image.clamp(0, 255)

    marked = within((1 - attack.options.opacity) * b + attack.options.opacity * t)
    x, before, gradient, size = marked, marked, None, None
    last_forty: list[float] = []
    best, lowest = marked, np.inf
    for number in range(attack.options.iterations):
        leaf = x.clone().requires_grad_()
        square = (features(encoder, leaf) - goal).square().sum()
        square.backward()
        objective = float(square.detach()) + beta * float((x - marked).square().sum())
        if objective < lowest:
            best, lowest = x, objective
        if number and number % 20 == 0 and objective >= np.mean(last_forty):
            size /= 2
        else:
            before, gradient = x, leaf.grad
            last_forty = [*last_forty, objective][-40:]
        if size is None:
            size = attack.options.step / float(gradient.square().mean().sqrt())
        x = within((before - size * gradient + size * beta * marked) / (1 + size * beta))
    return best.round().numpy().astype(np.uint8)


def slow_bullseye(
    attack: BullseyePolytope, encoders: list[ImageEncoder], bases: np.ndarray, target: np.ndarray
) -> np.ndarray:
    b, t = torch.tensor(bases).float(), torch.tensor(target).float()
    poisons = b.clone().requires_grad_()
    adam = torch.optim.Adam([poisons], lr=attack.options.rate)
    for _ in range(attack.options.iterations):
        adam.zero_grad()
        loss = torch.tensor(0.0)
        for encoder in encoders:
            goal = features(encoder, t)
            mean = torch.stack([features(encoder, poison) for poison in poisons]).mean(dim=0)
            loss = loss + (goal - mean).square().sum() / (2 * goal.square().sum()) / len(encoders)
        loss.backward()
        adam.step()
        with torch.no_grad():
            poisons.copy_((b + (poisons - b).clamp(-attack.options.eps, attack.options.eps)).clamp(0, 255))
    return poisons.detach().round().numpy().astype(np.uint8)


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for values that float rounding pushes over a half."""
    apart = np.abs(found.astype(int) - expected)
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01


@pytest.mark.parametrize(
    "attack",
    [
        FeatureCollision(iterations=70),
        FeatureCollision(iterations=70, beta=40.0),  # steps are halved, of some once, of others three times
        FeatureCollision(iterations=50, beta=400.0),
        FeatureCollision(iterations=30, opacity=0.3),
        FeatureCollision(iterations=30, opacity=0.3, eps=8),
    ],
    ids=repr,
)
def test_collisions_follow_the_paper_poison_by_poison(attack):
    bases, targets = photos(4, 1), photos(4, 2)
    crafted = attack.craft(ENCODERS[:1], bases, targets, names(4))
    expected = [slow_collision(attack, ENCODERS[0], *pair) for pair in zip(bases, targets, strict=True)]
    assert_same(crafted.images, np.stack(expected))
    assert all(record.distance_after < 0.95 * record.distance_before for record in crafted.records)


def test_bullseye_follows_the_paper_with_several_encoders_and_groups_of_several_sizes():
    bases, targets, rows = photos(6, 3), photos(3, 4), [2, 0, 2, 2, 1, 0]
    attack = BullseyePolytope(iterations=25, eps=20)
    crafted = attack.craft(ENCODERS, bases, targets, names(6), target_of=rows)
    for target in range(3):
        group = np.flatnonzero(np.array(rows) == target)
        assert_same(crafted.images[group], slow_bullseye(attack, ENCODERS, bases[group], targets[target]))


ATTACKS = [
    FeatureCollision(iterations=45, noise=9.0),
    FeatureCollision(iterations=45, eps=6, opacity=0.2),
    BullseyePolytope(iterations=15, noise=3.0),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_batches_and_shards_change_nothing_but_rounding(attack):
    bases, targets, rows = photos(7, 5), photos(3, 6), np.array([0, 1, 2, 0, 1, 2, 0])
    whole = attack.craft(ENCODERS, bases, targets, names(7), target_of=rows)
    small = attack.craft(ENCODERS, bases, targets, names(7), target_of=rows, batch_size=3)
    assert_same(small.images, whole.images)
    shard = np.flatnonzero(rows == 0)[::-1]
    ids = [names(7)[row] for row in shard]
    alone = attack.craft(ENCODERS, bases[shard], targets, ids, target_of=rows[shard])
    assert_same(alone.images, whole.images[shard])


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_the_same_seed_crafts_the_same_poisons(attack):
    bases, targets = photos(2, 7), photos(2, 8)
    first, again, other = (
        attack.craft(ENCODERS, bases, targets, names(2), seed=seed).images for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() == bool(attack.options.noise)


@settings(max_examples=25)
@given(
    eps=st.integers(1, 40),
    opacity=st.floats(0, 0.9),
    seed=st.integers(0, 99),
    step=st.floats(0.1, 200),
    noise=st.sampled_from([0.0, 70.0]),
)
def test_the_budget_holds_for_the_uint8_images_that_come_back(eps, opacity, seed, step, noise):
    bases, targets = photos(3, seed), photos(3, seed + 100)
    before = bases.copy()
    for attack in (
        FeatureCollision(iterations=4, eps=eps, opacity=opacity, step=step, noise=noise),
        BullseyePolytope(iterations=4, eps=eps, rate=step, noise=noise),
    ):
        crafted = attack.craft(ENCODERS[:1], bases, targets, names(3))
        assert crafted.images.dtype == np.uint8
        assert np.abs(crafted.images.astype(int) - bases).max() <= eps
        assert max(record.linf for record in crafted.records) <= eps
    np.testing.assert_array_equal(bases, before)


def test_records_judge_the_image_that_is_saved():
    bases, targets, rows = photos(5, 9), photos(2, 10), [1, 0, 1, 1, 0]
    crafted = BullseyePolytope(iterations=20).craft(ENCODERS, bases, targets, names(5), target_of=rows)
    for images, which in ((bases, "before"), (crafted.images, "after")):
        for row, record in enumerate(crafted.records):
            single = centre = 0.0
            for encoder in ENCODERS:
                of, to = encoder.encode(images).numpy(), encoder.encode(targets).numpy()[rows[row]]
                single += np.linalg.norm(of[row] - to) / 2
                mates = [other for other in range(5) if rows[other] == rows[row]]
                centre += np.linalg.norm(of[mates].mean(axis=0) - to) / 2
            assert getattr(record, f"distance_{which}") == pytest.approx(single, rel=1e-4)
            assert getattr(record, f"centre_{which}") == pytest.approx(centre, rel=1e-4)
    for row, record in enumerate(crafted.records):
        seen = visibility(bases[row], crafted.images[row])
        assert (record.l2, record.linf, record.psnr, record.ssim) == (
            seen.l2,
            seen.linf,
            seen.psnr,
            seen.ssim,
        )
        assert (record.poison, record.target, record.attack) == (names(5)[row], rows[row], "bullseye")
        assert record.centre_after < 0.5 * record.centre_before
    assert list(crafted.table()["poison"]) == names(5)


def test_a_higher_beta_keeps_nearer_to_the_base_and_farther_from_the_target():
    found: list[Crafted] = [
        FeatureCollision(iterations=150, beta=beta).craft(ENCODERS[:1], photos(4, 1), photos(4, 2), names(4))
        for beta in (0.0, 300.0, 3000.0)
    ]
    changes = [crafted.table()["l2"].mean() for crafted in found]
    distances = [crafted.table()["distance_after"].mean() for crafted in found]
    assert changes == sorted(changes, reverse=True)
    assert distances == sorted(distances)
    assert changes[2] < 0.7 * changes[0]


def test_the_papers_beta_for_inception_at_299_pixels():
    assert FeatureCollision().scaled_beta(2048, (299, 299)) == pytest.approx(
        0.25 * (2048 / (299 * 299 * 3)) ** 2
    )


def test_a_base_that_is_its_target_already_stays_as_it_is():
    base = photos(1, 3)
    for attack in (FeatureCollision(iterations=10), BullseyePolytope(iterations=1)):
        crafted = attack.craft(ENCODERS[:1], base, base, ["same"])
        assert crafted.records[0].distance_after < 0.1
    np.testing.assert_array_equal(
        FeatureCollision(iterations=10).craft(ENCODERS[:1], base, base, ["same"]).images, base
    )


def test_progress_and_an_empty_order():
    steps = []
    attack = FeatureCollision(iterations=2)
    attack.craft(
        ENCODERS[:1],
        photos(5),
        photos(5),
        names(5),
        batch_size=2,
        progress=lambda done, total, note="": steps.append((done, total)),
    )
    assert steps == [(2, 5), (4, 5), (5, 5)]
    for empty in (attack, BullseyePolytope(iterations=2)):
        crafted = empty.craft(ENCODERS[:1], photos(0), photos(1), [])
        assert crafted.images.shape == (0, SIDE, SIDE, 3)
        assert crafted.table().empty
        assert "distance_after" in crafted.table()


BASES = photos(2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoders": []}, "no encoder"),
        ({"encoders": [toy_encoder(0), toy_encoder(0, 14)]}, "one input size"),
        ({"bases": BASES.astype(np.float32)}, r"bases are float32 \(2, 12, 12, 3\)"),
        ({"targets": photos(2, side=14)}, r"targets are uint8 \(2, 14, 14, 3\)"),
        ({"ids": ["a", "a"]}, "1 different ids for 2 bases"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"targets": photos(1)}, "2 bases and 1 targets"),
        ({"target_of": [0, 2]}, "a row from 0 to 1"),
        ({"target_of": [0]}, "do not belong together"),
    ],
)
@pytest.mark.parametrize(
    "attack", [FeatureCollision(iterations=1), BullseyePolytope(iterations=1)], ids=["collision", "bullseye"]
)
def test_what_cannot_be_crafted_is_refused(attack: PoisonAttack, changes: dict, message: str):
    given = {"encoders": ENCODERS[:1], "bases": BASES, "targets": BASES, "ids": names(2)} | changes
    with pytest.raises(PoisonError, match=message):
        attack.craft(
            given.pop("encoders"), given.pop("bases"), given.pop("targets"), given.pop("ids"), **given
        )


def test_the_poisons_of_a_target_must_fit_into_a_batch_where_they_are_crafted_together():
    order = {"target_of": [0, 0, 0], "batch_size": 2}
    with pytest.raises(PoisonError, match="target 0 has 3 poisons"):
        BullseyePolytope(iterations=1).craft(ENCODERS[:1], photos(3), photos(1), names(3), **order)
    FeatureCollision(iterations=1).craft(ENCODERS[:1], photos(3), photos(1), names(3), **order)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("collision", {"iterations": 0}),
        ("collision", {"beta": -1}),
        ("collision", {"opacity": 1}),
        ("collision", {"eps": 0}),
        ("collision", {"eps": 2.5}),
        ("collision", {"step": 0}),
        ("collision", {"noise": -1}),
        ("bullseye", {"iterations": 0}),
        ("bullseye", {"eps": 256}),
        ("bullseye", {"rate": 0}),
        ("bullseye", {"noise": -1}),
        ("frogs", {}),
    ],
)
def test_hyper_parameters_outside_their_range_are_refused(name, wrong):
    with pytest.raises(PoisonError, match=next(iter(wrong), "collision, bullseye")):
        POISON_ATTACKS.make(name, **wrong)


def test_printing_an_attack_prints_its_hyper_parameters():
    assert (
        repr(POISON_ATTACKS.make("bullseye", eps=8))
        == "BullseyePolytope(iterations=200, noise=0.0, eps=8, rate=2.0)"
    )
    assert {name for name in POISON_ATTACKS if is_crafted(name)} == {"collision", "bullseye"}
