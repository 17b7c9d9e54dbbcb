"""Manifests in their three formats, row by row, with everything that can be wrong with one."""

import hashlib
import json
import re
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from mmer_core.config import IngestConfig
from mmer_core.datasets.formats.manifest import read_manifest
from mmer_core.datasets.ingest import ingest, source_identity
from mmer_core.datasets.prepared import Prepared
from mmer_core.errors import DatasetError
from mmer_core.taxonomy import VAD

TEXTS = ['A "quoted", dog', "two\nlines", "🐕 emoji", "שלום עולם", "naïve — café", "plain"]


def _photos(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (number, 0, 0)).save(root / name)


def _write(path: Path, rows: list[dict], declared: object = None) -> Path:
    """The same rows in the format that the suffix names."""
    head = f"# {json.dumps(declared)}\n" if declared is not None else ""
    if path.suffix == ".jsonl":
        path.write_text(head + "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    elif path.suffix == ".parquet":
        table = pa.Table.from_pylist(rows)
        metadata = {"mmer": json.dumps(declared)} if declared is not None else None
        pq.write_table(table.replace_schema_metadata(metadata), path)
    else:
        width = max(len(row.get("text", [])) for row in rows)
        names = [name for name in dict.fromkeys(n for row in rows for n in row) if name != "text"]
        lines = [",".join(names + ["text"] * width)]
        for row in rows:
            cells = [row.get(name, "") for name in names]
            cells = [";".join(cell) if isinstance(cell, list) else str(cell) for cell in cells]
            texts = (row.get("text", []) + [""] * width)[:width]
            lines.append(",".join('"' + cell.replace('"', '""') + '"' for cell in cells + texts))
        path.write_text(head + "\n".join(lines) + "\n", "utf-8")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_formats_read_alike(tmp_path, suffix):
    _photos(tmp_path, *(f"p/{n}.png" for n in range(6)))
    rows = [
        {
            "id": f"é{n}", "split": ["train", "val", "test"][n % 3], "image": f"p/{n}.png",
            "text": [TEXTS[n], TEXTS[-1 - n]][: 1 + n % 2], "labels": ["b", "a/c"][: 1 + n % 2],
            "valence": 0.5, "arousal": -1.0, "dominance": 1.0,
            "x1": -3, "y1": 0, "x2": 4, "y2": 5, "Photographer": "Ann, B.",
        }
        for n in range(6)
    ]  # fmt: skip
    declared = {"labels": ["b", "a/c"], "rating_range": [-1, 1]}
    raw = read_manifest(_write(tmp_path / f"m{suffix}", rows, declared))
    assert raw.quarantined == []
    assert raw.task == "emotion"
    assert raw.labels == ("b", "a/c")
    assert raw.streams == ("context", "body")
    assert raw.rated
    assert raw.protocol == "splits given, labels declared"
    for sample, row in zip(raw.samples, rows, strict=True):
        assert (sample.id, sample.split, sample.image) == (row["id"], row["split"], tmp_path / row["image"])
        assert [t.text for t in sample.texts] == row["text"]
        assert sample.labels == tuple(row["labels"])
        assert sample.vad == pytest.approx((7.75, 1.0, 10.0))
        assert sample.box == (-3, 0, 4, 5)
        assert sample.metadata["Photographer"] == "Ann, B."


def test_the_examples_of_the_guide_are_the_same_dataset(tmp_path):
    guide = (Path(__file__).parents[2] / "docs" / "manifest.md").read_text()
    _photos(tmp_path, *(f"images/{name}.png" for name in ("one", "two", "three", "four")))
    read = []
    for name, example in re.findall(r"<!-- example: (photos.+?) -->\n```\w+\n(.*?)```", guide, re.S):
        (tmp_path / name).write_text(example)
        raw = read_manifest(tmp_path / name)
        assert raw.quarantined == []
        assert raw.labels == ("sunny", "windy", "wet")
        read.append([(s.id, s.split, s.texts, set(s.labels)) for s in raw.samples])
    assert len(read) == 2
    assert read[0] == read[1]


def test_everything_wrong_is_told_with_its_line(tmp_path):
    _photos(tmp_path / "d", "a.png")
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "d" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "d" / "m.csv").write_bytes(
        b'# {"labels": ["u", "v"], "multi_label": false}\n'
        b"id,split,image,labels,text,valence,arousal,dominance,x1,y1,x2,y2\n"
        b'ok,train,a.png,u,"two\nlines \xff",1,5,10,0,0,4,4\n'
        b"ok,train,a.png,u,,1,5,10,,,,\n"
        b"e1,train,../secret.png,u,,1,5,10,,,,\n"
        b"e2,nowhere,link.png,w,,1,5,10,,,,\n"
        b"e3,train,none.png,,,1,5,10,,,,\n"
        b"e4,train,a.png,u;v,,1,5,,,,,\n"
        b"e5,train,a.png,u,,0.5,5,10,1,,,\n"
        b"e6,train\n"
        b",train,a.png,u,,1,5,10,,,,\n"
    )
    raw = read_manifest(tmp_path / "d" / "m.csv")
    (sample,) = raw.samples
    assert sample.texts[0].text == "two\nlines \ufffd"
    assert sample.metadata["Manifest_Row"] == "line 3"
    refused = [(row.id, row.reason, row.detail.partition(":")[0]) for row in raw.quarantined]
    assert refused == [
        ("ok", "duplicate_id", "line 5"), ("e1", "outside", "line 6"), ("e2", "no_split", "line 7"),
        ("e3", "missing_image", "line 8"), ("e4", "several_labels", "line 9"),
        ("e5", "vad_range", "line 10"), ("line 11", "malformed_row", "line 11"), ("line 12", "no_id", "line 12"),
    ]  # fmt: skip
    details = {row.id: row.detail for row in raw.quarantined}
    assert "outside" in details["e2"]
    assert "not among the declared labels: w" in details["e2"]
    assert "no label" in details["e3"]
    assert "dominance is absent" in details["e4"]
    assert "box is not four numbers" in details["e5"]
    assert raw.inputs == 9 == len(raw.samples) + len(raw.quarantined)


