"""The caption that a decoder finds most probable, of many photos at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from mmer_core.models.decoders.base import CaptionDecoder, State
from mmer_core.models.decoders.vocabulary import END, PADDING, START

POWER = 0.7
"""Log-probabilities are divided by the caption's length to this power, or short captions would win (Wu et al. 2016,
https://arxiv.org/abs/1609.08144, section 7)."""
_AT_ONCE = 2**25  # log-probabilities that are in memory at a time, for the photos of a block


@torch.inference_mode()
def write_captions(decoder: CaptionDecoder, images: Tensor, beam: int) -> list[str]:
    """The captions of photos ``images (N, D)``.

    Args:
        beam: Captions of a photo that are followed at a time; 1 always takes the most probable word.
    """
    block = max(1, _AT_ONCE // (beam * len(decoder.spec.vocabulary)))
    found: list[list[int]] = []
    for some in images.split(block):
        numbers = greedy(decoder, some) if beam == 1 else beam_search(decoder, some, beam)[0]
        found += numbers.cpu().tolist()
    vocabulary = decoder.spec.vocabulary
    return [vocabulary.decode(numbers) for numbers in found]


def greedy(decoder: CaptionDecoder, images: Tensor) -> Tensor:
    """``(B, L)`` numbers of words, each the most probable one after those before it; after the end, padding."""
    state, words = decoder.begin(images), _started(images, len(images))
    going = torch.ones_like(words, dtype=torch.bool)
    written = []
    for _ in range(decoder.spec.length):
        scores, state = decoder.next_words(state, words)
        words = scores.max(dim=1).indices  # of equal ones the first
        going = going & (words != END)
        written.append(torch.where(going, words, PADDING))
    return torch.stack(written, dim=1)


def beam_search(
    decoder: CaptionDecoder, images: Tensor, beam: int, power: float = POWER
) -> tuple[Tensor, Tensor]:
    """The best of the captions that a beam search meets, by log-probability over length to the power ``power``.

    A caption ends with `END`, which counts for its length, or after ``L`` words, where it is cut. Of every photo the ``beam``
    best beginnings go on, by log-probability; of equal ones those that come first, by beginning and then by number. All
    photos and beginnings are one batch, and nothing is read from the device on the way.

    Args:
        images: ``(B, D)``.

    Returns:
        ``(B, L)`` numbers of words, then padding; ``(B,)`` scores.
    """
    count, length = len(images), decoder.spec.length
    state = tuple(part.repeat_interleave(beam, dim=0) for part in decoder.begin(images))
    last = _started(images, count * beam)
    going = images.new_full((count, beam), -torch.inf)
    going[:, 0] = 0.0  # all beginnings are the same at first
    written = last.new_zeros((count, beam, 0))
    ended = images.new_full((count, beam), -torch.inf)
    captions = last.new_full((count, beam, length), PADDING)
    first = beam * torch.arange(count, device=images.device)[:, None]
    for place in range(1, length + 1):
        scores, state = decoder.next_words(state, last)
        total = going[..., None] + scores.unflatten(0, (count, beam))  # (B, beam, V)
        ended, captions = _kept(ended, captions, total[..., END] / place**power, written)
        total[..., END] = -torch.inf
        going, chosen = _best(total.flatten(1), beam)
        parent, words = chosen // total.shape[2], chosen % total.shape[2]
        written = torch.cat([_rows(written, parent), words[..., None]], dim=2)
        state = _follow(state, (first + parent).flatten())
        last = words.flatten()
    ended, captions = _kept(ended, captions, going / length**power, written)
    best = ended.max(dim=1)
    return _rows(captions, best.indices[:, None])[:, 0], best.values


def _started(images: Tensor, count: int) -> Tensor:
    return torch.full((count,), START, dtype=torch.int64, device=images.device)


def _follow(state: State, rows: Tensor) -> State:
    return tuple(part[rows] for part in state)


def _kept(ended: Tensor, captions: Tensor, scores: Tensor, written: Tensor) -> tuple[Tensor, Tensor]:
    """The best of the captions that ended before, with their scores, and of those that end now."""
    length = captions.shape[2]
    now = torch.nn.functional.pad(written, (0, length - written.shape[2]), value=PADDING)
    best, chosen = _best(torch.cat([ended, scores], dim=1), ended.shape[1])
    return best, _rows(torch.cat([captions, now], dim=1), chosen)


def _rows(table: Tensor, rows: Tensor) -> Tensor:
    """``(B, k, L)`` rows ``rows (B, k)`` of ``table (B, K, L)``."""
    return table.gather(1, rows[..., None].expand(-1, -1, table.shape[2]))


def _best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest of each row of ``scores (B, M)`` and where they are, descending; of equal ones the first,
    which ``topk`` does not promise."""
    left, values, places = scores.clone(), [], []
    for _ in range(count):
        best = left.max(dim=1, keepdim=True)
        values.append(best.values)
        places.append(best.indices)
        left.scatter_(1, best.indices, -torch.inf)
    return torch.cat(values, dim=1), torch.cat(places, dim=1)
