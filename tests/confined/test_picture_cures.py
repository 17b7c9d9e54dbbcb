"""What is said of a picture that cannot be read ends with one cure."""

import io
import re
from pathlib import Path

import pytest
from PIL import Image

from mmer_core import confined
from mmer_core.confined.pictures import UnreadableImageError, decoded


def jpeg() -> bytes:
    held = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(held, "JPEG")
    return held.getvalue()


@pytest.mark.parametrize(("content", "own"), [(b"no picture", True), (jpeg()[:900], False)])
def test_a_cure_is_added_where_the_decoder_names_none(content, own):
    with pytest.raises(UnreadableImageError) as raised:
        decoded(content)
    said = raised.value.with_cure("give another")
    assert said == str(raised.value) + ("" if own else "; give another")


def test_all_cures_of_decoders_are_known_as_such():
    sources = Path(confined.__file__).parent.glob("picture_*.py")
    found = re.findall(
        r'"([^"\n]*\b(?:save|draw) it\b[^"\n]*)"', "".join(path.read_text() for path in sources)
    )
    assert len(found) >= 7
    assert [one for one in found if UnreadableImageError(one).with_cure("other") != one] == []
