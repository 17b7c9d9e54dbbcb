"""How often steps of training, of the linear probe and of the search for captions may wait for a device, or copy to it."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from support.on_device import CUDA, REAL
from support.simulated_cuda import Counts
from support.single_thread import one_thread
from support.toy_training import config, emotion_data, retrieval_data, spec

from mmer_core.models import build_model
from mmer_core.models.decoders import DecoderSpec, build_decoder, write_captions
from mmer_core.objectives.bce import BinaryCrossEntropy
from mmer_core.training import linear_probe
from mmer_core.training.emotion_learner import EmotionLearner
from mmer_core.training.loop import fit, initialisation
from mmer_core.training.retrieval_learner import RetrievalLearner

__all__ = ["one_thread"]

pytestmark = pytest.mark.skipif(REAL, reason="a real device is not counted")


@pytest.fixture(autouse=True)
def short_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the linear probes end does not matter here."""
    monkeypatch.setattr(linear_probe, "_STEPS", 3)


class Interrupted(Exception):
    pass


def asked_by_an_epoch(
    task: str, family: str, fields: dict[str, object], checkpoints: Path, counts: Counts
) -> Counts:
    """What a training asked of the device that goes on for an epoch, after it was interrupted."""
    learned = EmotionLearner if task == "emotion" else RetrievalLearner
    data = emotion_data if task == "emotion" else retrieval_data
    asked = config(epochs=2, **fields)
    spent: list[Counts] = []

    def after_epoch(epoch: int, *_: object) -> None:
        spent.append(counts.since(before))
        if epoch == 1:
            raise Interrupted

    for interrupted in (pytest.raises(Interrupted), nullcontext()):
        with initialisation(0):
            model = build_model(spec(task, family)).to(CUDA)
        learner = learned(model, *(data(64, seed).to(CUDA) for seed in (1, 2)), asked)
        before = counts.copy()
        with interrupted:
            fit(learner, asked, device=CUDA, checkpoints=checkpoints, progress=after_epoch)
    return spent[-1]


STEP = {
    ("emotion", "separate"): 6,  # rows, who lost which stream, and who learns from each of three
    ("emotion", "joint"): 3,
    ("retrieval", "separate"): 3,  # photos, captions, and whose they are
    ("retrieval", "joint"): 3,
}
DECODER = 1
"""And where a decoder is trained, which numbers of its captions are no padding."""

"""Copies to the device that a step of training may make."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("task", "family", "precision", "decoder"),
    [
        *((*which, "float32", None) for which in STEP),
        ("emotion", "joint", "bfloat16", None),
        ("retrieval", "separate", "float16", None),
        ("retrieval", "separate", "float32", "gru"),
        ("retrieval", "joint", "bfloat16", "transformer"),
    ],
)
def test_a_step_of_training_does_not_wait(
    counts: Counts, task: str, family: str, precision: str, decoder: str | None, tmp_path: Path
) -> None:
    """But with float16 once, to see whether gradients are finite; also after a resume, and with other sizes of batches."""
    spent = [
        asked_by_an_epoch(
            *(task, family, {"precision": precision, "batch_size": size, "decoder": decoder}),
            *(tmp_path / str(size), counts),
        )
        for size in (8, 4)  # 8 and 16 steps an epoch
    ]
    more = spent[1].since(spent[0])  # of 8 more steps
    assert more.waits <= (8 if precision == "float16" else 0), more.places
    assert more.to_device <= 8 * (STEP[task, family] + (DECODER if decoder else 0)), more.places
    places = spent[1].places
    once = sum(
        count
        for (kind, place), count in places.items()
        if kind == "waits" and ("to_device", place) not in places  # where the checkpoint is read
    )
    assert once <= 16 + 8 * more.waits // 4, places  # validation, and the end of the training


PROBE_WAITS = 24
"""Of a step of the linear probe, which reads all of train twice: PyTorch's L-BFGS compares its numbers on the host."""


def test_a_step_of_the_probe_has_a_budget(counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = (emotion_data(64, seed).to(CUDA) for seed in (1, 2))
    widths = {name: rows.shape[1] for name, rows in train.streams.items()}
    spent = []
    for steps in (3, 13):
        monkeypatch.setattr(linear_probe, "_STEPS", steps)
        before = counts.copy()
        linear_probe.fit_probe(train, val, widths, BinaryCrossEntropy(), (1.0,))
        spent.append(counts.since(before))
    more = spent[1].since(spent[0])  # of 10 more steps
    assert more.waits <= 10 * PROBE_WAITS, more.places
    assert more.to_device == 0, more.places


@pytest.mark.parametrize("kind", ["gru", "transformer"])
@pytest.mark.parametrize("beam", [1, 3])
def test_captions_are_searched_for_without_a_wait(counts: Counts, kind: str, beam: int) -> None:
    """But for the one in which they are read."""
    torch.manual_seed(0)
    fields = {"embedding": 5, "weight": 0.3, "width": 8, "hidden": 6, "heads": 2}
    decoder = build_decoder(DecoderSpec(kind=kind, words=("a", "dog"), length=6, **fields)).eval()
    images = torch.randn(4, 5)
    expected = write_captions(decoder, images, beam)
    decoder.to(CUDA)
    images = images.to(CUDA)
    before = counts.copy()
    assert write_captions(decoder, images, beam) == expected
    assert counts.since(before).waits == 1, counts.since(before).places
    assert counts.since(before).to_device == 0, counts.since(before).places
