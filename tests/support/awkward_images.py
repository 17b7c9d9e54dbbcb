"""Picture files of every awkward kind, and what becomes of them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIZE = (48, 32)


def _halves() -> Image.Image:
    """Black on the left, white on the right."""
    image = Image.new("RGB", SIZE, "white")
    image.paste("black", (0, 0, SIZE[0] // 2, SIZE[1]))
    return image


def _file(image: Image.Image, kind: str, **fields: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **fields)
    return file.getvalue()


def _deep() -> bytes:
    gray = np.asarray(_halves().convert("L")).astype(np.uint16) * 257
    return _file(Image.fromarray(gray), "PNG")


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _file(_halves().transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 3.6 billion pixels."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(bytes(9999)),
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


def _truncated() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    return _file(Image.fromarray(noise), "JPEG", quality=95)[:2000]


KEPT: dict[str, bytes] = {
    "plain.jpg": _file(_halves(), "JPEG", quality=95),
    "cmyk.jpg": _file(_halves().convert("CMYK"), "JPEG", quality=95),
    "gray.jpg": _file(_halves().convert("L"), "JPEG", quality=95),
    "bilevel.png": _file(_halves().convert("1"), "PNG"),
    "sixteen-bit.png": _deep(),
    "palette.png": _file(_halves().quantize(4), "PNG"),
    "transparent.png": _file(_halves().convert("RGBA"), "PNG"),
    "rotated.jpg": _rotated(),
    "other-suffix.jpg": _file(_halves(), "PNG"),
}
"""Files that show `_halves`."""
POINT = "one-pixel.png"
REFUSED: dict[str, tuple[bytes, str]] = {
    "corrupt.jpg": (b"\xff\xd8\xff\xe0 not a photo", "Truncated"),
    "truncated.jpg": (_truncated(), "truncated"),
    "empty.jpg": (b"", "cannot identify"),
    "bomb.png": (bomb(), "3600000000 pixels"),
    "text.png": (b"a text", "cannot identify"),
}
"""Files that are no whole picture, and what is said about them."""
OPENCV_KEEPS = {"truncated.jpg"}
"""What the reference converter takes all the same, completed with gray."""
IMAGES = {
    **KEPT,
    POINT: _file(Image.new("RGB", (1, 1), "white"), "PNG"),
    **{name: content for name, (content, _) in REFUSED.items()},
}
