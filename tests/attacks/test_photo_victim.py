"""Attacks on photos of several sizes, of which a model reads the whole and a crop."""

from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from support.attack_table import ROWS
from support.incremental_helpers import draw_candidates
from torch import nn

from mmer_core.attacks import (
    ATTACKS,
    Candidates,
    DominantEmotionFlip,
    apply,
    photo_victim,
    run_attack,
    write_changes,
)
from mmer_core.attacks.photo_victim import Photos, PhotoVictim
from mmer_core.datasets.photos import as_photo
from mmer_core.encoders.base import ImageEncoder, Preprocessing
from mmer_core.encoders.mirror import mirrored

SIDES = {"context": 20, "body": 16}
SIZES = [(25, 33), (40, 21), (25, 33)]
BOXES = [(3, 2, 30, 20), (0, 10, 21, 40), (20, 20, 24, 24)]


@cache
def encoder(interpolation: str = "bilinear", mirror: bool = False) -> ImageEncoder:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(),
    )  # fmt: skip
    preprocessing = Preprocessing(24, (120.0,) * 3, (60.0,) * 3, interpolation)
    plain = ImageEncoder("toy", module, preprocessing, width=32)
    return mirrored(plain) if mirror else plain


def victim(encoder: ImageEncoder, protocol: str = "corrected", sizes=SIZES) -> PhotoVictim:
    rng = np.random.default_rng(1)
    pixels = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    torch.manual_seed(1)
    heads = {stream: torch.randn(32, 5) for stream in SIDES}
    own = torch.randn(3, 5) / 10

    def head(features: dict[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
        return sum(features[stream] @ heads[stream] for stream in SIDES) + own[rows]

    return PhotoVictim(Photos(pixels, BOXES[: len(pixels)], protocol), SIDES, encoder, head)


def whole(made: PhotoVictim, encoder: ImageEncoder, photo: np.ndarray, row: int) -> torch.Tensor:
    """Scores of a photo, prepared, resized and read by hand."""
    features = {}
    for stream, side in SIDES.items():
        box = BOXES[row] if stream == "body" else None
        square = as_photo(photo, made._photos.protocol).square(side, box)
        features[stream] = encoder.encode(encoder.resize(square[None]))
    return made._head(features, torch.tensor([row]))[0]


@pytest.mark.parametrize(("pixels", "few"), [(1, 576), (3, 576), (1, 16)])
@pytest.mark.parametrize(
    ("interpolation", "protocol", "view"),
    [("bilinear", "corrected", False), ("bicubic", "mat2py", True)],
)
def test_candidates_are_judged_as_the_photos_that_they_make(
    interpolation, protocol, view, pixels, few, monkeypatch
) -> None:
    read = encoder(interpolation, view)
    made = victim(read, protocol)
    for most in (1, 4, 16, 64, 256, 576):
        made._planner.use(most, made._planner.cuts[0])  # not densely, though these networks are tiny
    monkeypatch.setattr(photo_victim, "FEW", few)
    ways = {made._most(stream, row, pixels) for stream, row in product(SIDES, range(3))}
    assert (None in ways) == (few < 576), "densely, or incrementally"
    parts = [draw_candidates(size, 7, pixels, row) for row, size in enumerate(SIZES)]
    rows = np.repeat(np.arange(3), 7)
    candidates = Candidates(
        torch.cat([part.places for part in parts]), torch.cat([part.colours for part in parts])
    )
    found = made.candidate_scores(torch.empty(0), torch.from_numpy(rows), candidates)
    for number, row in enumerate(rows):
        photo = apply(made._photos.pixels[row][None], candidates[number : number + 1])[0]
        expected = whole(made, read, photo, row)
        torch.testing.assert_close(found[number], expected, rtol=1e-4, atol=1e-4)
        alone = made.scores(torch.from_numpy(photo[None]), torch.tensor([row]))[0]
        torch.testing.assert_close(alone, expected, rtol=0, atol=0)
    clean = torch.stack([whole(made, read, photo, row) for row, photo in enumerate(made._photos.pixels)])
    torch.testing.assert_close(made.clean_scores(), clean, rtol=1e-6, atol=1e-6)
    assert (found - clean[rows]).abs().max() > 0.01


@pytest.mark.parametrize("protocol", ["corrected", "mat2py"])
def test_the_gradient_goes_through_crop_and_resize(protocol: str) -> None:
    made = victim(encoder("bicubic", protocol == "mat2py"), protocol)
    criterion = DominantEmotionFlip(made.clean_scores().argmax(dim=1).numpy())
    photo = made._photos.pixels[0]
    gradients = made.gradients(criterion, 0)
    margin, slope = gradients.margin(photo.astype(np.float32))
    direction = np.random.default_rng(0).standard_normal(photo.shape).astype(np.float32)
    ahead, behind = (gradients.margin(photo + step * direction)[0] for step in (0.02, -0.02))
    assert (slope * direction).sum() == pytest.approx((ahead - behind) / 0.04, rel=0.02)
    scores = whole(made, made._encoder, photo, 0)
    ordered = scores.sort(descending=True).values
    assert margin == pytest.approx(float(ordered[0] - ordered[1]), abs=0.05)  # but for the rounding to 8 bits
    candidates = draw_candidates(SIZES[0], 9, 1, 0)
    y, x = candidates.positions(photo.shape[1])[:, 0].numpy().T
    expected = margin + (slope[y, x] * (candidates.colours[:, 0].numpy().astype(float) - photo[y, x])).sum(
        axis=1
    )
    np.testing.assert_allclose(gradients.screen(photo, candidates), expected, rtol=1e-4)


@pytest.mark.parametrize("attack", [row.attack for row in ROWS], ids=repr)
def test_every_attack_goes_with_photos_of_several_sizes(attack) -> None:
    made = victim(encoder())
    clean = made.clean_scores().argmax(dim=1).numpy()
    together = run(made, clean, attack, made._photos.pixels, [0, 1, 2])
    assert {one.status for one in together} <= {"fooled", "resisted"}
    for row, (outcome, photo) in enumerate(zip(together, made._photos.pixels, strict=True)):
        attacked = write_changes(photo, outcome.changed)
        assert (attacked != photo).any(axis=2).sum() == len(outcome.changed) <= 12
        scores = whole(made, made._encoder, attacked, row)
        others = torch.cat([scores[: clean[row]], scores[clean[row] + 1 :]])
        assert outcome.final_margin == pytest.approx(float(scores[clean[row]] - others.max()), abs=1e-5)
        assert (outcome.status == "fooled") == (int(scores.argmax()) != clean[row])


def run(made: PhotoVictim, clean, attack, photos, rows):
    criterion = DominantEmotionFlip(clean)
    return run_attack(made, criterion, attack, photos, [f"photo {row}" for row in rows], pixels=12, budget=40)


def test_who_is_attacked_together_changes_nothing() -> None:
    made, attack = victim(encoder()), ATTACKS["sparse-rs"]()
    clean = made.clean_scores().argmax(dim=1).numpy()
    together = run(made, clean, attack, made._photos.pixels, [0, 1, 2])
    assert (
        together[0]
        == run(victim(encoder(), sizes=SIZES[:1]), clean[:1], attack, made._photos.pixels[:1], [0])[0]
    )
