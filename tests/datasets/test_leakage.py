"""Images in two splits: hashes against formulas written out, pairs against brute force, and drawn leaks."""

import contextlib

import imagehash
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from scipy.fft import dct

from mmer_core.config import IngestConfig
from mmer_core.datasets import leakage
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.leakage import (
    LISTED,
    NEAR_BITS,
    Fingerprint,
    compare_splits,
    find_leaks,
    fingerprint_image,
    leaks_by_kind,
    near_pairs,
    shared_groups,
    write_leaks,
)
from mmer_core.datasets.pixels import UnreadableImageError, read_rgb
from mmer_core.datasets.prepared import Prepared

hashes = arrays.arrays(np.uint8, st.tuples(st.integers(0, 12), st.just(8)), elements=st.integers(0, 3))


@pytest.fixture(scope="module")
def photos(flickr_tree):
    """The sound ones of the drawn photos as ``(H, W, 3)`` arrays."""
    sound = []
    for path in sorted((flickr_tree / "Images").glob("*.jpg")):
        with contextlib.suppress(UnreadableImageError):
            sound.append(np.asarray(read_rgb(path)))
    return sound


def changes(photo: np.ndarray, tmp_path) -> dict[str, np.ndarray]:
    """What happens to copies of a photo on their way through the web."""
    image = Image.fromarray(photo)
    image.save(tmp_path / "again.jpg", quality=40)
    return {
        "recompressed": np.asarray(Image.open(tmp_path / "again.jpg")),
        "smaller": np.asarray(image.resize((image.width // 2, image.height // 2))),
        "brighter": np.clip(photo.astype(int) + 12, 0, 255).astype(np.uint8),
        "gray": np.asarray(image.convert("L").convert("RGB")),
    }


@given(hashes, hashes, st.integers(0, 8))
def test_near_pairs_are_those_of_brute_force(ours, theirs, bits):
    expected = [
        (row, other, apart)
        for row, one in enumerate(ours)
        for other, another in enumerate(theirs)
        if (apart := sum(bin(int(a) ^ int(b)).count("1") for a, b in zip(one, another, strict=True))) <= bits
    ]
    # By NumPy, and by FAISS: each with each, by three parts, and by two.
    for few, many, huge in ((10**6, 0, 0), (0, 10**6, 0), (0, 0, 10**6), (0, 0, 0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(leakage, "_FEW", few)
            patch.setattr(leakage, "_MANY", many)
            patch.setattr(leakage, "_HUGE", huge)
            patch.setattr(leakage, "_AT_ONCE", 5)
            assert near_pairs(ours, theirs, bits) == expected


def test_the_hash_is_the_sign_of_the_low_frequencies(photos):
    for photo in photos[:5]:
        gray = np.asarray(Image.fromarray(photo).convert("L").resize((32, 32), Image.Resampling.LANCZOS))
        low = dct(dct(gray.astype(float), axis=0), axis=1)[:8, :8]
        assert np.array_equal(np.unpackbits(fingerprint_image(photo).hash), (low > np.median(low)).ravel())


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32), st.sampled_from([1, 2, 40, 200]))
def test_the_hash_is_that_of_imagehash(height, width, seed, coarse):
    """Bit for bit, also of few levels and of mirrored halves; but for frequencies that equal the median, whose bits there are
    rounding errors."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8) // coarse
    for image in (noise, np.concatenate([noise, noise[:, ::-1]], axis=1)):
        theirs = imagehash.phash(Image.fromarray(image)).hash.ravel()
        gray = np.asarray(Image.fromarray(image).convert("L").resize((32, 32), Image.Resampling.LANCZOS))
        low = dct(dct(gray.astype(float), axis=0), axis=1)[:8, :8].ravel()
        sure = abs(low - np.median(low)) > 1e-6
        assert np.array_equal(np.unpackbits(fingerprint_image(image).hash)[sure], theirs[sure])


@pytest.mark.parametrize("level", [1, 77, 255])
def test_a_blank_picture_has_the_hash_of_any_other(level):
    """Rounding errors of a transform would give each its own."""
    for size in ((224, 224), (31, 7)):
        bits = np.unpackbits(fingerprint_image(np.full((*size, 3), level, np.uint8)).hash)
        assert bits.tolist() == [1] + 63 * [0]


def test_copies_are_found_and_other_photos_are_not(photos, tmp_path):
    prints = {"train": [(str(n), fingerprint_image(photo)) for n, photo in enumerate(photos)]}
    for n, photo in enumerate(photos):
        for how, changed in changes(photo, tmp_path).items():
            leaks = compare_splits(prints | {"val": [(how, fingerprint_image(changed))]})
            assert str(n) in {leak.id for leak in leaks}, how
            assert all(leak.bits <= NEAR_BITS for leak in leaks)
    half = len(photos) // 2
    apart = {"train": prints["train"][:half], "test": prints["train"][half:]}
    assert compare_splits(apart) == []


def test_identical_and_near_identical_are_told_apart_and_each_image_counts_once(photos):
    one, other = fingerprint_image(photos[0]), fingerprint_image(photos[1])
    retouched = photos[0].copy()
    retouched[0, 0] ^= 255
    leaks = compare_splits(
        {
            "train": [("a", one), ("a again", one)],
            "val": [("b", one), ("c", fingerprint_image(retouched)), ("d", other)],
            "test": [("e", other)],
        }
    )
    assert [(leak.kind, leak.id, leak.other_id, leak.bits) for leak in leaks] == [
        ("identical", "a", "b", 0),
        ("near-identical", "a", "c", 0),
        ("identical", "d", "e", 0),
    ]
    assert str(leaks[0]) == "identical to b in val"


def blank(level: int, changed: int = 0) -> Fingerprint:
    """A picture that looks like all others of the kind: of one hash, but for so many bits."""
    hash_ = np.zeros(64, np.uint8)
    hash_[:changed] = 1
    return Fingerprint(level.to_bytes(8, "big"), np.packbits(hash_))


def test_of_pictures_that_are_all_alike_a_few_pairs_are_listed_and_the_others_counted():
    count = 2_000
    train = [(f"t{n}", blank(n)) for n in range(count)]
    val = [(f"v{n}", blank(count - 3 + n)) for n in range(count)]  # three of them are the same pictures
    leaks = compare_splits({"train": train, "val": val})
    assert leaks_by_kind(leaks) == {"identical": 3, "near-identical": count**2 - 3}
    near = [leak for leak in leaks if leak.kind == "near-identical"]
    assert len(near) == LISTED == len({leak.id for leak in near}) == len({leak.other_id for leak in near})
    assert sum(leak.further > 0 for leak in leaks) == 1
    twice = compare_splits({"train": train, "val": train})
    assert leaks_by_kind(twice) == {"identical": count, "near-identical": count**2 - count}
    assert any(f"{count**2 - 3 - LISTED:,} further pairs" in str(leak) for leak in leaks)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=40),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=40),
)
def test_the_number_of_leaks_is_that_of_brute_force(ours, theirs):
    """Whatever is listed. A picture is its level and its hash, so that one digest has one hash."""
    first, second = (
        {(level, bits): blank(100 * level + bits, bits) for level, bits in each} for each in (ours, theirs)
    )
    splits = {"train": first, "val": second}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leakage, "LISTED", 3)
        leaks = compare_splits(
            {name: [(str(key), one) for key, one in prints.items()] for name, prints in splits.items()}
        )
    same = len(first.keys() & second.keys())
    near = sum(abs(a - b) <= NEAR_BITS for _, a in first for _, b in second) - same
    expected = {"identical": same, "near-identical": near}
    assert leaks_by_kind(leaks) == {kind: count for kind, count in expected.items() if count}


def test_groups_in_two_splits():
    leaks = shared_groups(
        {
            "train": [("1", "Ann"), ("2", "Ann"), ("3", "")],
            "val": [("4", "")],
            "test": [("5", "Bob"), ("6", "Ann")],
        }
    )
    assert [(leak.kind, leak.split, leak.id, leak.other_split, leak.other_id) for leak in leaks] == [
        ("group", "train", "1", "test", "6")
    ]
    assert str(leaks[0]) == "of one group with 6 in test"


def test_leaks_of_a_prepared_dataset(photos, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for n in range(4):
        Image.fromarray(photos[n]).save(folder / f"{n}.png")
    Image.fromarray(photos[0]).save(folder / "copy.jpg", quality=50)
    lines = [
        "id,split,image,group,text",
        "a,train,0.png,Ann,one",
        "b,train,1.png,Bob,two",
        "c,val,2.png,Ann,three",
    ]
    lines += ["d,val,1.png,,four", "e,test,copy.jpg,,five", "f,test,3.png,,six"]
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    config = IngestConfig(dataset="manifest", root=folder / "m.csv", context_size=96)
    ingest(config, tmp_path / "out", tmp_path / "scratch", workers=2)
    leaks = find_leaks(Prepared.open(tmp_path / "out"), workers=2)
    assert [(leak.kind, leak.id, leak.other_id) for leak in leaks] == [
        ("identical", "b", "d"),
        ("near-identical", "a", "e"),
        ("group", "a", "c"),
    ]
    assert leaks == find_leaks(Prepared.open(tmp_path / "out"), workers=1)
    write_leaks(leaks, tmp_path / "leakage.csv")
    table = pd.read_csv(tmp_path / "leakage.csv")
    assert table.columns.tolist() == ["Kind", "Split", "Id", "Other_Split", "Other_Id", "Bits", "Further"]
    assert table["Other_Split"].tolist() == ["val", "test", "val"]
