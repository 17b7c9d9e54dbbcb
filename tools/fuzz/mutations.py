"""Ways to spoil a file: blindly, in its text, and with its checksums put right again."""

import gzip
import zlib
from collections.abc import Callable
from random import Random

_BYTES = (b"\0", b"\x01", b"\x7f", b"\x80", b"\xff", b"\n", b'"', b"{")
_NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63,
    2**64 - 1,
)
_WORDS = (
    '"', '""', "'", ",", ";", "\t", "\n", "\r", "\r\n", "\0", "\ufeff", "\u2028", "\u202e", "😀", "\ud800", "../", "/",
    "\\", "%00", "NaN", "Infinity", "-1", "1e999", "9" * 400, "null", "true", "[", "]", "{", "}", "[" * 5000, ":", "#",
    "a" * 300, "a" * 140_000, "&a [*a, *a]", "!!python/object/apply:os.abort []", "=1+1", "\x1b[2J", "\udcff",
)  # fmt: skip

Seal = Callable[[bytes], bytes]
"""Puts checksums right, so that damage gets past them."""


def mutated(data: bytes, others: list[bytes], random: Random) -> bytes:
    """The data with one to six changes; ``others`` are spliced in."""
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        data = random.choice(_MUTATIONS)(data, others, random)
    return data


def _flip(data: bytes, others: list[bytes], random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 4))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _byte(data: bytes, others: list[bytes], random: Random) -> bytes:
    return _over(data, _place(data, random), random.choice(_BYTES) * random.choice((1, 2, 16)))


def _number(data: bytes, others: list[bytes], random: Random) -> bytes:
    width = random.choice((2, 4, 8))
    value = random.choice(_NUMBERS) % 2 ** (8 * width)
    return _over(data, _place(data, random), value.to_bytes(width, random.choice(("little", "big"))))


def _cut(data: bytes, others: list[bytes], random: Random) -> bytes:
    return data[: _place(data, random)]


def _drop(data: bytes, others: list[bytes], random: Random) -> bytes:
    start = _place(data, random)
    return data[:start] + data[start + random.choice((1, 4, 100)) :]


def _repeat(data: bytes, others: list[bytes], random: Random) -> bytes:
    start = _place(data, random)
    end = start + random.choice((1, 10, 512, 4000))
    return data[:end] + data[start:end] * random.choice((1, 3, 50)) + data[end:]


def _splice(data: bytes, others: list[bytes], random: Random) -> bytes:
    other = random.choice(others)
    return data[: _place(data, random)] + other[_place(other, random) :]


def _noise(data: bytes, others: list[bytes], random: Random) -> bytes:
    start = _place(data, random)
    return data[:start] + random.randbytes(random.choice((1, 8, 600))) + data[start:]


def _word(data: bytes, others: list[bytes], random: Random) -> bytes:
    start = _place(data, random)
    word = random.choice(_WORDS).encode("utf-8", "surrogatepass")
    return data[:start] + word + data[start + random.choice((0, 0, len(word))) :]


def _line(data: bytes, others: list[bytes], random: Random) -> bytes:
    """A line moved or doubled, or a character of it replaced wherever it stands."""
    lines = data.split(b"\n")
    chosen = random.randrange(len(lines))
    if random.random() < 0.5:
        lines.insert(random.randrange(len(lines) + 1), lines[chosen])
    else:
        lines[chosen] = lines[chosen].replace(random.choice((b",", b'"', b":", b"\t")), random.choice(_BYTES))
    return b"\n".join(lines)


_MUTATIONS = (
    _flip,
    _flip,
    _byte,
    _number,
    _number,
    _cut,
    _drop,
    _repeat,
    _splice,
    _noise,
    _word,
    _word,
    _line,
)


def _place(data: bytes, random: Random) -> int:
    """Anywhere; often near the beginning or the end, where headers and directories stand."""
    if random.random() < 0.3:
        return min(len(data), random.randrange(64))
    if random.random() < 0.2:
        return max(0, len(data) - random.randrange(128))
    return random.randrange(len(data) + 1)


def _over(data: bytes, start: int, value: bytes) -> bytes:
    return data[:start] + value + data[start + len(value) :]


def seal_png(data: bytes) -> bytes:
    """The CRC of every chunk."""
    at, sealed = 8, data[:8]
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + length]
        sealed += data[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at += 12 + length
    return sealed + data[at:]


def seal_tar(data: bytes) -> bytes:
    """The checksum of every block that looks like a header."""
    blocks = bytearray(data)
    for at in range(0, len(blocks) - 511, 512):
        if blocks[at + 257 : at + 262] == b"ustar":
            blocks[at + 148 : at + 156] = b" " * 8
            blocks[at + 148 : at + 156] = b"%06o\0 " % sum(blocks[at : at + 512])
    return bytes(blocks)


def seal_tgz(data: bytes) -> bytes:
    """A tar that is compressed afterwards."""
    return gzip.compress(seal_tar(data), 1)
