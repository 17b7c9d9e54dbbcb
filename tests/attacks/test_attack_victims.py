import numpy as np
import pytest
import torch

from mmer_core.attacks import (
    ClassifierVictim,
    DifferentialEvolution,
    DominantEmotionFlip,
    EncodedVictim,
    IncrementalVictim,
    RandomPixels,
    apply,
    run_attack,
    write_changes,
)
from mmer_core.attacks.candidates import from_flat
from mmer_core.encoders.base import ImageEncoder, Preprocessing
from mmer_core.encoders.mirror import mirrored
from mmer_core.errors import AttackError
from mmer_core.incremental.encoded import evaluator_of, planner_of

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def small_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.5),
        torch.nn.AdaptiveMaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(32, 5),
    )


def test_a_classifier_reads_normalised_pixels_channel_by_channel():
    class Spy(torch.nn.Module):
        def forward(self, pixels):
            return pixels.flatten(1)

    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), dtype=np.uint8)
    victim = ClassifierVictim(Spy(), MEAN, STD, size=(3, 4))
    scores = victim.scores(torch.from_numpy(images), torch.tensor([0, 1])).reshape(2, 3, 3, 4)
    for c in range(3):
        assert np.allclose(scores[:, c], (images[..., c] / 255 - MEAN[c]) / STD[c], atol=1e-6)
    assert scores.dtype == torch.float32


def test_a_torch_classifier_is_attacked_from_end_to_end():
    network = small_network()
    images = np.random.default_rng(1).integers(110, 146, (6, 12, 12, 3), dtype=np.uint8)

    def logits(batch: np.ndarray) -> torch.Tensor:
        pixels = torch.tensor(batch.transpose(0, 3, 1, 2) / 255, dtype=torch.float32)
        with torch.no_grad():
            return network.eval()(
                (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
            )

    victim = ClassifierVictim(network.train(), MEAN, STD, size=(12, 12))
    clean = logits(images).argmax(1)
    outcomes = run_attack(
        victim,
        DominantEmotionFlip(clean.numpy()),
        DifferentialEvolution(population=20),
        images,
        [str(i) for i in range(6)],
        pixels=3,
        budget=400,
    )
    assert {o.status for o in outcomes} == {"fooled", "resisted"}
    for row, outcome in enumerate(outcomes):
        top = int(logits(write_changes(images[row], outcome.changed)[None]).argmax())
        assert outcome.clean_top == clean[row]
        assert outcome.final_top == top
        assert (outcome.status == "fooled") == (top != clean[row])


@pytest.mark.parametrize(("mean", "std"), [((0.5,), STD), (MEAN, (0.2, 0.2)), (MEAN, (0.2, 0.0, 0.2))])
def test_normalisation_that_cannot_be_is_refused(mean, std):
    with pytest.raises(AttackError, match="three numbers"):
        ClassifierVictim(torch.nn.Identity(), mean, std, size=(2, 2))


def test_an_encoded_victim_looks_up_what_the_attack_does_not_touch_by_row():
    class MeanColour:
        size = (2, 2)

        def encode(self, images):
            return images.double().mean(dim=(1, 2))  # (B, 3)

    texts = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    victim = EncodedVictim(MeanColour(), lambda features, rows: (features * texts[rows]).sum(1, keepdim=True))
    images = torch.zeros(2, 2, 2, 3, dtype=torch.uint8)
    images[0, ..., 2], images[1, ..., 0] = 8, 4
    assert victim.size == (2, 2)
    scores = victim.scores(images, torch.tensor([2, 0]))
    assert scores.tolist() == [[8.0], [4.0]]
    assert scores.dtype == torch.float32
    assert not scores.requires_grad


def images_and_candidates(count: int, pixels: int):
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)
    places = rng.integers(0, 144, (count, pixels))
    return images, from_flat(places, rng.integers(0, 256, (count, pixels, 3), dtype=np.uint8))


@pytest.mark.parametrize("method", ["auto", "dense", "incremental"])
def test_a_classifier_scores_candidates_as_it_scores_their_images(method):
    victim = ClassifierVictim(small_network(), MEAN, STD, size=(12, 12), method=method)
    images, candidates = images_and_candidates(20, 2)
    clean, rows = torch.from_numpy(images), torch.arange(20) % 3
    expected = victim.scores(apply(clean[rows], candidates), rows)
    assert torch.allclose(victim.candidate_scores(clean, rows, candidates), expected, rtol=1e-4, atol=1e-5)
    assert (victim.planner.plan(2).cut is not None) == (method == "incremental")


