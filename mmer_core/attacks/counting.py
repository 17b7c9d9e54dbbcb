"""Random numbers by counting: each is a hash of what it is for, so it depends on no batch, no shard and no device.

The hash is SplitMix64's (Steele, Lea & Flood, *Fast Splittable Pseudorandom Number Generators*, 2014), in int64 tensors,
whose products wrap as those of unsigned numbers do.
"""

from __future__ import annotations

import hashlib
import json

from mmer_core.heavy import torch

_STEP, _FIRST, _SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
MANY = 512
"""Draws without replacement beyond which a sort of everything is cheaper than looking up what was drawn."""
_LARGEST_SORT = 2**22
"""Numbers that are sorted at a time."""


def key_of(seed: int, *what: str | int) -> int:
    """The key, of 64 bits with a sign, of a stream that is named by these values."""
    digest = hashlib.sha256(json.dumps([seed, *what]).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def mix(numbers: torch.Tensor) -> torch.Tensor:
    """SplitMix64's output for the states ``numbers``, int64 of any shape."""
    numbers = numbers + _STEP
    numbers = (numbers ^ _shifted(numbers, 30)) * _FIRST
    numbers = (numbers ^ _shifted(numbers, 27)) * _SECOND
    return numbers ^ _shifted(numbers, 31)


class Draws:
    """The random numbers of ``Q`` queries of ``n`` images; each call draws further ones.

    The ``j``-th number of the ``c``-th call, both from 0, is ``mix(mix(mix(key + query * step) + c * step) + j * step)``.

    Args:
        keys: ``(n,)`` int64, one stream an image.
        first: The number of the first query, one for all images or ``(n,)``.
        count: ``Q``; the queries follow each other.
    """

    def __init__(self, keys: torch.Tensor, first: int | torch.Tensor, count: int) -> None:
        if isinstance(first, torch.Tensor):
            first = first[:, None]
        queries = first + torch.arange(count, device=keys.device)
        self._base, self._calls = mix(keys[:, None] + queries * _STEP), 0  # (n, Q)

    def _call(self) -> torch.Tensor:
        """``(n, Q)`` int64: where the numbers of the next call begin."""
        step = (self._calls * _STEP + 2**63) % 2**64 - 2**63  # wrapped as a tensor's product is
        self._calls += 1
        return mix(self._base + step)

    def _words(self, count: int) -> torch.Tensor:
        """``(n, Q, count)`` int64, all 64 bits random."""
        base = self._call()
        return mix(base[..., None] + torch.arange(count, device=base.device) * _STEP)

    def bits(self, count: int) -> torch.Tensor:
        """``(n, Q, count)`` int64, uniform in 0..2^32-1."""
        return _shifted(self._words(count), 32)

    def below(self, high: int | torch.Tensor, count: int) -> torch.Tensor:
        """``(n, Q, count)`` int64, uniform in 0..high-1 up to high / 2^32; ``high`` may be a tensor of a shape that fits."""
        return scaled(self.bits(count), high)

    def unit(self, count: int) -> torch.Tensor:
        """``(n, Q, count)`` float32, uniform in [0, 1), of 24 bits."""
        return (self.bits(count) >> 8).float() / 2**24

    def distinct(self, count: int, high: torch.Tensor) -> torch.Tensor:
        """``(n, Q, count)`` int64: draws without replacement from 0..high-1, in random order, for ``high`` ``(n,)``.

        Where there are fewer, all come first, and what follows means nothing. Up to 512 are the first of a Fisher-Yates shuffle, of which only what was moved is looked up. More are the places
        of the smallest of ``high`` words.
        """
        high = high[:, None]  # (n, 1)
        if count > MANY:
            return self._sorted(count, high)
        bits = self.bits(count)
        if count == 1:
            return scaled(bits, high[..., None])
        numbers = torch.arange(count, device=bits.device)
        picks = numbers + scaled(bits, high[..., None] - numbers)
        found, moved = torch.empty_like(picks), torch.empty_like(picks)
        for i in range(count):
            found[..., i] = _at(picks[..., i], picks[..., :i], moved)
            moved[..., i] = _at(torch.full_like(picks[..., i], i), picks[..., :i], moved)
        return found.minimum(high[..., None] - 1)

    def _sorted(self, count: int, high: torch.Tensor) -> torch.Tensor:
        base = self._call()
        most = int(high.max())
        lanes = torch.arange(most, device=base.device)
        parts = []
        rows, limits = base.reshape(-1, 1), high.expand_as(base).reshape(-1, 1)
        step = max(1, _LARGEST_SORT // most)
        for start in range(0, len(rows), step):
            words = _shifted(mix(rows[start : start + step] + lanes * _STEP), 1)
            words = words.masked_fill(lanes >= limits[start : start + step], torch.iinfo(torch.int64).max)
            parts.append(words.argsort(dim=1, stable=True)[:, :count])
        return torch.cat(parts).view(*base.shape, -1).minimum(high[..., None] - 1)


def scaled(bits: torch.Tensor, high: int | torch.Tensor) -> torch.Tensor:
    """Numbers of 32 bits to 0..high-1."""
    return (bits * high) >> 32


def _at(position: torch.Tensor, picks: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    """What lies at a position ``(n, Q)`` of the shuffled numbers, after swaps with ``picks`` ``(n, Q, i)``."""
    done = picks.shape[-1]
    if not done:
        return position
    order = torch.arange(1, done + 1, device=picks.device)
    last = ((picks == position[..., None]) * order).amax(dim=-1)  # 0 where none
    there = moved[..., :done].gather(-1, (last - 1).clamp(min=0)[..., None])[..., 0]
    return torch.where(last > 0, there, position)


def _shifted(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """Shifted to the right, as unsigned."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)
