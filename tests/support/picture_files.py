"""Picture files by kind, written byte by byte or by Pillow, with the pixels that the rules make of them."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

RAMP = np.array([[0.0, 0.125, 0.25, 0.375], [0.5, 0.625, 0.875, 1.0]])
COLOURS = np.array([[[0, 10, 20], [200, 40, 50]], [[60, 70, 255], [90, 100, 110]]], np.uint8)


@dataclass(frozen=True)
class Kind:
    """A file and its pixels ``(H, W)`` or ``(H, W, 3)``, or a part of the reason why it is refused.

    Attributes:
        near: By how many levels a lossy or differently rounded conversion may differ.
    """

    content: bytes
    expected: Pixels | str
    near: int = 0


def file_of(image: Image.Image, kind: str, **fields: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **fields)
    return file.getvalue()


def tiff(
    values: npt.NDArray[Any], *, bits: int, photometric: int = 1, sample: int = 1, order: str = "<"
) -> bytes:
    """A gray TIFF of one strip. ``sample``: 1 unsigned, 2 signed, 3 floating-point."""
    height, width = values.shape
    data = _packed_12(values) if bits == 12 else values.astype(values.dtype.newbyteorder(order)).tobytes()
    data += bytes(len(data) % 2)
    shorts = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1, 278: height, 339: sample}
    entries = {tag: struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in shorts.items()}
    entries[273] = struct.pack(f"{order}HHII", 273, 4, 1, 8)
    entries[279] = struct.pack(f"{order}HHII", 279, 4, 1, len(data))
    magic = b"II*\0" if order == "<" else b"MM\0*"
    listed = b"".join(entries[tag] for tag in sorted(entries))
    return (
        magic
        + struct.pack(f"{order}I", 8 + len(data))
        + data
        + struct.pack(f"{order}H", len(entries))
        + listed
        + bytes(4)
    )


def _packed_12(values: npt.NDArray[Any]) -> bytes:
    bits = "".join(f"{value:012b}" for value in values.ravel())
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(size: tuple[int, int], rows: bytes, *, kind: int = 0, depth: int = 8, before: bytes = b"") -> bytes:
    """``kind``: 0 gray, 2 RGB, 4 gray with alpha, 6 RGBA."""
    head = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    body = chunk(b"IHDR", head) + before + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def planes(values: npt.NDArray[np.uint16]) -> bytes:
    """A 16-bit colour TIFF whose three channels are the same, and lie one behind the other."""
    content = tiff(np.concatenate([values] * 3), bits=16, photometric=2, sample=1)
    for tag, value in ((257, len(values)), (277, 3)):
        at = content.rindex(struct.pack("<HHI", tag, 3, 1)) + 8
        content = content[:at] + struct.pack("<H", value) + content[at + 2 :]
    listed, size = len(content) - 4 - 12 * 10 - 2, values.nbytes
    entries = {
        int.from_bytes(content[at : at + 2], "little"): content[at : at + 12]
        for at in range(listed + 2, len(content) - 4, 12)
    }
    beyond = listed + 2 + 12 * 11 + 4
    entries[258] = struct.pack("<HHII", 258, 3, 3, beyond)
    entries[273] = struct.pack("<HHII", 273, 4, 3, beyond + 6)
    entries[279] = struct.pack("<HHII", 279, 4, 3, beyond + 18)
    entries[339] = struct.pack("<HHII", 339, 3, 3, beyond + 30)
    entries[284] = struct.pack("<HHIHH", 284, 3, 1, 2, 0)
    ends = struct.pack("<3H3I3I3H", 16, 16, 16, *(8 + size * one for one in range(3)), *[size] * 3, 1, 1, 1)
    return (
        content[:listed]
        + struct.pack("<H", len(entries))
        + b"".join(entries[tag] for tag in sorted(entries))
        + bytes(4)
        + ends
    )


def damaged_png() -> bytes:
    """Other pixels than those of the checksum, as where a disk lost a page: the compressed data are sound."""
    sound = png((4, 4), b"\0\1\2\3\4" * 4)
    at = sound.index(b"IDAT") + 4
    other = chunk(b"IDAT", zlib.compress(b"\0\7\2\3\4" * 4, 9))[:-4]
    return sound[: at - 8] + other + sound[sound.index(b"IEND") - 8 :]


def broken_off(content: bytes, end: bytes = b"") -> bytes:
    """The first half of a file, and another end or, without one, zeros for the rest: a download that was not finished."""
    half = len(content) // 2
    return content[:half] + (end or bytes(len(content) - half))


def scans(image: Image.Image, more: int) -> bytes:
    """A progressive JPEG whose last scan is there again and again."""
    content = file_of(image, "JPEG", progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + more * scan + b"\xff\xd9"


def gray(values: npt.NDArray[Any]) -> Pixels:
    """To the nearest of 256 levels."""
    return np.floor(values * 255 + 0.5).astype(np.uint8)


def _sixteen(rows: npt.NDArray[Any]) -> bytes:
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)


_RGB = Image.fromarray(COLOURS)
_DEEP = np.rint(RAMP * 65535).astype(np.uint16)
_NAN = np.where(RAMP == 0.25, np.nan, RAMP).astype(np.float32)
_SHAPE = np.zeros((2, 2, 4), np.uint8)
_SHAPE[0, 1, 3] = 255
_BLACK = Image.new("RGB", (2, 2))
_NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
_INDICES = b"\0\0\1\0\2\3"
_GIF = (
    b"GIF89a"
    + struct.pack("<HHBBB", 2, 2, 0, 0, 0)
    + b","
    + struct.pack("<HHHHB", 0, 0, 2, 2, 0)
    + b"\2\3\x9c\x3e\5\0;"
)


def _stack(first: Image.Image, kind: str, **fields: Any) -> bytes:
    return file_of(first, kind, save_all=True, append_images=[_BLACK], **fields)


RULES: dict[str, list[Callable[[], Kind]]] = {
    "8 bits, gray or colour": [
        lambda: Kind(file_of(_RGB, "PNG"), COLOURS),
        lambda: Kind(file_of(_RGB, "BMP"), COLOURS),
        lambda: Kind(file_of(_RGB, "PPM"), COLOURS),
        lambda: Kind(file_of(_RGB, "WEBP", lossless=True), COLOURS),
        lambda: Kind(file_of(Image.fromarray(gray(RAMP)), "TIFF"), gray(RAMP)),
        lambda: Kind(tiff(gray(RAMP), bits=8, photometric=0), 255 - gray(RAMP)),
        lambda: Kind(tiff(gray(RAMP) // 2, bits=8, sample=2), gray(RAMP) // 2),
        lambda: Kind(tiff(gray(RAMP), bits=8, sample=2), "have a sign"),
    ],
    "bilevel, palette": [
        lambda: Kind(file_of(Image.fromarray(RAMP > 0.3), "PNG"), gray(RAMP > 0.3)),
        lambda: Kind(file_of(_RGB.quantize(4), "PNG"), COLOURS),
        lambda: Kind(file_of(_RGB.quantize(4), "GIF"), COLOURS),
        lambda: Kind(png((2, 2), _INDICES, kind=3), "a palette of 4 colours, and has one of 0"),
        lambda: Kind(png((2, 2), _INDICES, kind=3, before=chunk(b"PLTE", bytes(range(9)))), "has one of 3"),
        lambda: Kind(_GIF, "no palette"),
    ],
    "16 bits, gray": [
        lambda: Kind(png((4, 2), _sixteen(_DEEP), depth=16), gray(RAMP), near=1),
        lambda: Kind(tiff(_DEEP, bits=16), gray(RAMP), near=1),
        lambda: Kind(tiff(_DEEP, bits=16, order=">"), gray(RAMP), near=1),
        lambda: Kind(tiff(_DEEP, bits=16, photometric=0), gray(1 - RAMP), near=1),
        lambda: Kind(b"P5 4 2 65535\n" + _DEEP.astype(">u2").tobytes(), gray(RAMP), near=1),
        lambda: Kind(b"P5 4 2 65535\n" + (_DEEP // 512).astype(">u2").tobytes(), gray(RAMP / 512), near=1),
    ],
    "10 or 12 bits, gray": [
        lambda: Kind(tiff(np.rint(RAMP * 4095).astype(np.uint16), bits=12), gray(RAMP), near=1),
        lambda: Kind(b"P5 4 2 1023\n" + np.rint(RAMP * 1023).astype(">u2").tobytes(), gray(RAMP), near=1),
    ],
    "16 bits, colour": [
        lambda: Kind(png((4, 2), _sixteen(np.repeat(_DEEP, 3, 1)), kind=2, depth=16), (_DEEP >> 8).astype(np.uint8)),
        lambda: Kind(planes(_DEEP), "stored by itself"),
    ],
    "32 bits, or 16 bits with sign, gray": [
        lambda: Kind(tiff(np.rint(RAMP * 65535).astype(np.int32), bits=32, sample=2), gray(RAMP), near=1),
        lambda: Kind(tiff(gray(RAMP).astype(np.int32), bits=32, sample=2), gray(RAMP)),
        lambda: Kind(tiff(gray(RAMP).astype(np.int32), bits=32, sample=2, order=">"), gray(RAMP)),
        lambda: Kind(tiff(np.rint(RAMP * 70000).astype(np.int32), bits=32, sample=2), "0..70000"),
        lambda: Kind(tiff((RAMP * 2**32 - 1).clip(0).astype(np.uint32), bits=32), "gray values are in"),
        lambda: Kind(tiff((RAMP * 8 - 1).astype(np.int16), bits=16, sample=2), "-1..7"),
    ],
    "floating-point, gray": [
        lambda: Kind(tiff(RAMP.astype(np.float32), bits=32, sample=3), gray(RAMP), near=1),
        lambda: Kind(tiff(RAMP.astype(np.float32), bits=32, sample=3, order=">"), gray(RAMP), near=1),
        lambda: Kind(tiff(RAMP.astype(np.float32), bits=32, sample=3, photometric=0), gray(1 - RAMP), near=1),
        lambda: Kind(b"Pf 4 2\n-1.0\n" + RAMP[::-1].astype("<f4").tobytes(), gray(RAMP), near=1),
        lambda: Kind(tiff(gray(RAMP).astype(np.float32), bits=32, sample=3), gray(RAMP)),
        lambda: Kind(tiff((RAMP * 1.5).astype(np.float32), bits=32, sample=3), "0..1.5"),
        lambda: Kind(tiff((RAMP - 0.5).astype(np.float32), bits=32, sample=3), "-0.5..0.5"),
        lambda: Kind(tiff(_NAN, bits=32, sample=3), "NaN"),
        lambda: Kind(tiff(np.where(RAMP == 1, -np.inf, RAMP).astype(np.float32), bits=32, sample=3), "infinite"),
    ],
    "transparency": [
        lambda: Kind(file_of(Image.fromarray(np.dstack([COLOURS, gray(RAMP[:, :2])])), "PNG"), COLOURS),
        lambda: Kind(file_of(Image.new("RGBA", (2, 2), (9, 8, 7, 128)), "PNG"), np.full((2, 2, 3), (9, 8, 7), np.uint8)),
        lambda: Kind(file_of(Image.fromarray(gray(RAMP)).convert("LA"), "TIFF"), gray(RAMP)),
        lambda: Kind(file_of(_RGB.quantize(4), "PNG", transparency=bytes([9, 99, 255, 0])), COLOURS),
        lambda: Kind(file_of(Image.fromarray(_SHAPE), "PNG"), "transparency"),
        lambda: Kind(file_of(Image.new("RGBA", (2, 2)), "WEBP", lossless=True), "transparency"),
        lambda: Kind(file_of(Image.fromarray(_SHAPE[..., 2:]), "PNG"), "transparency"),
    ],
    "CMYK, YCbCr": [
        lambda: Kind(file_of(_RGB.convert("CMYK"), "TIFF"), COLOURS, near=1),
        lambda: Kind(file_of(_RGB.resize((64, 64), 0).convert("CMYK"), "JPEG", quality=100), np.asarray(_RGB.resize((64, 64), 0)), near=4),
        lambda: Kind(file_of(_RGB.convert("YCbCr"), "TIFF"), COLOURS, near=3),
    ],
    "CIE L\\*a\\*b\\*": [
        lambda: Kind(file_of(Image.new("LAB", (2, 2), (100, 130, 130)), "TIFF"), "L*a*b*"),
    ],
    "several frames or pages": [
        lambda: Kind(_stack(_RGB.quantize(4), "GIF"), COLOURS),
        lambda: Kind(_stack(_RGB, "WEBP", lossless=True), COLOURS),
        lambda: Kind(_stack(_RGB, "PNG"), COLOURS),
        lambda: Kind(_stack(_RGB, "TIFF"), COLOURS),
        lambda: Kind(_stack(_RGB.resize((64, 64), 0), "MPO", quality=100), np.asarray(_RGB.resize((64, 64), 0)), near=200),
    ],
    "a file that ends before its pixels": [
        lambda: Kind(png((4, 4), (b"\0" + bytes([200] * 4)) * 2), "truncated"),
        lambda: Kind(png((4, 4), (b"\0" + bytes([200] * 12)) * 3, kind=2), "truncated"),
        lambda: Kind(png((4, 2), (b"\0" + bytes(4)) * 2), np.zeros((2, 4), np.uint8)),
        lambda: Kind(file_of(_RGB.resize((64, 64)), "JPEG", quality=100)[:1000], "truncated"),
        lambda: Kind(file_of(_RGB, "BMP")[:-3], "truncated"),
        lambda: Kind(broken_off(file_of(_NOISE, "JPEG", quality=95)), "it has no end"),
        lambda: Kind(broken_off(file_of(_NOISE, "JPEG", quality=95), b"\xff\xd9"), "fewer pixels"),
        lambda: Kind(broken_off(file_of(_NOISE, "JPEG", progressive=True)), "truncated"),
        lambda: Kind(damaged_png(), "do not match their checksum"),
        lambda: Kind(file_of(Image.new("L", (64, 64), 128), "JPEG"), np.full((64, 64), 128, np.uint8)),
        lambda: Kind(file_of(Image.new("L", (64, 64), 128), "JPEG", progressive=True) + b"PK", np.full((64, 64), 128, np.uint8)),
    ],
}  # fmt: skip
"""By the rows of the table in docs/manifest.md."""