def test_labels_come_from_train_where_none_are_declared(tmp_path):
    _photos(tmp_path, "a.png", "b.png", "c.png")
    rows = [
        {"id": "1", "split": "train", "image": "a.png", "labels": ["z", "y"]},
        {"id": "2", "split": "val", "image": "b.png", "labels": ["y"], "text": ["only val has one"]},
        {"id": "3", "split": "test", "image": "c.png", "labels": ["y", "x"]},
    ]
    raw = read_manifest(_write(tmp_path / "m.jsonl", rows))
    assert raw.labels == ("y", "z")
    assert raw.protocol == "splits given, labels from train"
    assert [(row.id, row.reason) for row in raw.quarantined] == [
        ("3", "unknown_label"), ("2", "caption_not_in_train"),
    ]  # fmt: skip
    assert not any(sample.texts for sample in raw.samples)


@pytest.mark.parametrize(
    "refused",
    [
        {"image": "gone.png"}, {"id": "1"}, {"valence": 99}, {"x1": "left"}, {"image": "../up.png"}, {"id": ["a"]},
    ],
)  # fmt: skip
def test_rows_that_are_refused_give_no_labels(tmp_path, refused):
    _photos(tmp_path, "a.png", "b.png")
    rated = dict.fromkeys(VAD, 5)
    rows = [
        {"id": "1", "split": "train", "image": "a.png", "labels": ["b", "a"], **rated},
        {"id": "2", "split": "train", "image": "b.png", "labels": ["a", "typo"], **rated} | refused,
        {"id": "3", "split": "val", "image": "b.png", "labels": ["typo"], **rated},
    ]
    raw = read_manifest(_write(tmp_path / "m.jsonl", rows))
    assert raw.labels == ("a", "b")
    assert [sample.id for sample in raw.samples] == ["1"]
    details = [row.detail for row in raw.quarantined]
    assert "typo" not in details[0]  # it is not what is wrong there
    assert details[1] == "line 3: not among the labels of train: typo"


def test_without_a_sound_row_of_train_the_cure_is_told(tmp_path):
    _photos(tmp_path, "a.png")
    rows = [
        {"id": str(n), "split": split, "image": "a.png", "labels": ["x"]}
        for n, split in enumerate(["val", "test"])
    ]
    gone = {"id": "9", "split": "train", "image": "gone.png", "labels": ["x"]}
    for made in (rows, [*rows, gone]):
        raw = read_manifest(_write(tmp_path / "m.jsonl", made))
        assert [row.reason for row in raw.quarantined][:2] == ["unknown_label"] * 2
        assert (
            "no sound row of train, from which labels are taken: mark rows as train"
            in raw.quarantined[0].detail
        )
    with pytest.raises(
        DatasetError, match=r"2 unknown_label; the first: line 1: there is no sound row of train"
    ):
        ingest(
            IngestConfig(dataset="manifest", root=_write(tmp_path / "m.jsonl", rows)),
            tmp_path / "out",
            tmp_path / "w",
            workers=1,
        )
    (tmp_path / "m.jsonl.labels.json").write_text('["x"]')
    card = ingest(
        IngestConfig(dataset="manifest", root=tmp_path / "m.jsonl"),
        tmp_path / "out",
        tmp_path / "w",
        workers=1,
    )
    assert card.counts == {"train": 0, "val": 1, "test": 1}
    with pytest.raises(
        DatasetError,
        match=r"it has (test, val|val, test): mark samples as train \(.* the column split\), or ask for .*split",
    ):
        Prepared.open(tmp_path / "out").split("train")


