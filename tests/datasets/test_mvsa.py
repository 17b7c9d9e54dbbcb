"""MVSA-Single and MVSA-Multiple, sound and hostile, from files that the tests write."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmer_core.config import IngestConfig
from mmer_core.datasets.cells import CELL_LIMIT
from mmer_core.datasets.check import check
from mmer_core.datasets.formats.mvsa import Mvsa
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.prepared import Prepared
from mmer_core.errors import DatasetError

SINGLE = "ID\ttext,image"
MULTIPLE = "ID" + 3 * "\ttext,image"


def _tweet(root: Path, identity: object, text: bytes | None = b"a tweet", colour: int = 0) -> None:
    (root / "data").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (colour, 100, 200)).save(root / "data" / f"{identity}.jpg")
    if text is not None:
        (root / "data" / f"{identity}.txt").write_bytes(text)


def _labels(root: Path, *lines: str | bytes) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    parts = (line if isinstance(line, bytes) else line.encode() for line in lines)
    (root / "labelResultAll.txt").write_bytes(b"\n".join(parts) + b"\n")
    return root


def _reasons(raw) -> dict[str, str]:
    return {row.id: row.reason for row in raw.quarantined}


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        ("positive,positive", "positive"),
        ("positive,neutral", "positive"),
        ("neutral,positive", "positive"),
        ("neutral,neutral", "neutral"),
        ("neutral,negative", "negative"),
        ("negative, neutral", "negative"),
        ("positive,negative", "opposite_labels"),
        ("negative,positive", "opposite_labels"),
        ("Positive,neutral", "unknown_label"),
        ("positive", "unknown_label"),
        ("positive,neutral,neutral", "unknown_label"),
        ("positive,", "unknown_label"),
        (" ", "no_label"),
    ],
)
def test_single(tmp_path, cell, label):
    _tweet(tmp_path, 1)
    raw = Mvsa().read(_labels(tmp_path, SINGLE, f"1\t{cell}"))
    assert raw.name == "MVSA-Single"
    assert raw.labels == ("positive", "neutral", "negative")
    assert raw.inputs == 1
    found = [name for sample in raw.samples for name in sample.labels] + list(_reasons(raw).values())
    assert found == [label]


@pytest.mark.parametrize(
    ("votes", "label"),
    [
        ("positive,neutral|positive,neutral|negative,negative", "positive"),
        # The majority is taken before text and image are compared: every annotator is opposite here.
        ("positive,negative|neutral,positive|neutral,negative", "negative"),
        ("positive,neutral|neutral,neutral|negative,neutral", "no_majority"),
        ("neutral,neutral|neutral,positive|neutral,negative", "no_majority"),
        ("positive,negative|positive,negative|neutral,neutral", "opposite_labels"),
        ("positive,positive|positive,positive|", "no_label"),
    ],
)
def test_multiple(tmp_path, votes, label):
    _tweet(tmp_path, 1)
    raw = Mvsa().read(_labels(tmp_path, MULTIPLE, "1\t" + votes.replace("|", "\t")))
    assert raw.name == "MVSA-Multiple"
    found = [name for sample in raw.samples for name in sample.labels] + list(_reasons(raw).values())
    assert found == [label]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b" RT @a: so  happy \r\n#yes\x0c\n", " RT @a: so  happy \r\n#yes\x0c\n"),
        ("naïve 🐕".encode(), "naïve 🐕"),
        ("naïve 🐕".encode("utf-16"), "naïve 🐕"),
    ],
)
def test_text_is_kept_byte_for_byte(tmp_path, content, text):
    _tweet(tmp_path, 1, content)
    raw = Mvsa().read(_labels(tmp_path, SINGLE, "1\tpositive,positive"))
    assert [one.text for one in raw.samples[0].texts] == [text]
    assert not raw.notes


def test_other_encodings_are_noted_by_line(tmp_path):
    _tweet(tmp_path, 1, b"fine\ncaf\xe9\n")
    raw = Mvsa().read(_labels(tmp_path, SINGLE, "1\tpositive,positive"))
    assert raw.samples[0].texts[0].text == "fine\ncaf\ufffd\n"
    (note,) = raw.notes
    assert note.reason == "not_utf8"
    assert "line 2 of data/1.txt" in note.detail


def test_every_bad_row_costs_itself_only(tmp_path):
    root = tmp_path / "mvsa"
    sound = "positive,positive"
    for identity in (1, 2, 3, 4, 5, 6, 7, 8, 9, 13, "quoted", 14, "alone"):
        _tweet(root, identity, colour=3 if identity == 3 else 0)
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    data = root / "data"
    (data / "2.jpg").unlink()
    (data / "3.txt").unlink()
    (data / "4.txt").write_bytes(b" \n")
    (data / "5.txt").write_bytes(b"a\0b")
    (data / "6.txt").unlink()
    (data / "6.txt").symlink_to(secret)
    (data / "7.txt").write_bytes(b"x" * (4 * CELL_LIMIT + 5))
    (data / "8.txt").unlink()
    os.mkfifo(data / "8.txt")
    (data / "9.JPG").write_bytes((data / "9.jpg").read_bytes())
    (data / "9.jpg").unlink()
    (data / "only.txt").write_text("a tweet without a photo and a row")
    raw = Mvsa().read(
        _labels(
            root,
            SINGLE,
            *(f"{identity}\t{sound}" for identity in range(1, 10)),
            f"1\t{sound}",
            f"../../secret\t{sound}",
            f"/etc/passwd\t{sound}",
            f"sub/1\t{sound}",
            f"\t{sound}",
            "",
            "10",
            f"11\t{sound}\t{sound}",
            f"12\0\t{sound}",
            b"caf\xe9\t" + sound.encode(),
            f'13\t"{sound}',
            f'quoted\t"{sound}"',
            f'14\t{sound}"',
            f"{'9' * 5000}\t{sound}",
        )
    )
    assert [sample.id for sample in raw.samples] == ["1", "quoted"]
    assert _reasons(raw) == {
        "1": "duplicate_id",
        "2": "missing_image",
        "3": "missing_text",
        "4": "no_text",
        "5": "unreadable_text",
        "6": "outside",
        "7": "unreadable_text",
        "8": "missing_text",
        "9": "missing_image",
        "../../secret": "outside",
        "/etc/passwd": "outside",
        "sub/1": "outside",
        "line 15 of labelResultAll.txt": "no_id",
        "10": "malformed_row",
        "11": "malformed_row",
        "12\\x00": "malformed_row",
        "caf\ufffd": "malformed_row",
        "13": "unknown_label",
        "14": "unknown_label",
        "9" * 4095 + "…": "missing_image",
        "alone": "no_label",
        "only": "no_label",
    }
    assert raw.inputs == len(raw.samples) + len(raw.quarantined)
    details = {row.id: row.detail for row in raw.quarantined}
    assert "line 2 of labelResultAll.txt already" in details["1"]
    assert "data/6.txt is a link that leads out of the dataset" in details["6"]
    assert f"data/7.txt has more than {CELL_LIMIT} characters" in details["7"]
    assert "'data/9.JPG'" in details["9"]
    assert "data/alone.jpg and data/alone.txt" in details["alone"]
    assert "secret" not in str(raw.samples)


def test_splits_follow_from_the_photo(tmp_path):
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    data.mkdir()
    count = 400
    for number in range(count):
        (data / f"{number}.jpg").write_bytes(rng.bytes(16) if number else b"photo")
        (data / f"{number}.txt").write_text("a tweet")
    (data / "399.jpg").write_bytes(b"photo")
    rows = [f"{number}\tneutral,neutral" for number in range(count)]
    splits = {sample.id: sample.split for sample in Mvsa().read(_labels(tmp_path, SINGLE, *rows)).samples}
    # The SHA-256 of b"photo" begins with 55c6, a third of the way from 0000 to ffff.
    assert splits["0"] == splits["399"] == "train"
    shares = pd.Series(splits).value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.8, abs=0.06)
    assert shares["val"] == pytest.approx(0.1, abs=0.05)
    assert shares["test"] == pytest.approx(0.1, abs=0.05)
    fewer = Mvsa().read(_labels(tmp_path, SINGLE, *reversed(rows[::3]))).samples
    assert {sample.id: sample.split for sample in fewer} == {
        str(n): splits[str(n)] for n in range(0, count, 3)
    }


def test_it_is_prepared_and_checked(tmp_path):
    root = tmp_path / "nested" / "MVSA_Single"
    labels = ("positive", "neutral", "negative")
    rows = [f"{number}\t{labels[number % 3]},neutral" for number in range(40)]
    for number in range(40):
        _tweet(root, number, f" tweet {number}\r\n\n".encode(), colour=6 * number)
    (root / "data" / "5.jpg").write_bytes(b"no photo")
    _labels(root, SINGLE, *rows, "40\tpositive,negative")

    config = IngestConfig(dataset="mvsa", root=root.parent, context_size=16)
    summary = ingest(config, tmp_path / "prepared", tmp_path / "scratch", workers=1)

    assert summary.labels == labels
    assert summary.inputs == 41
    assert sum(summary.counts.values()) == 39
    assert summary.quarantined == {"missing_image": 1, "unreadable_image": 1}
    listed = pd.read_csv(tmp_path / "prepared" / "quarantine.csv", dtype=str).set_index("Id")
    assert "line 7 of labelResultAll.txt" in listed["Detail"]["5"]
    train = Prepared.open(tmp_path / "prepared").split("train")
    for row, identity in enumerate(train.table["Id"]):
        assert train.labels[row].tolist() == [int(place == int(identity) % 3) for place in range(3)]
    assert train.texts == [f" tweet {identity}\r\n\n" for identity in train.table["Id"]]
    assert set(train.table["Image_Label"]) == {"neutral"}

    found = check(config, tmp_path / "scratch", workers=1)
    assert (found.inputs, found.sound) == (41, 39)


def test_a_folder_that_is_not_mvsa_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"holds no labelResultAll\.txt"):
        Mvsa().read(tmp_path)
    for header, message in (
        ("ID,text,image", "must name ID and text,image"),
        ("ID\ttext,image\ttext,image", "has 2 columns"),
        (SINGLE, "has no row"),
    ):
        with pytest.raises(DatasetError, match=message):
            Mvsa().read(_labels(tmp_path, header))
    (tmp_path / "labelResultAll.txt").unlink()
    for name in ("single", "multiple"):
        _labels(tmp_path / name, SINGLE)
    with pytest.raises(DatasetError, match="holds 2 datasets"):
        Mvsa().read(tmp_path)
