"""Ids, captions, labels and groups come out of an ingestion as they went in, byte for byte."""

import ast
import datetime
import decimal
import json
import math
import uuid
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.awkward_text import AWKWARD, SEPARATOR, SUFFIXES, TEXTS, write_manifest

from mmer_core.config import IngestConfig
from mmer_core.datasets.formats.manifest import read_manifest
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.leakage import Leak, write_leaks
from mmer_core.datasets.model_captions import read_captions, write_captions
from mmer_core.datasets.people_text import read_sidecar
from mmer_core.datasets.prepared import QUARANTINE_FILE, Prepared
from mmer_core.datasets.sample import Text
from mmer_core.datasets.values import NotText, metadata_of, text_of
from mmer_core.escaping.tables import read_for_people
from mmer_core.tabular import joined, read_table, write_frame, write_table

_JOINED = TEXTS.map(str.strip).filter(bool)
"""Labels that share a cell of a CSV: blanks beside the separator are not theirs."""

_LABELS = st.lists(TEXTS, min_size=1, max_size=1) | st.lists(_JOINED, min_size=2, max_size=3, unique=True)
_ROWS = st.lists(
    st.fixed_dictionaries(
        {"id": TEXTS, "text": st.lists(TEXTS, max_size=3), "labels": _LABELS, "group": TEXTS, "Note": TEXTS}
    ),
    min_size=1,
    max_size=8,
)
_ALL = [
    {"id": one, "text": [one, other], "labels": [one], "group": other, "Note": one}
    for one, other in zip(AWKWARD, reversed(AWKWARD), strict=True)
]


def _photo(root: Path) -> None:
    root.mkdir(exist_ok=True)
    Image.new("RGB", (8, 6), (10, 20, 30)).save(root / "a.png")


def _ingested(root: Path, manifest: Path) -> Prepared:
    config = IngestConfig(dataset="manifest", root=manifest, context_size=16, body_size=16)
    ingest(config, root / "out", root / "scratch", workers=1)
    return Prepared.open(root / "out")


@pytest.mark.long
@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=40)
@given(rows=_ROWS)
@example(rows=_ALL)
def test_what_was_written_is_what_is_prepared(tmp_path_factory, suffix, rows):
    """Two ids become one only where they are the same; the second of these is quarantined, with both places."""
    root = tmp_path_factory.mktemp("texts")
    _photo(root)
    given_rows = [row | {"split": "train", "image": "a.png"} for row in rows]
    labels = list(dict.fromkeys(label for row in rows for label in row["labels"]))
    prepared = _ingested(root, write_manifest(root / f"m{suffix}", given_rows, {"labels": labels}))
    first = {row["id"]: row for row in reversed(rows)}
    kept = [row for row in rows if first[row["id"]] is row]
    split = prepared.split("train")
    assert split.ids == [row["id"] for row in kept]
    assert split.texts == [text for row in kept for text in row["text"]]
    assert split.text_sample.tolist() == [place for place, row in enumerate(kept) for _ in row["text"]]
    assert split.table["Group"].tolist() == [row["group"] for row in kept]
    assert split.table["Note"].tolist() == [row["Note"] for row in kept]
    assert list(prepared.card.labels) == labels
    for row, written, has in zip(kept, split.table["Categorical_Labels"], split.labels, strict=True):
        assert ast.literal_eval(written) == row["labels"]
        assert {labels[column] for column in np.flatnonzero(has)} == set(row["labels"])
    refused = read_for_people(prepared.files.path(QUARANTINE_FILE))
    message = refused[refused["Reason"] == "duplicate_id"]
    assert message["Id"].tolist() == [row["id"] for row in rows if first[row["id"]] is not row]
    assert all("already" in detail for detail in message["Detail"])
    assert set(refused["Reason"]) <= {"duplicate_id", "caption_photo_quarantined"}


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"])),
            TEXTS,
            st.floats(),
            st.booleans(),
            st.integers(),
        )
    )
)
def test_our_tables_are_read_as_they_were_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    names = ["text", 'other, "text"', "float", "bool", "int"]
    kinds = {"float": float, "bool": bool, "int": object}
    write_table(path, names, rows)
    table = read_table(path, kinds | {"int": str})
    assert [tuple(row) for row in table[names[:2]].itertuples(index=False)] == [row[:2] for row in rows]
    assert [repr(value) for value in table["float"].astype(object)] == [
        "nan" if math.isnan(row[2]) else repr(row[2]) for row in rows
    ]
    assert table["bool"].tolist() == [row[3] for row in rows]
    assert table["int"].tolist() == [str(row[4]) for row in rows]
    written = path.read_bytes()
    write_frame(path, table)
    assert path.read_bytes() == written
    write_table(path, ["text"], [row[:1] for row in rows])  # a row of one empty cell is a row
    assert read_table(path)["text"].tolist() == [row[0] for row in rows]