def test_without_labels_it_is_a_captioned_dataset(tmp_path):
    _photos(tmp_path, "a.png", "b.png")
    rows = [
        {"id": "1", "split": "train", "image": "a.png", "text": ["one", " ", "two"], "x1": 1},
        {"id": "2", "split": "train", "image": "b.png"},
        {"id": "3", "split": "train", "image": "gone.png", "text": ["orphan"]},
    ]
    raw = read_manifest(_write(tmp_path / "m.jsonl", rows))
    assert (raw.task, raw.labels, raw.streams, raw.rated) == ("retrieval", (), ("context",), False)
    assert [[t.text for t in sample.texts] for sample in raw.samples] == [["one", "two"]]
    reasons = sorted(row.reason for row in raw.quarantined)
    assert reasons == ["caption_empty", "caption_photo_quarantined", "missing_image", "no_caption"]
    captions = sum(reason.startswith("caption_") for reason in reasons)
    assert raw.inputs == 3 == len(raw.samples) + len(raw.quarantined) - captions
    assert raw.captions == 4 == sum(len(s.texts) for s in raw.samples) + captions


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=20)
def test_generated_splits_keep_copies_together_and_never_move_an_image(tmp_path_factory, drawn):
    """``(content, copied)``: copies have the same bytes under another name."""
    root = tmp_path_factory.mktemp("generated")
    rows = []
    for number, (content, copied) in enumerate(drawn):
        name = f"{content}-{number if copied else 'same'}.png"
        (root / name).write_bytes(bytes([content]))
        rows.append({"id": str(number), "image": name, "text": ["a text"]})
    raw = read_manifest(_write(root / "m.jsonl", rows))
    assert raw.protocol == "splits generated"
    for sample in raw.samples:
        share = int(hashlib.sha256(sample.image.read_bytes()).hexdigest(), 16) / 2**256
        assert sample.split == ("train" if share < 0.7 else "val" if share < 0.85 else "test")
    fewer = read_manifest(_write(root / "fewer.jsonl", rows[: len(rows) // 2 + 1]))
    splits = {sample.id: sample.split for sample in raw.samples}
    assert all(splits[sample.id] == sample.split for sample in fewer.samples)


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["", "a", "b", "c"])), min_size=1, max_size=12))
@settings(max_examples=30)
def test_generated_splits_part_no_group_and_no_image(tmp_path_factory, drawn):
    """``(image, group)`` of every row: rows tied through either, over any number of steps, share a split."""
    root = tmp_path_factory.mktemp("groups")
    rows = []
    for number, (content, group) in enumerate(drawn):
        (root / f"{content}.png").write_bytes(bytes([content]))
        rows.append({"id": str(number), "image": f"{content}.png", "group": group, "text": ["a text"]})
    raw = read_manifest(_write(root / "m.jsonl", rows))
    split = [sample.split for sample in raw.samples]
    for one, (image, group) in enumerate(drawn):
        for other, (image_there, group_there) in enumerate(drawn):
            if image == image_there or (group and group == group_there):
                assert split[one] == split[other]
    assert [sample.metadata.get("Group", "") for sample in raw.samples] == [group for _, group in drawn]


def test_a_group_takes_the_split_of_its_own_hash(tmp_path):
    """So more images of a person change nothing for those that are there."""
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(bytes([number]))
    rows = [
        {"id": str(n), "image": f"{n}.png", "group": f"person {n % 8}", "text": ["a text"]} for n in range(40)
    ]
    few = {s.id: s.split for s in read_manifest(_write(tmp_path / "few.jsonl", rows[:8])).samples}
    many = {s.id: s.split for s in read_manifest(_write(tmp_path / "many.jsonl", rows)).samples}
    assert len(set(few.values())) > 1
    assert all(many[str(n)] == few[str(n % 8)] for n in range(40))


