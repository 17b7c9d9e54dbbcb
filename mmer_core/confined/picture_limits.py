"""What a picture from outside may be and may cost, in one place: parent and child both keep to it."""

SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
}
"""How files of a format are called, by which photos are found in a folder; what a file holds decides how it is read."""

FORMATS = tuple(SUFFIXES)
"""The only formats that are ever opened, by Pillow's names; some of the others (EPS, WMF) start other programs."""

MAX_PIXELS = 2**26
"""Pictures with more pixels (256 MiB decoded) are refused unread: they are bombs, or not photos."""

MAX_SIDE = 2**16 - 1
"""Longest side; JPEG has no longer one."""

MAX_RATIO = 1000
"""Longer side to shorter side. What keeps proportions, as processors of captioners do, enlarges both sides."""

MAX_SCANS = 100
"""Scans of a JPEG, each of which may cost a pass over all pixels; encoders make some ten."""

MAX_FILE_BYTES = 8 * MAX_PIXELS
"""A file as large as its pixels at four channels of 16 bits."""

MAX_TEXT = 2**24
"""Bytes that texts and the colour profile of a PNG may take once unpacked; profiles of some megabytes are common."""

CPU_SECONDS = 10.0
"""Of the decoder on one picture: the largest photos take three."""

SECONDS = 60.0
"""By the clock, for what waits and does not work; long, so that a busy machine refuses no sound photo."""

BASE_BYTES = 2**28
"""Private memory of a decoder apart from pictures: the interpreter, libraries and their buffers."""

BYTES_PER_PIXEL = 24
"""Private memory that a pixel may take: coefficients of a progressive JPEG, or canvases of WebP, and two copies."""


def memory_for(pixels: int) -> int:
    """Bytes of private memory that a decoder may take for a picture of so many pixels."""
    return BASE_BYTES + BYTES_PER_PIXEL * pixels
