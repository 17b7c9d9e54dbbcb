"""Any picture that Pillow decodes to 8-bit RGB by the rules in ``docs/manifest.md``, or a refusal."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from PIL import Image

from mmer_core.confined.picture_bounds import Refused

if TYPE_CHECKING:
    import numpy.typing as npt

_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT = 258, 262, 284, 339
_WHITE_IS_ZERO, _APART, _SIGNED = 0, 2, 2
_STRIP_PIXELS = 2**20


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture as RGB. Raises `Refused` if its values are ambiguous or it is fully transparent."""
    if image.mode.startswith("I") or image.mode == "F":
        return _from_numbers(image).convert("RGB")
    if image.mode == "LAB":
        raise Refused("its colours are CIE L*a*b*, which is not converted: save it as RGB")
    _check_palette(image)
    _check_sign(image)
    if is_transparent(image):
        return _opaque(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def is_transparent(image: Image.Image) -> bool:
    """Whether a picture has transparency beyond a single transparent colour."""
    return "a" in image.mode.lower() or (image.mode == "P" and "transparency" in image.info)


def check_planes(image: Image.Image) -> None:
    """Raise `Refused` for a TIFF with separate planes that Pillow would misread as 8-bit."""
    tags = getattr(image, "tag_v2", {})
    apart = tags.get(_PLANES) == _APART and tags.get(_BITS_PER_SAMPLE, (1,))[0] != 8
    if apart and any(part[0] == "raw" for part in image.tile):  # type: ignore[attr-defined]
        raise Refused("each of its channels is stored by itself, with other than 8 bits: save it with 8 bits")


def _check_palette(image: Image.Image) -> None:
    """Raise `Refused` if the palette lacks colours in use, which Pillow would show as black."""
    if image.mode not in ("P", "PA"):
        return
    used = int(image.getchannel(0).getextrema()[1]) + 1  # type: ignore[arg-type]
    there = len(image.palette.palette) // len(image.palette.mode) if image.palette else 0
    if used > there:
        raise Refused(f"it needs a palette of {used} colours, and has one of {there}")


def _check_sign(image: Image.Image) -> None:
    """Raise `Refused` for signed 8-bit values below zero, which Pillow would show as bright."""
    signed = _SIGNED in getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, ())
    if signed and image.mode == "L" and image.getextrema()[1] > 127:  # type: ignore[operator]
        raise Refused("its gray values have a sign, and some are below zero: save it without sign")


def _opaque(image: Image.Image) -> Image.Image:
    """The colours without transparency."""
    if image.mode == "La":
        image = image.convert("LA")
    image = image if image.mode == "RGBA" else image.convert("RGBA")
    (least, most), *colours = (_extrema(image, channel) for channel in "ARGB")
    if most == 0 or (least < most and all(low == high for low, high in colours)):
        raise Refused("all that it shows is transparency: draw it on a background")
    return image.convert("RGB")


def _extrema(image: Image.Image, channel: str) -> tuple[int, int]:
    extrema: tuple[int, int] = image.getchannel(channel).getextrema()  # type: ignore[assignment]
    return extrema


def _from_numbers(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and floating-point grayscale to 8 bits."""
    import numpy as np

    white = _white(image)
    gray = Image.new("L", image.size)
    inverted = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    for top, values in _strips(image):
        if isinstance(white, int):  # integers, rounded to the nearest
            eight = (values.astype(np.int64) * 510 + white) // (2 * white)
        else:
            eight = np.rint(values * np.float64(255 / white))
        eight = eight.astype(np.uint8)
        gray.paste(Image.fromarray(255 - eight if inverted else eight), (0, top))
    return gray


def _white(image: Image.Image) -> int | float:
    """The value that maps to 255; a float for values in 0..1."""
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
        return int(2 ** min(bits, 16) - 1)
    if image.mode == "I" and image.format == "PPM":  # Pillow rescales it to 16 bits
        return 65535
    least, most, whole = _range(image)
    if image.mode == "F" and least >= 0 and most <= 1:
        return 1.0
    if whole and least >= 0 and most <= 255:
        return 255
    if image.mode == "I" and least >= 0 and most <= 65535:
        return 65535
    taken = "0..1, or whole ones in 0..255" if image.mode == "F" else "0..255 or 0..65535"
    kind = "floating-point" if image.mode == "F" else "gray"
    raise Refused(
        f"its {kind} values are in {least:.9g}..{most:.9g}, and their meaning is certain only in {taken}: save it with 8 bits"
    )


def _range(image: Image.Image) -> tuple[float, float, bool]:
    """Minimum and maximum, and whether all values are whole numbers."""
    import numpy as np

    least, most, whole = float("inf"), float("-inf"), True
    for _, values in _strips(image):
        if image.mode == "F":
            if not np.isfinite(values).all():
                raise Refused("it holds values that are no finite numbers (NaN or infinite)")
            whole = whole and bool((values == np.rint(values)).all())
        least, most = min(least, float(values.min())), max(most, float(values.max()))
    return least, most, whole


def _strips(image: Image.Image) -> "Iterator[tuple[int, npt.NDArray[Any]]]":
    """The first row and the values of strips that are small enough to be copied a few times."""
    import numpy as np

    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))


def check_for_opencv(image: Image.Image) -> None:
    """Raise `Refused` for a picture that OpenCV would show as black or scale arbitrarily."""
    if image.format == "TIFF" and image.mode in ("F", "I"):
        raise Refused("it holds values of a kind that OpenCV does not decode: save it with 8 bits")
    coding = image.tile[0][3] if image.format == "PPM" and image.tile else None  # type: ignore[attr-defined]
    if isinstance(coding, tuple) and coding[-1] not in (255, 65535):
        raise Refused(f"its white is {coding[-1]}, and OpenCV takes it for 255 or 65535: save it with 8 bits")
    if image.format == "TIFF" and image.mode == "RGBA" and _extrema(image, "A")[0] < 255:
        raise Refused("OpenCV darkens its colours by its transparency: draw it on a background")
    if is_transparent(image) or image.mode == "P" or image.format == "TIFF":
        to_rgb(image)
