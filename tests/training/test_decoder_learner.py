"""A decoder that is trained with either retrieval model."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from support.toy_training import CPU, config, learner, same

from mmer_core.errors import DatasetError
from mmer_core.models.decoders import Vocabulary, write_captions
from mmer_core.models.decoders.vocabulary import END, PADDING
from mmer_core.training.loop import fit
from mmer_core.training.retrieval_learner import RetrievalLearner

ROWS = torch.arange(12)
BOTH = [("separate", "gru"), ("joint", "transformer")]
FAMILIES = ("separate", "joint")


class Killed(Exception):
    pass


def writing(family: str, decoder: str, start: int | None = None, **fields: object) -> RetrievalLearner:
    made = learner("retrieval", family, config(decoder=decoder, **fields), start=start)
    assert isinstance(made, RetrievalLearner)
    return made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("weight", [0.3, 0.7])
def test_losses_are_weighted(family: str, weight: float) -> None:
    """And that of the captions is their words' cross-entropy, each caption read alone and without padding."""
    plain, one = learner("retrieval", family, config()), writing(family, "gru", caption_weight=weight)
    found = []
    for each in (plain, one):
        each.state.eval()
        torch.manual_seed(3)
        found.append(each.losses(ROWS))
    for name, loss in found[0].items():
        torch.testing.assert_close(found[1][name], (1 - weight) * loss)
    assert found[1].keys() - found[0].keys() == {"captions"}

    decoder = one.decoder
    assert decoder is not None
    words, lengths = decoder.spec.vocabulary.encode(one.train.captions)
    total, count = 0.0, 0
    for text, photo in enumerate(one.train.text_image.tolist()):
        if photo >= len(ROWS):
            continue  # every photo has two captions, which are all shown
        numbers = torch.from_numpy(words[text : text + 1, : lengths[text]])
        assert not (numbers == PADDING).any()
        seen = one.model.own_image_embedding(one.train.images[photo : photo + 1])
        own = decoder.loss(seen, numbers, torch.arange(int(lengths[text])))
        total, count = total + lengths[text] * own.item(), count + lengths[text]
    assert found[1]["captions"].item() == pytest.approx(weight * total / count, rel=1e-4)


def test_the_validation_loss_is_of_all_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmer_core.training.retrieval_learner._CAPTIONS_AT_ONCE", 7)
    one = writing("joint", "gru")
    one.state.eval()
    decoder = one.decoder
    assert decoder is not None
    words, lengths = decoder.spec.vocabulary.encode(one.val.captions)
    losses = []
    for text, photo in enumerate(one.val.text_image.tolist()):
        numbers = torch.from_numpy(words[text : text + 1, : lengths[text]])
        seen = one.model.own_image_embedding(one.val.images[photo : photo + 1])
        losses.append(decoder.loss(seen, numbers, torch.arange(int(lengths[text]))).item())
    assert one.validate()["caption_loss"] == pytest.approx(np.average(losses, weights=lengths), rel=1e-4)


def test_words_start_from_how_often_they_are_written() -> None:
    one = writing("joint", "gru")
    assert one.decoder is not None
    words = one.decoder.spec.vocabulary
    rows, lengths = words.encode(one.train.captions)
    counts = Counter(
        number for row, length in zip(rows, lengths, strict=True) for number in row[:length].tolist()
    )
    assert counts[END] == len(one.train.captions)
    shares = [(counts[number] + 1) / (counts.total() + len(words)) for number in range(len(words))]
    torch.testing.assert_close(one.decoder.bias.softmax(dim=0), torch.tensor(shares))


def test_words_are_those_of_the_training_captions_alone() -> None:
    one = writing("joint", "gru")
    assert one.decoder is not None
    assert one.decoder.spec.words == Vocabulary.of(one.train.captions).words
    longest = max(len(caption.split()) for caption in one.train.captions)
    assert 1 <= one.decoder.spec.length <= longest + 1


@pytest.mark.parametrize(("family", "decoder"), BOTH)
def test_captions_reach_the_photos_embedding(family: str, decoder: str) -> None:
    one = writing(family, decoder)
    one.losses(ROWS)["captions"].backward()
    reached = {
        name.split(".")[0] for name, p in one.model.named_parameters() if p.grad is not None and p.grad.any()
    }
    assert reached == {"image"}  # neither the text's projection nor the map of the separate model


@pytest.mark.parametrize(("family", "decoder"), BOTH)
def test_a_training_killed_after_every_epoch_ends_as_if_it_never_was(
    family: str, decoder: str, tmp_path: Path
) -> None:
    training = config(decoder=decoder, epochs=2)
    whole = writing(family, decoder, epochs=2)
    expected = fit(whole, training, device=CPU)

    def killer(done: int, total: int, note: str = "") -> None:
        raise Killed

    for epoch in range(2):
        resumed = writing(family, decoder, epochs=2, start=None if epoch == 0 else 99)
        with pytest.raises(Killed):
            fit(resumed, training, device=CPU, checkpoints=tmp_path, progress=killer)
    resumed = writing(family, decoder, epochs=2, start=99)
    assert fit(resumed, training, device=CPU, checkpoints=tmp_path).history == expected.history
    assert same(resumed.state, whole.state)


@pytest.mark.long
@pytest.mark.parametrize(("family", "decoder"), BOTH)
def test_it_learns_to_write_what_a_photo_shows(family: str, decoder: str) -> None:
    """Words are there where a hidden number is positive; a decoder that does not see the photo cannot tell."""
    training = {"epochs": 14, "patience": 14, "batch_size": 50, "learning_rate": 1e-2}
    one = writing(family, decoder, **training)
    history = fit(one, config(decoder=decoder, **training), device=CPU).history
    losses = [row["val_caption_loss"] for row in history]
    assert min(losses) < 0.6 * losses[0]
    assert one.decoder is not None
    images = one.model.own_image_embedding(one.val.images)
    truth = dict(zip(one.val.text_image.tolist(), one.val.captions, strict=True))

    def shared(written: list[str], shift: int) -> float:
        pairs = [
            ({*written[row].split()}, {*truth[(row + shift) % len(written)].split()})
            for row in range(len(written))
        ]
        return float(np.mean([len(a & b) / len(a | b) for a, b in pairs]))

    written = write_captions(one.decoder, images, 3)
    assert shared(written, 0) > shared(written, 7) + 0.2  # others' captions


def test_captions_without_a_word_that_occurs_twice_are_refused() -> None:
    one = learner("retrieval", "joint", config())
    captions = [f"word{number}" for number in range(len(one.train.captions))]
    data = type(one.train)(one.train.images, one.train.texts, one.train.text_image, captions)
    with pytest.raises(DatasetError, match=r"leave training\.decoder out"):
        RetrievalLearner(one.model, data, one.val, config(decoder="gru", contrastive="grouped_infonce"))
