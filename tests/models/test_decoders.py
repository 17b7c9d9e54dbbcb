"""Decoders: the loss against its formula in numpy, word by word against whole captions, and the search against all captions
there are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.single_thread import one_thread
from torch import Tensor

from mmer_core.config.training import Decoder
from mmer_core.errors import ConfigError, DatasetError
from mmer_core.models.decoders import (
    DECODERS,
    CaptionDecoder,
    DecoderSpec,
    Vocabulary,
    build_decoder,
    caption_words,
    load_decoder,
    save_decoder,
    write_captions,
)
from mmer_core.models.decoders.base import State
from mmer_core.models.decoders.search import _best, beam_search, greedy
from mmer_core.models.decoders.vocabulary import END, LONGEST, PADDING, SPECIAL, START, UNKNOWN

__all__ = ["one_thread"]

KINDS = sorted(get_args(Decoder))
WORDS = ("a", "dog", "runs")
V = len(SPECIAL) + len(WORDS)


def decoder(kind: str, length: int = 4, seed: int = 0, sharp: float = 6.0) -> CaptionDecoder:
    """A small random one that is not undecided."""
    torch.manual_seed(seed)
    made = build_decoder(
        DecoderSpec(
            kind=kind,
            embedding=5,
            words=WORDS,
            length=length,
            weight=0.3,
            width=8,
            hidden=6,
            heads=2,
            dropout=0.5,
        )
    )
    with torch.no_grad():
        made.vectors.weight.mul_(sharp)
    return made.eval()


class Scripted(CaptionDecoder):
    """Gives the next word log-probabilities that depend on all words before it, by a table."""

    def __init__(self, logits: Tensor, length: int) -> None:
        super().__init__(
            DecoderSpec(kind="gru", embedding=1, words=WORDS, length=length, weight=0.3, width=V)
        )
        self.table = logits  # (V, V): the logits after each last word

    def hidden(self, images: Tensor, words: Tensor) -> Tensor:
        return self.table[words] + images[:, None]

    def begin(self, images: Tensor) -> State:
        return (images,)

    def step(self, state: State, words: Tensor) -> tuple[Tensor, State]:
        return self.table[words] + state[0], state

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden


def probabilities(made: CaptionDecoder, image: Tensor, before: Sequence[Sequence[int]]) -> np.ndarray:
    """``(n, V)`` log-probabilities after ``n`` beginnings of one length, computed from whole captions in float64, of words
    and the end alone."""
    words = torch.tensor([[START, *one] for one in before])
    with torch.no_grad():
        logits = made.logits(made.hidden(image.expand(len(words), -1), words))[:, -1].double().numpy()
    allowed = [END, *range(len(SPECIAL), V)]
    rest = np.full(logits.shape, -np.inf)
    rest[:, allowed] = logits[:, allowed] - np.log(np.exp(logits[:, allowed]).sum(axis=1, keepdims=True))
    return rest


def every_caption(made: CaptionDecoder, image: Tensor, power: float) -> dict[tuple[int, ...], float]:
    """The score of every caption there is: those that end, and those of full length."""
    length = made.spec.length
    going: dict[tuple[int, ...], float] = {(): 0.0}
    scores = {}
    for place in range(1, length + 1):
        after = dict(zip(going, probabilities(made, image, [*going]), strict=True))
        scores |= {one: (total + after[one][END]) / place**power for one, total in going.items()}
        words = range(len(SPECIAL), V)
        going = {(*one, word): total + after[one][word] for one, total in going.items() for word in words}
    return scores | {one: total / length**power for one, total in going.items()}


def slow_beam(made: CaptionDecoder, image: Tensor, beam: int, power: float) -> tuple[tuple[int, ...], float]:
    """Beam search of one photo with lists."""
    length = made.spec.length
    going: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    ended: list[tuple[float, tuple[int, ...]]] = []
    for place in range(1, length + 1):
        further = []
        known = probabilities(made, image, [caption for _, caption in going])
        for (total, caption), after in zip(going, known, strict=True):
            ended.append(((total + after[END]) / place**power, caption))
            further += [(total + after[word], (*caption, word)) for word in range(len(SPECIAL), V)]
        going = sorted(further, key=lambda one: -one[0])[:beam]
    ended += [(total / length**power, caption) for total, caption in going]
    score, caption = max(ended, key=lambda one: one[0])
    return caption, score


def test_the_kinds_that_can_be_configured_are_those_that_there_are() -> None:
    assert {*KINDS} == {*DECODERS}


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_mean_cross_entropy_without_padding(kind: str) -> None:
    made = decoder(kind)
    images = torch.randn(3, 5)
    captions = ["a dog runs", "dog", "a cat runs a dog"]
    words, lengths = made.spec.vocabulary.encode(captions)
    padding = torch.from_numpy(words == PADDING)
    (places,) = (~padding).flatten().nonzero(as_tuple=True)
    found = made.loss(images, torch.from_numpy(words), places).item()

    weight, bias = made.vectors.weight.detach().double().numpy(), made.bias.detach().double().numpy()
    losses = []
    for row, count in enumerate(lengths):
        numbers = words[row, :count].tolist()
        for at, number in enumerate(numbers):
            with torch.no_grad():
                hidden = made.hidden(images[row : row + 1], torch.tensor([[START, *numbers[:at]]]))
            logits = weight @ hidden[0, -1].double().numpy() + bias
            losses.append(np.log(np.exp(logits).sum()) - logits[number])
    assert len(losses) == 3 + 1 + 1 + 1 + 5 + 1
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_later_words_do_not_tell_earlier_ones(kind: str) -> None:
    made, images = decoder(kind), torch.randn(2, 5)
    words = torch.tensor([[START, 4, 5, 6], [START, 5, 5, 4]])
    other = words.clone()
    other[:, 2:] = 4
    assert torch.allclose(made.hidden(images, words)[:, :2], made.hidden(images, other)[:, :2], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_word_by_word_is_as_the_whole_caption(kind: str) -> None:
    made, images = decoder(kind), torch.randn(3, 5)
    words = torch.randint(len(SPECIAL), V, (3, 4))
    words[:, 0] = START
    with torch.no_grad():
        whole, state = made.hidden(images, words), made.begin(images)
        for at in range(4):
            one, state = made.step(state, words[:, at])
            assert torch.allclose(one, whole[:, at], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("power", [0.0, 0.7])
def test_a_beam_of_every_beginning_finds_the_best_of_all_captions(kind: str, power: float) -> None:
    for seed in range(2):
        made = decoder(kind, seed=seed)
        images = torch.randn(2, 5)
        captions, scores = beam_search(made, images, beam=3**4, power=power)
        for image, caption, score in zip(images, captions.tolist(), scores.tolist(), strict=True):
            every = every_caption(made, image, power)
            best = max(every, key=lambda one: every[one])
            assert score == pytest.approx(every[best], rel=1e-4)
            assert tuple(number for number in caption if number != PADDING) == best


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beam", [1, 2, 5])
def test_a_narrow_beam_is_as_one_with_lists(kind: str, beam: int) -> None:
    for seed in range(2):
        made = decoder(kind, length=5, seed=seed)
        images = torch.randn(2, 5)
        captions, scores = beam_search(made, images, beam)
        for image, caption, score in zip(images, captions.tolist(), scores.tolist(), strict=True):
            expected, best = slow_beam(made, image, beam, 0.7)
            assert score == pytest.approx(best, rel=1e-4)
            assert tuple(number for number in caption if number != PADDING) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_takes_the_most_probable_word(kind: str) -> None:
    ends = set()
    for seed in range(3):
        made = decoder(kind, length=5, seed=seed)
        images = torch.randn(3, 5)
        for image, caption in zip(images, greedy(made, images).tolist(), strict=True):
            expected: list[int] = []
            while len(expected) < 5:
                word = int(probabilities(made, image, [expected]).argmax())
                if word == END:
                    break
                expected.append(word)
            ends.add(len(expected))
            assert caption == expected + [PADDING] * (5 - len(expected))
    assert len(ends) > 1  # some were cut, or all would be


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.lists(st.integers(-2, 1), min_size=V, max_size=V), min_size=V, max_size=V), st.integers(1, 4)
)
def test_of_equal_captions_it_is_always_the_same_one(table: list[list[int]], beam: int) -> None:
    """Whole numbers make ties; a photo alone, or in a batch, has the same caption, and it is one of the best."""
    made = Scripted(torch.tensor(table).float(), length=3)
    images = torch.zeros(3, 1)
    captions, scores = beam_search(made, images, beam, power=0.0)
    alone, score = beam_search(made, images[:1], beam, power=0.0)
    assert torch.equal(captions, alone.expand(3, -1))
    assert torch.equal(scores, score.expand(3))
    assert np.isfinite(scores.numpy()).all()


@given(
    st.lists(st.lists(st.sampled_from([0.0, 1.0, -np.inf]), min_size=6, max_size=6), min_size=1, max_size=4)
)
def test_the_best_are_in_order_and_of_equal_ones_the_first(rows: list[list[float]]) -> None:
    values, places = _best(torch.tensor(rows), 3)
    for row, value, place in zip(rows, values.tolist(), places.tolist(), strict=True):
        expected = sorted(range(6), key=lambda at: (-row[at], at))[:3]
        assert value == [row[at] for at in expected]
        finite = [at for at in expected if np.isfinite(row[at])]
        assert place[: len(finite)] == finite


@pytest.mark.parametrize("beam", [1, 3])
def test_many_photos_are_written_in_blocks(beam: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made, images = decoder("gru"), torch.randn(7, 5)
    whole = write_captions(made, images, beam)
    monkeypatch.setattr("mmer_core.models.decoders.search._AT_ONCE", 2 * beam * V)
    assert write_captions(made, images, beam) == whole
    assert len({*whole}) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_is_what_it_was_after_a_visit_to_disk(kind: str, tmp_path: Path) -> None:
    made, images = decoder(kind), torch.randn(4, 5)
    save_decoder(made, tmp_path)
    again = load_decoder(tmp_path)
    assert again.spec == made.spec
    assert not again.training
    assert write_captions(again, images, 2) == write_captions(made, images, 2)


def test_a_folder_without_a_decoder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no decoder.*--training\.decoder gru"):
        load_decoder(tmp_path)


def test_weights_of_another_decoder_are_refused(tmp_path: Path) -> None:
    save_decoder(decoder("gru"), tmp_path)
    spec = json.loads((tmp_path / "decoder.json").read_text())
    (tmp_path / "decoder.json").write_text(json.dumps(spec | {"hidden": 7}))
    with pytest.raises(ConfigError, match="train the model again"):
        load_decoder(tmp_path)


def test_the_vocabulary_is_of_words_that_occur_twice() -> None:
    known = Vocabulary.of(["A dog runs .", "The dog's bone, a DOG", "well-known dogs' bone"])
    assert known.words == ("a", "bone", "dog")
    assert len(known) == len(SPECIAL) + 3
    assert caption_words("The dog's well-known trick: 3 'balls'!") == [
        *("the", "dog's", "well", "known", "trick", "3", "balls")
    ]


def test_captions_are_numbers_and_back() -> None:
    known = Vocabulary(("a", "dog"))
    words, lengths = known.encode(["A dog!", "the dog", ""])
    assert words.tolist() == [[4, 5, END], [UNKNOWN, 5, END], [END, PADDING, PADDING]]
    assert lengths.tolist() == [3, 3, 1]
    assert [known.decode(row) for row in words.tolist()] == ["a dog", "", ""]
    assert known.decode([5, 4, PADDING, PADDING]) == "dog a"


def test_a_long_caption_is_cut_and_does_not_end() -> None:
    words, lengths = Vocabulary(("a",)).encode(["a " * (LONGEST + 3), "a " * LONGEST])
    assert lengths.tolist() == [LONGEST, LONGEST + 1]
    assert words[0].tolist() == [4] * LONGEST + [PADDING]
    assert words[1].tolist() == [4] * LONGEST + [END]


def test_without_a_word_that_occurs_twice_there_is_no_vocabulary() -> None:
    with pytest.raises(DatasetError, match="no word occurs 2 times in the 2 training captions"):
        Vocabulary.of(["one dog", "two cats"])