def test_prepared_arrays_leave_out_what_the_manifest_lacks(tmp_path):
    _photos(tmp_path, "a.png", "b.png")
    rows = [
        {"id": "1", "split": "train", "image": "a.png", "labels": ["y"]},
        {"id": "2", "split": "val", "image": "b.png", "labels": ["y"]},
    ]
    path = _write(tmp_path / "m.jsonl", rows)
    config = IngestConfig(dataset="manifest", root=path, context_size=16, body_size=16)
    before = source_identity(config)
    ingest(config, tmp_path / "out", tmp_path / "scratch", workers=1)
    train = Prepared.open(tmp_path / "out").split("train")
    assert train.streams == ("context",)
    assert train.vad.shape == (1, 0)
    assert train.labels.tolist() == [[1.0]]
    assert train.texts == []
    assert not (tmp_path / "out" / "train_cont_arr.npy").exists()
    assert train.table["Manifest_Row"].tolist() == ["line 1"]
    assert source_identity(config) == before
    _photos(tmp_path, "b.png")  # other bytes under the same name are another dataset
    assert source_identity(config) != before


def test_an_open_quote_is_told_where_it_begins(tmp_path):
    _photos(tmp_path, "a.png")
    path = tmp_path / "m.csv"
    path.write_text(
        'id,split,image,text\n1,train,a.png,fine\n2,train,a.png,"open\n3,train,a.png,"kept, too"\n'
    )
    raw = read_manifest(path)
    assert [(sample.id, sample.texts[0].text) for sample in raw.samples] == [
        ("1", "fine"),
        ("3", "kept, too"),
    ]
    assert [(row.reason, row.detail.partition(":")[0]) for row in raw.quarantined] == [
        ("malformed_row", "line 3")
    ]


@pytest.mark.parametrize(("delimiter", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-16"), (",", "utf-16")])
def test_other_delimiters_and_encodings_are_read_where_they_are_certain(tmp_path, delimiter, encoding):
    _photos(tmp_path, "a.png")
    lines = ['# {"labels": ["ü", "v"]}', "ID;split;image;labels", '1;train;a.png;"ü;v"', "2;val;a.png;v"]
    lines[1:2] = [lines[1].replace(";", delimiter)]
    lines[2:] = [
        f'1{delimiter}train{delimiter}a.png{delimiter}"ü;v"',
        delimiter.join(["2", "val", "a.png", "v"]),
    ]
    (tmp_path / "m.csv").write_bytes("\n".join(lines).encode(encoding))
    raw = read_manifest(tmp_path / "m.csv")
    assert raw.quarantined == []
    assert [sample.labels for sample in raw.samples] == [("ü", "v"), ("v",)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"id|image|text\n1|a.png|b\n", r"'id\|image\|text'"),
        ("id,image,text\n1,a.png,b\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
    ],
)
def test_what_is_not_certain_is_described(tmp_path, content, expected):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=expected):
        read_manifest(tmp_path / "m.csv")


def test_paths_are_read_where_one_file_of_the_folder_is_meant(tmp_path):
    """Each is the image of its own row; the second name is what the tables say."""
    here = tmp_path / "here"
    nfc, nfd = unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "ü/ö.png")
    _photos(here, "a.png", "sub/b.png", "sub/back\\slash.png", nfc, nfd, "Case.PNG")
    (tmp_path / "alias").symlink_to(here)
    (here / "inner").symlink_to("sub")
    (here / "loop.png").symlink_to("loop.png")
    ways = {
        "../here/a.png": "a.png",
        str(here / "sub" / "b.png"): "sub/b.png",
        str(tmp_path / "alias" / "a.png"): "a.png",
        "sub/../a.png": "a.png",
        "sub\\b.png": "sub/b.png",
        "sub\\..\\a.png": "a.png",
        "sub/back\\slash.png": "sub/back\\slash.png",
        "inner/b.png": "inner/b.png",
        unicodedata.normalize("NFD", nfc): nfc,
        unicodedata.normalize("NFC", nfd): nfd,
    }
    rows = [{"id": way, "image": way, "text": ["a"]} for way in ways]
    for folder in (here, tmp_path / "alias"):
        raw = read_manifest(_write(folder / "m.jsonl", rows))
        assert raw.quarantined == []
        assert {sample.id: sample.metadata["Filename"] for sample in raw.samples} == ways
        assert all(sample.image == folder / ways[sample.id] for sample in raw.samples)