def test_captions_leaks_and_names_are_read_as_they_were_written(tmp_path):
    message = [(f"{one}/{two}", Text(two, one)) for one, two in pairwise(AWKWARD)]
    write_captions(tmp_path / "c.csv", message)
    assert list(read_captions(tmp_path / "c.csv")) == message
    write_leaks([Leak("group", one, one, one, one, 3) for one in AWKWARD], tmp_path / "l.csv")
    assert read_for_people(tmp_path / "l.csv")["Other_Id"].tolist() == list(AWKWARD)
    assert joined(["a;b", 'c"d', " e"]) == '"a;b";"c""d"; e'


def test_a_persons_caption_keeps_its_blanks(tmp_path):
    (tmp_path / "s.csv").write_text('folder,filename,caption\nf,1.jpg," two  blanks\nNA "\nf,2.jpg,null\n')
    captions = read_sidecar(tmp_path / "s.csv").by_photo
    assert [text.text for texts in captions.values() for text in texts] == [" two  blanks\nNA ", "null"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("003", "003"), ("", ""), (3, "3"), (10**30, str(10**30)), (3.0, "3"), (-0.0, "0"), (0.1, "0.1"),
        (1e-7, "1e-07"), (np.float32(0.1), "0.1"), (np.float32(2**24 - 1), "16777215"), (2.0**53 - 1, str(2**53 - 1)),
        (True, "true"), (False, "false"), (None, None), (math.nan, None), (np.float32("nan"), None),
        (decimal.Decimal("1.50"), "1.50"), (decimal.Decimal("1E+2"), "100"), (decimal.Decimal("NaN"), None),
        (b"caf\xc3\xa9", "café"), (datetime.date(2024, 1, 31), "2024-01-31"),
        (datetime.datetime(2024, 1, 31, 1, 2, 3, 4), "2024-01-31T01:02:03.000004"),
        (pd.Timestamp("2024-01-31T01:02:03.000000005"), "2024-01-31T01:02:03.000000005"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)  # fmt: skip
def test_a_typed_value_has_one_spelling(value: Any, text: str | None) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": 1}, "an object"), (["a"], "a list"), (("a",), "a list"), (b"\xff", "not UTF-8"),
        (math.inf, "the number inf"), (2.0**53 + 2, "no exact integer"), (np.float32(2**24 + 2), "no exact integer"),
        (datetime.timedelta(1), "a duration"), (1j, "complex"),
    ],
)  # fmt: skip
def test_a_value_without_a_spelling_is_refused(value: Any, message: str) -> None:
    with pytest.raises(NotText, match=message):
        text_of(value)


def test_nested_metadata_are_json():
    assert metadata_of(1e300) == "1e+300"
    assert metadata_of({"a": [None, 1, 2.0, True, "é"], "b": {"c": math.nan}}) == (
        '{"a": [null, 1, "2", true, "é"], "b": {"c": null}}'
    )


def _frame(**columns: list[Any]) -> pd.DataFrame:
    rows = len(next(iter(columns.values())))
    whole = {"image": ["a.png"] * rows, "split": ["train"] * rows} | columns
    return pd.DataFrame({name: pd.Series(values) for name, values in whole.items()})


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_columns_that_pandas_made_float_say_what_the_integers_said(tmp_path, suffix):
    """An integer column in which values are missing: ``0`` and not ``0.0``, and what is missing stays missing."""
    _photo(tmp_path)
    frame = _frame(id=[7.0, None, 8.0, 9.0], label=[0.0, 1.0, None, 1.0], group=[3.0, 3.0, 3.0, None])
    if suffix == ".parquet":
        frame.to_parquet(tmp_path / "m.parquet")
    else:
        frame.to_json(tmp_path / "m.jsonl", orient="records", lines=True)
        assert '"id":7.0' in (tmp_path / "m.jsonl").read_text()
    raw = read_manifest(tmp_path / f"m{suffix}")
    assert [(one.id, one.labels, one.metadata.get("Group")) for one in raw.samples] == [
        ("7", ("0",), "3"),
        ("9", ("1",), None),
    ]
    assert [row.reason for row in raw.quarantined] == ["no_id", "no_label"]


