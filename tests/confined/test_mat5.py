"""Our reader of MATLAB's files against scipy's: the same values, or none."""

import subprocess
import sys
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from mmer_core.config import SyntheticConfig
from mmer_core.confined.mat5 import Unusual, variables
from mmer_core.confined.matlab import by_scipy, entries
from mmer_core.datasets.synthetic import write_emotic
from mmer_core.taxonomy import SPLITS

NAMES = st.sampled_from(["folder", "n_col", "person", "a", "body_bbox"])
NUMBERS = st.floats(width=32) | st.integers(0, 2**31) | st.integers(-128, 127) | st.booleans()
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    return (
        write_emotic(tmp_path_factory.mktemp("emotic"), SyntheticConfig(images=30))
        / "Annotations"
        / "Annotations.mat"
    )


def vector(values, across=True, kind=object):
    """1xN, or Nx1."""
    array = np.empty((1, len(values)), kind)
    array[0, :] = values
    return array if across else array.T


def structs(rows):
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for column, row in enumerate(rows):
        for name, value in row.items():
            array[0, column][name] = value
    return array


def cell(values):
    array = np.empty((1, len(values)), object)
    for column, value in enumerate(values):
        array[0, column] = value
    return array


NUMERIC = st.builds(
    vector,
    st.lists(st.integers(-100, 100), max_size=6),
    st.booleans(),
    st.sampled_from(["f8", "f4", "i1", "i2", "i4", "i8"]),
)
LEAVES = NUMBERS | TEXTS | NUMERIC | st.builds(cell, st.lists(TEXTS, max_size=4))


def _rows(values):
    fields = st.lists(NAMES, min_size=1, max_size=3, unique=True)
    return fields.flatmap(
        lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(names, values)), min_size=1, max_size=3)
    ).map(structs)


VALUES = st.recursive(LEAVES, lambda values: _rows(values) | st.builds(cell, st.lists(values, max_size=3)))
FOREIGN = st.sampled_from(
    [
        np.ones((2, 3)),
        np.array([1 + 2j]),
        np.array(["ab", "cd"]),
        "Zoë",
        "日本",
        {},
        np.zeros((2, 0, 1)),
    ]
)


def same(one, other):
    """Equal, where not-a-number is itself; 1 and 1.0 are one number to readers, and text has lost nothing."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(one[key], other[key]) for key in one)
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


@given(st.fixed_dictionaries(dict.fromkeys(SPLITS, VALUES)), st.booleans())
@settings(max_examples=100, deadline=None)
def test_values_are_those_of_scipy(tmp_path_factory, content, compressed):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(path, {"other": 1.0, **content}, do_compression=compressed)
    try:
        found = variables(path.read_bytes(), SPLITS)
    except Unusual:
        return
    assert same(found, by_scipy(path))


@given(st.fixed_dictionaries({"train": st.builds(cell, st.lists(FOREIGN | LEAVES, min_size=1, max_size=3))}))
@settings(max_examples=40, deadline=None)
def test_what_is_unusual_is_left_to_scipy(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(path, content)
    found = by_scipy(path)["train"]
    read = [value for _, value in list(entries(path))[1:]]
    assert same(read, found if isinstance(found, list) else [found])


@pytest.mark.parametrize("compressed", [True, False])
def test_annotations_are_not_unusual(annotations, tmp_path, compressed):
    path = annotations
    if not compressed:
        path = tmp_path / "plain.mat"
        savemat(path, {name: loadmat(annotations)[name] for name in SPLITS})
    found = variables(path.read_bytes(), SPLITS)
    assert set(found) == set(SPLITS)
    assert same(found, by_scipy(path))


@given(st.dictionaries(st.sampled_from(SPLITS), _rows(NUMBERS | TEXTS | NUMERIC), min_size=1), st.booleans())
@settings(max_examples=100, deadline=None)
def test_structs_of_numbers_and_texts_are_never_unusual(tmp_path_factory, content, compressed):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(path, content, do_compression=compressed)
    assert same(variables(path.read_bytes(), SPLITS), by_scipy(path))


def plain(value):
    """Whether a value is one that a line of JSON can hold."""
    if isinstance(value, dict):
        return all(type(key) is str and plain(one) for key, one in value.items())
    return all(map(plain, value)) if type(value) is list else type(value) in (str, int, float)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_files_are_unusual_or_read_as_plain_values(data):
    """Never another error: the file of one photo, with some bytes changed or cut, packed anew or not."""
    whole = _small()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(128, len(content))) :]
    if data.draw(st.booleans()):
        packed = zlib.compress(bytes(content[128:]))
        content = content[:128] + len(packed).to_bytes(4, "little").rjust(8, b"\0") + packed
        content[128] = 15
    try:
        found = variables(bytes(content), SPLITS)
    except Unusual:
        return
    assert found.keys() <= {*SPLITS}
    assert plain(found)


def _small():
    file = BytesIO()
    person = {
        "body_bbox": vector([1.0, 2, 3, 4], kind=float),
        "labels": cell(["Peace", "Fear"]),
        "age": "Kid",
    }
    savemat(file, {"train": structs([{"filename": "a.jpg", "person": structs([person])}])})
    return file.getvalue()


def test_the_reader_needs_no_library():
    code = "import sys, mmer_core.confined.matlab, mmer_core.confined.plain; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert not {"numpy", "scipy", "pandas", "torch"} & set(loaded.split())