def test_paths_that_are_refused_say_why(tmp_path):
    _photos(tmp_path, "d/a.png", "d/Case.PNG", "out/x.png")
    (tmp_path / "d" / "link").symlink_to(tmp_path / "out")
    long = "x" * 300
    expected = {
        "case.png": "'Case.PNG' does, which differs by case only",
        "link/x.png": "'link' is a link that leads out of it",
        "../out/x.png": "outside",
        "..\\out\\x.png": "outside",
        "/etc/hostname.png": "outside",
        "C:\\photos\\x.png": "outside",
        f"{long}.png": "at most 255 bytes",
        "a.png/b.png": "does not exist",
    }
    rows = [{"id": str(n), "image": name, "text": ["a"]} for n, name in enumerate(expected)]
    raw = read_manifest(
        _write(tmp_path / "d" / "m.jsonl", [*rows, {"id": "ok", "image": "a.png", "text": ["a"]}])
    )
    assert [sample.id for sample in raw.samples] == ["ok"]
    details = {row.id: row.detail for row in raw.quarantined if not row.reason.startswith("caption_")}
    for number, words in enumerate(expected.values()):
        assert words in details[str(number)]
        assert f"line {number + 1}:" in details[str(number)]


def test_labels_that_were_probably_meant_are_named(tmp_path):
    _photos(tmp_path, "a.png")
    given = ["Happy", " very  sad", "happy, very sad", "angry", "happy"]
    rows = [{"id": str(n), "split": "train", "image": "a.png", "labels": one} for n, one in enumerate(given)]
    raw = read_manifest(_write(tmp_path / "m.jsonl", rows, {"labels": ["happy", "very sad"]}))
    assert [sample.id for sample in raw.samples] == ["4"]
    details = {row.id: row.detail for row in raw.quarantined}
    assert "'Happy' is not among the declared labels, but 'happy' is" in details["0"]
    assert "but 'very sad' is, which differs by case or blanks" in details["1"]
    assert "'happy, very sad' holds a comma" in details["2"]
    assert '{"separator": ","}' in details["2"]
    assert "not among the declared labels: angry" in details["3"]
    assert raw.notes == ()
    undeclared = read_manifest(_write(tmp_path / "n.jsonl", rows))
    assert undeclared.quarantined == []
    expected = [note.detail for note in undeclared.notes]
    assert ["'Happy', 'happy'" in one for one in expected] == [True, False]
    assert "holds a comma" in expected[1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.xlsx", "", "unknown format"),
        ("m.csv", "", "has no rows"),
        ("m.csv", "id,text\n1,a\n", "lacks image"),
        ("m.csv", "id,image\n1,a.png\n", "neither labels nor texts"),
        ("m.csv", "# {\nid,image,text\n1,a.png,b\n", "declaration of labels"),
        ("m.jsonl", '# {"labels": ["a", "a"]}\n{"id": 1, "image": "a", "text": "b"}\n', "distinct"),
        ("m.jsonl", '# {"label": ["a"]}\n{"id": 1, "image": "a", "text": "b"}\n', "label: Extra inputs"),
        (
            "m.jsonl",
            '# {"labels": ["\\ud800"]}\n{"id": 1, "image": "a", "text": "b"}\n',
            "half a surrogate pair",
        ),
        ("m.jsonl", '# {"labels": [["a"]]}\n{"id": 1, "image": "a", "text": "b"}\n', "labels: .* a list"),
        ("m.jsonl", '# {"labels": [" "]}\n{"id": 1, "image": "a", "text": "b"}\n', "distinct and not empty"),
        ("m.parquet", "PAR1", "cannot be read as a Parquet file"),
    ],
)
def test_unusable_manifests_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_manifest(tmp_path / name)


def test_a_manifest_must_be_given():
    with pytest.raises(ValidationError, match="give --root FILE"):
        IngestConfig(dataset="manifest")


def test_columns_are_kept_or_named(tmp_path):
    """A column of the manifest never vanishes without a word: an ingestion counts it, a check names it."""
    _photos(tmp_path, "a.png")
    row = {"id": "1", "split": "train", "image": "a.png", "text": ["one"], "labels": ["x"]}
    others = {
        "Gender": "F",
        "Age": "Adult",
        "Folder": "f",
        "Index": "7",
        "Place": "Rome",
        "Manifest_Row": "9",
    }
    source = _write(tmp_path / "m.csv", [row | others])
    raw = read_manifest(source)
    assert sorted(note.detail.split("'")[1] for note in raw.notes) == ["Folder", "Index", "Manifest_Row"]
    config = IngestConfig(dataset="manifest", root=source, context_size=16, body_size=16)
    card = ingest(config, tmp_path / "out", tmp_path / "scratch", workers=1)
    assert card.notes == {"reserved_column": 3}
    (kept,) = Prepared.open(tmp_path / "out").split("train").table.to_dict("records")
    assert (kept["Gender"], kept["Age"], kept["Place"]) == ("F", "Adult", "Rome")
    assert kept["Manifest_Row"] == "line 2"
