"""Outside files that crash, bomb or stall the library that reads them cost a child process, and one sentence."""

import math
import os
import resource
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from mmer_core.confined.plain import Unreadable
from mmer_core.confined.reading import Limits, read_in_child
from mmer_core.datasets.emotic_mat import load_annotations
from mmer_core.datasets.manifest_rows import read_rows
from mmer_core.errors import DatasetError
from mmer_core.taxonomy import SPLITS


def _read(reader: str, path: Path, limits: Limits = Limits()) -> list[object]:
    return list(read_in_child(f"confined_readers:{reader}", path, DatasetError, limits))


@pytest.fixture(autouse=True)
def _readers_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "support"))


def test_what_a_child_reads_arrives_as_it_was(tmp_path, monkeypatch):
    """Also where the data's folder holds modules with the names of ours and of Python's."""
    (tmp_path / "a").write_text("ä\ud800\u2028".encode("utf-8", "replace").decode())
    for name in ("json", "numpy", "mmer_core", "confined_readers"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('code of the data was run')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    assert _read("sound", tmp_path / "a") == [["ä?\u2028", math.inf, None, {"a": b"\x00"}]]


@pytest.mark.parametrize(
    ("reader", "reason"),
    [
        ("raises", "bad magic"),
        ("crashes", "it makes its reader crash: SIGSEGV"),
        ("takes_memory", "reading takes more than 1024 MB of memory"),
        ("takes_time", "reading took longer than 1 s"),
        ("answers_for_ever", "it expands to far more than its size: a bomb, or damaged"),
        ("answers_one_long_line", "it expands to far more than its size: a bomb, or damaged"),
        ("ends", "its reader ended with code 0"),
    ],
)
def test_a_child_that_fails_is_one_sentence(tmp_path, reader, reason):
    with pytest.raises(DatasetError) as caught:
        _read(reader, tmp_path / "a", Limits(1.0 if reader == "takes_time" else 60.0, 2**30))
    assert str(caught.value) == reason


def test_a_child_is_gone_when_nobody_reads_on(tmp_path):
    before = _children()
    values = read_in_child("confined_readers:answers_for_ever", tmp_path, DatasetError)
    assert next(values) == []
    assert _children() != before
    values.close()
    assert _children() == before


def _children() -> set[str]:
    return {task for one in os.listdir("/proc/self/task") for task in _of(one)}


def _of(thread: str) -> list[str]:
    return Path(f"/proc/self/task/{thread}/children").read_text().split()


def _structs(**fields: str) -> np.ndarray:
    array = np.empty((1, 1), dtype=[(name, object) for name in fields])
    for name, value in fields.items():
        array[0, 0][name] = value
    return array


@pytest.mark.parametrize(("place", "bit"), [(240, 0), (272, 2), (336, 4)])
def test_a_flipped_bit_in_annotations_does_not_end_the_process(tmp_path, place, bit):
    """scipy's reader ends with a segmentation fault on these."""
    path = tmp_path / "Annotations.mat"
    savemat(path, {split: _structs(filename="a.jpg", folder="f") for split in SPLITS})
    assert load_annotations(path)["val"] == [{"filename": "a.jpg", "folder": "f"}]
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1 << bit
    path.write_bytes(damaged)
    with pytest.raises(DatasetError, match=r"Annotations.mat .*: download Annotations.mat again"):
        load_annotations(path)


_MANY = 1_000_000
_LONG = pa.array(["x" * 2_000_000])
_BOMBS = {
    "empty rows": {"id": pa.nulls(_MANY, pa.string()), "image": pa.nulls(_MANY, pa.string())},
    "one text for all rows": {"id": pa.DictionaryArray.from_arrays(np.zeros(_MANY, np.int32), _LONG)},
    "a list": {"id": ["a"], "labels": pa.array([[None] * 10 * _MANY], pa.list_(pa.int8()))},
}


@pytest.mark.parametrize("columns", _BOMBS.values(), ids=_BOMBS)
def test_parquet_bombs_cost_little(tmp_path, columns):
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table(columns), path, compression="zstd")
    assert path.stat().st_size < 200_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        DatasetError, match=r"bomb.parquet cannot be read as a Parquet file \((it expands|reading)"
    ):
        read_rows(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 512 * 1024


def test_types_of_parquet_come_through_the_pipe(tmp_path):
    """Columns of one name stay apart, floats have the digits of their width, and bad UTF-8 costs one value."""
    bad = pa.array([b"\xffx", b"ok"]).view(pa.binary()).view(pa.string())
    values = {
        "id": [1, 2],
        "image": ["b", "c"],
        "text": [["a", None], None],
        "day": [date(2020, 1, 2)] * 2,
        "at": [datetime(2020, 1, 2, 3, 4, 5, 6)] * 2,
        "exact": pa.array([1, 2], pa.timestamp("ns")),
        "sum": [Decimal("1.50")] * 2,
        "raw": [b"\xff\x00"] * 2,
        "pair": [{"a": 1}] * 2,
        "bad": bad,
        "whole": [math.inf, 0.1],
        "half": pa.array([0.1, None], pa.float32()),
        "long": [timedelta(seconds=1.5)] * 2,
    }
    table = pa.table(
        [pa.array(one) if isinstance(one, list) else one for one in values.values()], names=list(values)
    )
    pq.write_table(table.append_column("text", pa.array(["second", "third"])), tmp_path / "m.parquet")
    cells = list(read_in_child("mmer_core.confined.parquet:rows", tmp_path / "m.parquet", DatasetError))
    assert cells[0] == ["", [*values, "text"]]
    unreadable = cells[1][9]
    assert isinstance(unreadable, Unreadable)
    assert cells[2][9] == "ok"
    assert cells[1] == [
        1, "b", ["a", None], date(2020, 1, 2), datetime(2020, 1, 2, 3, 4, 5, 6), "1970-01-01T00:00:00.000000001",
        Decimal("1.50"), b"\xff\x00", {"a": 1}, unreadable, math.inf, 0.1, timedelta(seconds=1.5), "second",
    ]  # fmt: skip