def test_types_of_parquet(tmp_path):
    _photo(tmp_path)
    columns = {
        "id": pa.array([1, 2, 3], pa.int8()),
        "image": pa.array(["a.png"] * 3).dictionary_encode(),
        "split": pa.array([b"train"] * 3, pa.binary()),
        "group": pa.array([0.1, 0.5, None], pa.float32()),
        "labels": pa.array([[True, None], [False], [True]], pa.list_(pa.bool_())),
        "text": pa.array([["a", None], None, []], pa.list_(pa.string())),
        "taken": pa.array([0, 1, None], pa.timestamp("s")),
        "extra": pa.array([{"x": None}, {"x": 1}, None], pa.struct([("x", pa.int64())])),
        "score": pa.array([0.1, 3.0, None], pa.float16()),
    }
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    raw = read_manifest(tmp_path / "m.parquet")
    assert raw.quarantined == []
    assert [one.id for one in raw.samples] == ["1", "2", "3"]
    assert [one.labels for one in raw.samples] == [("true",), ("false",), ("true",)]
    assert [[text.text for text in one.texts] for one in raw.samples] == [["a"], [], []]
    assert [one.metadata.get("Group") for one in raw.samples] == ["0.1", "0.5", None]
    assert [one.metadata.get("taken") for one in raw.samples] == [
        "1970-01-01T00:00:00", "1970-01-01T00:00:01", None,
    ]  # fmt: skip
    assert [one.metadata.get("extra") for one in raw.samples] == ['{"x": null}', '{"x": 1}', None]
    assert [one.metadata.get("score") for one in raw.samples] == ["0.1", "3", None]


def test_a_value_that_is_no_text_costs_its_row_only(tmp_path):
    _photo(tmp_path)
    good = {"id": "ok", "image": "a.png", "text": "one"}
    odd: list[dict[str, Any]] = [
        {"id": ["x"]}, {"id": {"x": 1}}, {"id": 1e300}, {"text": [{"x": 1}]}, {"text": [["x"]]}, {"group": {}},
        {"image": {"path": "a.png"}}, {"id": None}, {"id": " "}, {"text": ["x", None]},
    ]  # fmt: skip
    lines = [
        json.dumps({"id": f"s{place}", "image": "a.png", "text": "t"} | one) for place, one in enumerate(odd)
    ]
    (tmp_path / "m.jsonl").write_text("\n".join([json.dumps(good), *lines]))
    raw = read_manifest(tmp_path / "m.jsonl")
    assert [(one.id, [text.text for text in one.texts]) for one in raw.samples] == [
        ("ok", ["one"]),
        ("s9", ["x"]),
    ]
    assert raw.inputs == len(raw.samples) + sum(
        not row.reason.startswith("caption_") for row in raw.quarantined
    )
    details = [row.detail for row in raw.quarantined if row.reason in ("malformed_row", "no_id")]
    expected = [
        "line 2: column id holds a list", "line 3: column id holds an object", "line 4: column id holds 1e+300",
        "line 5: column text holds an object", "line 6: column text holds a list", "line 7: column group holds",
        "line 8: column image holds an object", "line 9: no id", "line 10: no id",
    ]  # fmt: skip
    for detail, start in zip_longest(details, expected, fillvalue="nothing"):
        assert detail.startswith(start), (detail, start)


def test_bytes_that_are_no_text_in_a_column_of_strings_cost_their_row(tmp_path):
    _photo(tmp_path)
    ids = pa.Array.from_buffers(pa.string(), 2, pa.array([b"fine", b"\xff"]).buffers())
    columns = {"id": ids, "image": pa.array(["a.png"] * 2), "text": pa.array(["t"] * 2)}
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    raw = read_manifest(tmp_path / "m.parquet")
    assert [one.id for one in raw.samples] == ["fine"]
    assert [row.detail for row in raw.quarantined if row.reason == "malformed_row"] == [
        "row 2: column id holds a value that cannot be read"
    ]


def test_a_label_cell_is_one_label_as_it_stands_or_several_without_their_blanks(tmp_path):
    _photo(tmp_path)
    (tmp_path / "m.csv").write_text("id,image,labels\n1,a.png, calm \n2,a.png, calm ; tense;;calm\n")
    raw = read_manifest(tmp_path / "m.csv")
    assert raw.labels == (" calm ", "calm", "tense") or {one.split for one in raw.samples} != {"train"}
    named = {row.id: row.detail for row in raw.quarantined} | {one.id: one.labels for one in raw.samples}
    assert named["1"] == (" calm ",)
    assert named["2"] == ("calm", "tense")


def test_declared_labels_follow_the_rule_of_json(tmp_path):
    _photo(tmp_path)
    head = '# {"labels": [0, 1.0, "01", true]}\n'
    rows = [{"id": str(n), "image": "a.png", "label": one} for n, one in enumerate([0.0, 1, "01", True])]
    (tmp_path / "m.jsonl").write_text(head + "\n".join(map(json.dumps, rows)))
    raw = read_manifest(tmp_path / "m.jsonl")
    assert raw.labels == ("0", "1", "01", "true")
    assert [one.labels for one in raw.samples] == [("0",), ("1",), ("01",), ("true",)]


def test_the_separator_of_these_tests_is_in_no_text():
    assert not any(SEPARATOR in text for text in AWKWARD)
