"""From folders and tables to a manifest: its columns, what is left out, its splits, and that it has no fault."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmer_core.datasets.check import CheckResult, check
from mmer_core.datasets.config import IngestConfig
from mmer_core.datasets.formats.manifest import read_manifest
from mmer_core.datasets.initial.manifest import InitialManifest, initial_manifest
from mmer_core.datasets.raw import RawDataset
from mmer_core.errors import DatasetError


def photo(path: Path, seed: int, *, brighter: int = 0) -> Path:
    """A picture of coarse noise; brighter, it is near-identical."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(20, 200, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise.repeat(4, 0).repeat(4, 1) + np.uint8(brighter)).save(path)
    return path


def table(path: Path, *rows: list[object], encoding: str = "utf-8", delimiter: str = ",") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def checked(path: Path) -> CheckResult:
    return check(IngestConfig(dataset="manifest", root=path), path.parent / "scratch", workers=1)


def made(source: Path, **options: object) -> tuple[InitialManifest, RawDataset]:
    """What was found, and the manifest as it is read; it has no fault."""
    found = initial_manifest(source, **options)
    found.write()
    result = checked(found.path)
    assert [fault for fault in result.faults if fault.reason != "empty_split"] == []
    assert result.sound == len(found.samples)
    return found, read_manifest(found.path)


def reasons(found: InitialManifest) -> dict[str, str]:
    return {one.id: one.reason for one in found.left_out}


DRAWN = st.lists(
    st.tuples(
        st.integers(0, 6), st.integers(0, 2), st.sampled_from(["", "", "a", "b"]), st.sampled_from("xyz")
    ),
    min_size=4,
    max_size=14,
)


@given(DRAWN, st.integers(0, 3))
@settings(max_examples=12)
def test_what_belongs_together_shares_a_split_and_keeps_it(tmp_path_factory, drawn, seed):
    """``(picture, copy, group, label)``: copy 0 and 1 are the same file, 2 is brighter; every text is another."""
    root = tmp_path_factory.mktemp("drawn")
    rows: list[list[object]] = [["file", "caption", "album", "class"]]
    for number, (picture, copy, group, label) in enumerate(drawn):
        photo(root / f"{number}.png", picture, brighter=3 * (copy == 2))
        rows.append([f"{number}.png", f"text {number}", group, label])
    source = table(root / "t.csv", *rows)
    columns = {"labels": ["class"], "group": ["album"]}
    found, raw = made(source, seed=seed, columns=columns)
    assert len(found.samples) == len(drawn)
    split = [sample.split for sample in raw.samples]
    for one, (picture, _, group, _) in enumerate(drawn):
        for other, (picture_there, _, group_there, _) in enumerate(drawn):
            if picture == picture_there or (group and group == group_there):
                assert split[one] == split[other]
    assert "train" in split
    assert initial_manifest(source, seed=seed, columns=columns, resplit=True).content == found.content
    # With more rows nothing moves, as the manifest that is there says where everything is.
    for number in range(50, 53):
        photo(root / f"{number}.png", number)
        rows.append([f"{number}.png", "new", "", "x"])
    _, more = made(table(source, *rows), seed=seed + 1, columns=columns)
    assert [sample.split for sample in more.samples][: len(drawn)] == split


def test_columns_are_understood_and_chinese_text_is_read(tmp_path):
    rows: list[list[object]] = [["Tweet ID", "lang", "Photo", "Tweet", "Sentiment", "split"]]
    for number in range(12):
        photo(tmp_path / "pictures" / "all" / f"{number}.png", number)
        rows.append(
            [number, "zh", f"{number}", f"今天天气真好，“第{number}天”\n很开心", "好坏"[number % 2], "?"]
        )
    source = table(tmp_path / "tweets.tsv", *rows, encoding="gb18030", delimiter="\t")
    found, raw = made(source)
    used = {choice.role: choice.columns for choice in found.choices}
    assert used == {"image": ("Photo",), "labels": ("Sentiment",), "text": ("Tweet",), "id": ("Tweet ID",)}
    assert found.listing.encodings == Counter({"GB18030": 1})
    assert "今天天气真好" in found.listing.example
    assert (raw.task, raw.labels) == ("classification", ("坏", "好"))
    assert [sample.texts[0].text for sample in raw.samples] == [row[3] for row in rows[1:]]
    assert raw.samples[3].image == tmp_path / "pictures" / "all" / "3.png"
    assert raw.samples[3].metadata["lang"] == "zh"
    assert raw.samples[3].metadata["source split"] == "?"
    assert found.path == tmp_path / "tweets.manifest.csv"
    with pytest.raises(DatasetError, match="line 2: it holds bytes that are no ASCII"):
        initial_manifest(source, encoding="ascii")


