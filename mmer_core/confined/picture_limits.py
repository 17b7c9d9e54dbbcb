"""Limits on external pictures and on the cost of decoding them, shared by parent and child."""

SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
}
"""File suffixes of each format, by which photos are found in a folder; the content decides how a file is read."""

PHOTOS = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)

FORMATS = tuple(SUFFIXES)
"""The only formats that are opened, by Pillow's names; some of the others (EPS, WMF) start external programs."""

MAX_PIXELS = 2**26
"""Pictures with more pixels (256 MiB decoded) are refused undecoded: they are bombs, or not photos."""

MAX_SIDE = 2**16 - 1
"""Longest side in pixels; JPEG's own limit."""

MAX_RATIO = 1000
"""Ratio of the longer side to the shorter. Processors of captioners enlarge both sides to keep the aspect ratio."""

MAX_SCANS = 100
"""Scans of a JPEG, each of which may cost a pass over all pixels; encoders use about ten."""

MAX_FILE_BYTES = 8 * MAX_PIXELS
"""Bytes of a file: its pixels with four 16-bit channels."""

MAX_TEXT = 2**24
"""Bytes of a PNG's texts and colour profile once unpacked; profiles of some megabytes are common."""

CPU_SECONDS = 10.0
"""CPU seconds of the decoder for one picture; the largest photos take three."""

SECONDS = 60.0
"""Wall-clock seconds, for decoders that block; generous, so that a busy machine refuses no sound photo."""

BASE_BYTES = 2**28
"""Bytes of private memory of a decoder apart from pictures: interpreter, libraries and their buffers."""

BYTES_PER_PIXEL = 24
"""Bytes of private memory per pixel: coefficients of a progressive JPEG, or canvases of WebP, and two copies."""


def memory_for(pixels: int) -> int:
    """Bytes of private memory that a decoder may use for a picture of this many pixels."""
    return BASE_BYTES + BYTES_PER_PIXEL * pixels
