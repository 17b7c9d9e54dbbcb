"""Random EMOTIC trees full of random traps, against the slow conversion of `emotic_reference`."""

import math
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.emotic_check import check_against_reference

from mmer_core.datasets.synthetic.emotic_mat import Person, Photo, write_annotations
from mmer_core.datasets.synthetic.emotions import Rating
from mmer_core.taxonomy import EMOTIC_CATEGORIES, SPLITS

FOLDERS = ("mscoco/images", "framesdb/images", "emodb_small/images", "ade20k/images")
NAMES = ("same.jpg", "with, comma.png", "naïve photo.png", "b.png")
FILES = ("rgb", "gray", "cmyk", "palette", "deep", "turned", "cut", "empty", "prose", "missing")


class File(NamedTuple):
    kind: str
    size: tuple[int, int]


side = st.integers(1, 40)
corner = st.integers(-15, 55)
rating = st.builds(
    Rating,
    categories=st.lists(st.sampled_from(EMOTIC_CATEGORIES), max_size=3),
    vad=st.tuples(*[st.sampled_from([1.0, 5.0, 20 / 3, 10.0, math.nan])] * 3) | st.just((6.0, 5.5, 4.0)),
)
person = st.builds(
    Person,
    box=st.tuples(corner, corner, corner, corner) | st.tuples(side, side, side, side),
    gender=st.sampled_from(["Male", "Female"]),
    age=st.sampled_from(["Kid", "Teenager", "Adult"]),
    cues=st.just(frozenset()),
    ratings=st.lists(rating, min_size=1, max_size=3),
)
files = st.dictionaries(
    st.tuples(st.sampled_from(FOLDERS), st.sampled_from(NAMES)),
    st.builds(File, kind=st.sampled_from(FILES) | st.just("rgb"), size=st.tuples(side, side)),
    min_size=3,
    max_size=8,
)


@st.composite
def trees(draw):
    """Files by (folder, name), and photos by split; some are listed twice, some have swapped sizes."""
    drawn = draw(files)
    splits = {}
    for split in SPLITS:
        splits[split] = []
        for folder, name in draw(st.lists(st.sampled_from(sorted(drawn)), min_size=1, max_size=4)):
            size = drawn[folder, name].size
            size = size[::-1] if draw(st.booleans()) else size
            people = draw(st.lists(person, min_size=1, max_size=3))
            splits[split].append(Photo(folder, name, size, people))
    return drawn, splits


def _write(root: Path, drawn: dict[tuple[str, str], File], splits: dict[str, list[Photo]]) -> None:
    for folder in FOLDERS:
        (root / "emotic" / folder).mkdir(parents=True)
    for number, ((folder, name), file) in enumerate(sorted(drawn.items())):
        _write_file(root / "emotic" / folder / name, file, np.random.default_rng(number))
    # One sound person, so that something is always left.
    _write_file(root / "emotic" / FOLDERS[0] / "sound.png", File("rgb", (20, 20)), np.random.default_rng(99))
    sound = Person((1, 2, 9, 12), "Male", "Adult", frozenset(), [Rating(["Peace"], (5.0, 5.0, 5.0))])
    photo = Photo(FOLDERS[0], "sound.png", (20, 20), [sound])
    (root / "Annotations").mkdir()
    write_annotations(
        root / "Annotations" / "Annotations.mat", {**splits, "train": [*splits["train"], photo]}
    )


def _write_file(path: Path, file: File, rng: np.random.Generator) -> None:
    width, height = file.size
    image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    kind = "PNG" if path.suffix == ".png" else "JPEG"
    if file.kind == "gray":
        image = image.convert("L")
    elif file.kind == "cmyk":
        image, kind = image.convert("CMYK"), "JPEG"
    elif file.kind == "palette":
        image, kind = image.quantize(16), "PNG"
    elif file.kind == "deep":
        image, kind = Image.fromarray(rng.integers(0, 65536, (height, width), np.uint16)), "PNG"
    exif = Image.Exif()
    exif[0x0112] = 6 if file.kind == "turned" else 1
    if file.kind in ("empty", "prose"):
        path.write_bytes(b"" if file.kind == "empty" else b"this is no photo")
    elif file.kind != "missing":
        image.save(path, kind, **({"exif": exif} if file.kind == "turned" else {}))
    if file.kind == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("protocol", ["corrected", "mat2py"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(tree=trees())
def test_any_tree_is_converted_as_the_slow_way_does(protocol, tree):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        _write(root, *tree)
        card = check_against_reference(root, protocol, Path(folder), (24, 16))
    written = sum(len(photo.people) for photos in tree[1].values() for photo in photos) + 1
    assert sum(card.counts.values()) + sum(card.quarantined.values()) == written