def test_class_folders_say_labels_and_splits_and_copies_are_left_out(tmp_path):
    for number in range(30):
        photo(
            tmp_path / "data" / ("training" if number < 24 else "test") / "ab"[number % 2] / f"{number}.png",
            number,
        )
    here = tmp_path / "data" / "training"
    (here / "a" / "copy.png").write_bytes((here / "a" / "0.png").read_bytes())
    (here / "a" / "1 again.png").write_bytes((here / "b" / "1.png").read_bytes())
    (here / "a" / "broken.png").write_bytes(b"no picture")
    (here / ".hidden.png").write_bytes(b"")
    found, raw = made(tmp_path)
    assert reasons(found) == {
        "data/training/a/copy.png": "duplicate",
        "data/training/a/1 again.png": "contradictory",
        "data/training/b/1.png": "contradictory",
        "data/training/a/broken.png": "unreadable_image",
    }
    assert (tmp_path / "manifest.left-out.csv").read_text().count("\n") == 5
    assert raw.labels == ("a", "b")
    splits = Counter(sample.split for sample in raw.samples)
    assert splits["test"] == 6  # as given; train is divided, as there is no val
    assert splits["val"] in (3, 4)
    assert all("/test/" not in str(sample.image) for sample in raw.samples if sample.split != "test")


def test_texts_beside_pictures_have_an_encoding_of_their_own(tmp_path):
    for number in range(6):
        photo(tmp_path / "data" / f"{number}.png", number)
        text = f"今天天气真好，我很开心 {number}\r\n" if number % 2 else f"glücklich “{number}”\n"
        (tmp_path / "data" / f"{number}.txt").write_bytes(text.encode("gb18030" if number % 2 else "utf-8"))
    photo(tmp_path / "data" / "6.png", 6)
    found, raw = made(tmp_path)
    assert found.listing.encodings == Counter({"UTF-8": 3, "GB18030": 3})
    assert raw.task == "retrieval"
    assert raw.samples[1].texts[0].text == "今天天气真好，我很开心 1"
    assert raw.samples[2].texts[0].text == "glücklich “2”"
    assert reasons(found) == {"data/6.png": "no_caption"}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_captions_of_a_picture_become_one_sample(tmp_path, suffix):
    rows = [{"image": f"{number // 5}.png", "caption": f"text {number}"} for number in range(40)]
    for number in range(8):
        photo(tmp_path / f"{number}.png", number)
    source = tmp_path / f"captions{suffix}"
    if suffix == ".jsonl":
        source.write_text("\n".join(map(json.dumps, [*rows, {"image": 5, "caption": {}}])) + "\n{oops\n")
    else:
        pq.write_table(pa.Table.from_pylist(rows), source)
    _, raw = made(source, out=tmp_path / "captions.m.jsonl")
    assert [len(sample.texts) for sample in raw.samples] == [5] * 8
    assert {sample.split for sample in raw.samples} >= {"train", "val"}


def test_several_labels_ratings_and_boxes(tmp_path):
    rows: list[list[object]] = [
        ["image", "tags", "valence", "arousal", "dominance", "x1", "y1", "x2", "y2", "id", "label"]
    ]
    for number in range(9):
        photo(tmp_path / f"{number}.png", number)
        rows.append(
            [
                f"{number}.png",
                ["joy|fear", "fear|awe", "joy"][number % 3],
                0.5,
                0.25,
                1,
                0,
                0,
                9,
                9,
                "same",
                "",
            ]
        )
    found, raw = made(table(tmp_path / "t.csv", *rows), columns={"labels": ["tags"]})
    assert (raw.task, raw.labels) == ("emotion", ("awe", "fear", "joy"))
    assert raw.samples[0].labels == ("joy", "fear")
    assert raw.samples[0].vad == (5.5, 3.25, 10.0)
    assert raw.samples[0].box == (0, 0, 9, 9)
    assert found.declaration.rating_range == (0.0, 1.0)
    assert [sample.id for sample in raw.samples] == [f"{number}.png" for number in range(9)]
    assert raw.samples[0].metadata["source id"] == "same"
    assert '"separator"' not in found.content


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=3, max_size=5
    )
)
@settings(max_examples=15)
def test_any_text_is_read_back_or_refused(tmp_path_factory, texts):
    root = tmp_path_factory.mktemp("texts")
    rows = [
        {"image": f"{number}.png", "text": text, "label": "a;b" if number else ";"}
        for number, text in enumerate(texts)
    ]
    for number in range(len(rows)):
        photo(root / f"{number}.png", number)
    source = root / "t.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)))
    columns = {"labels": ["label"], "text": ["text"]}
    for suffix in (".csv", ".jsonl"):
        try:
            _, raw = made(source, out=root / f"m{suffix}", columns=columns)
        except DatasetError as error:
            if suffix == ".csv" and "give --out NAME.jsonl" in str(error):
                continue
            if "no sample of train has a text" in str(error) and not all(text.strip() for text in texts):
                continue
            raise
        assert [[text.text for text in sample.texts] for sample in raw.samples] == [
            [text] if text.strip() else [] for text in texts
        ]
        assert raw.task == "classification"


