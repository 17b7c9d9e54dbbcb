import numpy as np
import pytest
import torch

from mmer_core.attacks import (
    ClassifierVictim,
    DifferentialEvolution,
    DominantEmotionFlip,
    EncodedVictim,
    run_attack,
    write_changes,
)
from mmer_core.errors import AttackError

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