def test_a_network_that_views_its_maps_is_a_victim_by_every_method():
    class Viewing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.head = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(36, 5)

        def forward(self, x):
            batch = x.size(0)
            return self.head(torch.nn.functional.adaptive_avg_pool2d(self.convolution(x), 3).view(batch, -1))

    torch.manual_seed(0)
    network = Viewing()
    images, candidates = images_and_candidates(20, 2)
    clean, rows = torch.from_numpy(images), torch.arange(20) % 3
    for method, cut in (("dense", None), ("incremental", "convolution")):
        victim = ClassifierVictim(network, MEAN, STD, size=(12, 12), method=method, runtime="torch")
        expected = victim.scores(apply(clean[rows], candidates), rows)
        assert torch.allclose(
            victim.candidate_scores(clean, rows, candidates), expected, rtol=1e-4, atol=1e-5
        )
        assert victim.planner.plan(2).cut == cut


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("method", ["incremental", "auto"])
def test_an_encoded_victim_scores_candidates_as_it_scores_their_images(method, mirror):
    encoder = ImageEncoder("net", small_network(), Preprocessing(12, (100.0,) * 3, (60.0,) * 3), width=5)
    weights = torch.rand(3, 5)
    encoder = mirrored(encoder) if mirror else encoder
    evaluator = evaluator_of(encoder)
    if method == "incremental":
        planner_of(encoder).use(2, planner_of(encoder).cuts[0])
    victim = IncrementalVictim(encoder, lambda features, rows: features * weights[rows], evaluator)
    images, candidates = images_and_candidates(20, 2)
    clean, rows = torch.from_numpy(images), torch.arange(20) % 3
    expected = victim.scores(apply(clean[rows], candidates), rows)
    assert torch.allclose(victim.candidate_scores(clean, rows, candidates), expected, rtol=1e-4, atol=1e-5)
    other = clean.flip(0).contiguous()
    expected = victim.scores(apply(other[rows], candidates), rows)
    assert torch.allclose(victim.candidate_scores(other, rows, candidates), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lie", [-1.0, 1.0])
def test_a_success_is_one_only_if_the_plain_scores_say_so(lie):
    """Candidate scores that are wrong by so much that every candidate succeeds, or none."""

    class Optimist(ClassifierVictim):
        def candidate_scores(self, images, rows, candidates):
            scores = self.scores(apply(images[rows], candidates), rows)
            return scores + lie * 1e6 * torch.nn.functional.one_hot(clean[rows], scores.shape[1])

    images = np.random.default_rng(1).integers(110, 146, (4, 12, 12, 3), dtype=np.uint8)
    honest = ClassifierVictim(small_network(), MEAN, STD, size=(12, 12))
    clean = honest.scores(torch.from_numpy(images), torch.arange(4)).argmax(1)
    outcomes = run_attack(
        Optimist(small_network(), MEAN, STD, size=(12, 12)),
        DominantEmotionFlip(clean.numpy()),
        RandomPixels(),
        images,
        list("abcd"),
        pixels=1,
        budget=30,
    )
    for row, outcome in enumerate(outcomes):
        attacked = torch.from_numpy(write_changes(images[row], outcome.changed)[None])
        flipped = int(honest.scores(attacked, torch.tensor([0])).argmax()) != int(clean[row])
        assert (outcome.status == "fooled") == flipped
        assert (outcome.unconfirmed > 0) == (lie < 0 and not flipped)


def test_more_images_than_the_victim_likes_at_once_are_attacked_in_turn():
    asked: list[set[int]] = []

    class Narrow(ClassifierVictim):
        def images_at_once(self, pixels):
            return 2

        def candidate_scores(self, images, rows, candidates):
            asked.append(set(rows.tolist()))
            return super().candidate_scores(images, rows, candidates)

    images = np.random.default_rng(1).integers(110, 146, (6, 12, 12, 3), dtype=np.uint8)
    runs = []
    for kind in (Narrow, ClassifierVictim):
        victim = kind(small_network(), MEAN, STD, size=(12, 12))
        clean = victim.scores(torch.from_numpy(images), torch.arange(6)).argmax(1)
        criterion = DominantEmotionFlip(clean.numpy())
        runs.append(
            run_attack(victim, criterion, RandomPixels(), images, list("abcdef"), pixels=2, budget=40)
        )
    assert runs[0] == runs[1]
    assert max(len(rows) for rows in asked) == 2
    assert set().union(*asked) == {row for row in range(6) if runs[0][row].queries}