def test_a_text_that_only_other_splits_have_is_no_text_to_learn_from(tmp_path):
    """Which of three pictures is not in train depends on the seed, so each of them is tried."""
    for number in range(3):
        photo(tmp_path / f"{number}.png", number)
    refused = []
    for number in range(3):
        rows = [
            {"image": f"{n}.png", "text": "words" if n == number else "", "label": "ab"[n > 0]}
            for n in range(3)
        ]
        source = tmp_path / f"t{number}.jsonl"
        source.write_text("\n".join(map(json.dumps, rows)))
        try:
            _, raw = made(
                source, out=tmp_path / f"m{number}.jsonl", columns={"labels": ["label"], "text": ["text"]}
            )
            assert [len(sample.texts) for sample in raw.samples] == [n == number for n in range(3)]
        except DatasetError as error:
            refused.append(str(error))
    assert refused
    assert all(one.startswith("no sample of train has a text, ") and "--seed" in one for one in refused)


def test_pictures_of_no_train_are_kept_where_there_is_no_train(tmp_path):
    """They are for a model that was trained elsewhere."""
    rows: list[list[object]] = [["image", "label", "split"]]
    for number in range(4):
        photo(tmp_path / f"{number}.png", number)
        rows.append([f"{number}.png", "ab"[number % 2], "test"])
    found = initial_manifest(table(tmp_path / "t.csv", *rows))
    assert set(found.split_of.values()) == {"test"}


def test_splits_that_the_source_parts_are_named(tmp_path):
    rows: list[list[object]] = [["image", "text", "split"]]
    for number in range(6):
        photo(tmp_path / f"{number}.png", number // 2, brighter=3 * (number % 2))
        rows.append([f"{number}.png", f"{number}", ["train", "val"][number % 2]])
    source = table(tmp_path / "t.csv", *rows)
    found = initial_manifest(source)
    assert any("3 pictures or groups are in two splits of the source" in note for note in found.notes)
    assert [found.split_of[sample.id] for sample in found.samples] == ["train", "val"] * 3
    made(source, resplit=True)


def test_what_cannot_be_understood_is_refused_with_a_cure(tmp_path):
    photo(tmp_path / "a.png", 0)
    wrong = table(tmp_path / "wrong.csv", ["file", "text"], ["b.png", "x"])
    table(tmp_path / "bare.csv", ["file", "note"], ["a.png", "x"])
    table(tmp_path / "no header.csv", ["a.png", "x"], ["a.png", "x"])
    for source, options, message in (
        (tmp_path / "no.csv", {}, "neither a folder nor"),
        (tmp_path, {}, "mmer init .*bare.csv"),
        (wrong, {}, r"no column \(file, text\).*give --images FOLDER or --image COLUMN"),
        (wrong, {"columns": {"image": ["file"]}}, "line 2: image 'b.png' does not exist"),
        (wrong, {"columns": {"image": ["nix"]}}, "no column 'nix': the columns are file, text"),
        (wrong, {"encoding": "klingon"}, "is no encoding"),
        (wrong, {"out": tmp_path / "m.txt"}, "end it with .csv or .jsonl"),
        (wrong, {"out": tmp_path / "m.csv", "images": tmp_path.parent}, "the folder of the pictures"),
        (
            table(tmp_path / "bare.csv", ["file", "note"], ["a.png", "x"]),
            {},
            "name one by --labels or --text",
        ),
        (table(tmp_path / "no header.csv", ["a.png", "x"], ["a.png", "x"]), {}, "names a picture"),
    ):
        with pytest.raises(DatasetError, match=message):
            initial_manifest(source, **options)


def test_a_column_that_may_hold_labels_is_pointed_out(tmp_path):
    rows: list[list[object]] = [["file", "caption", "mood", "price"]]
    for number in range(12):
        photo(tmp_path / f"{number}.png", number)
        rows.append([f"{number}.png", f"text {number}", ("glad", "sad", "calm")[number % 3], number])
    found, raw = made(table(tmp_path / "posts.csv", *rows))
    (note,) = [note for note in found.notes if "--labels" in note]
    assert note == "the column mood has 3 values (calm, glad, sad): if they are labels, give --labels mood"
    assert (raw.name, raw.task) == ("posts", "retrieval"), "posts.manifest.csv is of posts"
    pointed = initial_manifest(tmp_path / "posts.csv", columns={"labels": ["mood"]})
    assert not [note for note in pointed.notes if "--labels" in note]
    assert IngestConfig(root=found.path).dataset == "manifest"
