"""``mmer data check``: every fault of every kind of dataset at once, and nothing stored."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flows.cli import main
from mmer_core.config import IngestConfig, SyntheticConfig
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.synthetic import write_emotic


@pytest.fixture
def check(capsys, monkeypatch, tmp_path):
    """Run ``mmer data check FLAGS``; returns the exit code and the lines printed."""
    monkeypatch.chdir(tmp_path)

    def run(*flags: object) -> tuple[int, list[str]]:
        capsys.readouterr()
        code = 0
        try:
            main(["data", "check", *map(str, flags), "--store", str(tmp_path / "store")])
        except SystemExit as end:
            code = int(end.code or 0)
        assert not (tmp_path / "store").exists()
        assert not (tmp_path / ".mmer").exists()
        return code, capsys.readouterr().out.splitlines()

    return run


def _photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def test_a_manifest_with_many_faults(check, tmp_path):
    _photo(tmp_path / "m" / "a.png")
    (tmp_path / "m" / "broken.png").write_bytes(b"not a picture")
    rows = [
        {"id": "fine", "split": "train", "image": "a.png", "labels": ["x"], "x1": 0, "y1": 0, "x2": 4, "y2": 4},
        {"id": "broken", "split": "train", "image": "broken.png", "labels": ["x"]},
        {"id": "box[/b]", "split": "train", "image": "a.png", "labels": ["x"], "x1": 9, "y1": 0, "x2": 12, "y2": 4},
        {"id": "gone", "split": "test", "image": "gone.png", "labels": ["x"]},
        {"id": "strange", "split": "test", "image": "a.png", "labels": ["y"]},
    ]  # fmt: skip
    path = tmp_path / "m" / "m.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n{oops\n")
    code, lines = check("--dataset", "manifest", "--root", path)
    assert code == 1
    table = "\n".join(lines)
    for words in (
        ("broken", "unreadable_image", "line 2"), ("box[/b]", "empty_box", "line 3"),
        ("gone", "missing_image", "line 4"), ("strange", "unknown_label", "line 5"),
        ("malformed_row", "line 6", "not JSON"), ("val", "empty_split"),
    ):  # fmt: skip
        assert any(all(word in line for word in words) for line in lines), (words, table)
    assert lines[-1].startswith("1 of 6 samples are sound; ")


def test_a_sound_manifest(check, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    for name, pixels in zip("ab", noise, strict=True):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    path = tmp_path / "m.csv"
    path.write_text("id,split,image,text\n1,train,a.png,one\n2,val,b.png,two\n")
    code, lines = check("--root", path)
    assert (code, lines[-2:]) == (
        0, ["2 of 2 samples are sound", f"next: mmer pipeline --datasets.m.root {path}"]
    )  # fmt: skip
    assert lines[:3] == [
        "m: splits given",
        "encoding: UTF-8",
        "captioned pictures: 2 samples of 2 pictures",
    ]
    assert [line.split() for line in lines[4:-2]] == [["samples", "1", "1", "0"], ["texts", "1", "1", "0"]]


def test_repeated_faults_are_one_and_texts_of_broken_photos_are_none(check, tmp_path):
    """With the labels that the dataset is taken for, and the encoding that spoils its texts."""
    rows = [f"{n},train,gone{n}.png,x," for n in range(800)] + [
        f"a{n},train,a.png,x,很开心的一天，今天天气真好" for n in range(2)
    ]
    _photo(tmp_path / "a.png")
    path = tmp_path / "m.csv"
    text = "\n".join(['# {"multi_label": false}', "id,split,image,label,text", *rows, "v,val,a.png,y,很开心"])
    path.write_bytes(text.encode("gb18030"))
    code, lines = check("--dataset", "manifest", "--root", path)
    assert code == 1
    assert lines[1:3] == [
        "encoding: GB18030",
        "single-label classification, 1 labels: 2 samples of 1 pictures",
    ]
    assert [line.split() for line in lines if line.startswith(" x ")] == [["x", "2", "0", "0"]]
    assert (
        sum("missing_image" in line for line in lines) == 5
    )  # three, the others together, and the last line
    assert any("and 797 more rows: --all lists them" in line for line in lines)
    assert (
        lines[-1]
        == "2 of 803 samples are sound; 800 missing_image, 2 not_utf8, 1 unknown_label, 1 empty_split"
    )
    _, lines = check("--dataset", "manifest", "--root", path, "--all")
    assert sum("missing_image" in line for line in lines) == 801

    _photo(tmp_path / "c" / "Images" / "b.jpg")
    (tmp_path / "c" / "Images" / "a.jpg").write_bytes(b"broken")
    (tmp_path / "c" / "captions.txt").write_text("image,caption\n" + "a.jpg,text\n" * 5 + "b.jpg,fine\n")
    (tmp_path / "c" / "Flickr_8k.trainImages.txt").write_text("a.jpg\n")
    (tmp_path / "c" / "Flickr_8k.devImages.txt").write_text("b.jpg\n")
    _, lines = check("--dataset", "flickr8k", "--root", tmp_path / "c")
    assert lines[-1] == "1 of 2 samples are sound; 1 unreadable_image, 1 empty_split"


def test_generated_splits_that_leak_name_the_cure(check, tmp_path):
    for number in range(24):
        noise = (
            np.random.default_rng(number // 12)
            .integers(20, 200, (8, 8, 3), dtype=np.uint8)
            .repeat(4, 0)
            .repeat(4, 1)
        )
        (tmp_path / "ab"[number // 12]).mkdir(exist_ok=True)
        Image.fromarray(noise + np.uint8(number % 12)).save(tmp_path / "ab"[number // 12] / f"{number}.png")
    code, lines = check("--dataset", "class-folders", "--root", tmp_path)
    assert code == 1
    assert lines[-1] == "mmer init makes splits that keep near-identical pictures together"


def test_tweets_of_another_encoding_are_counted(check, tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "data" / f"{number}.jpg")
        text = f"今天天气真好，我很开心 {number}" if number % 2 else "glücklich"
        (tmp_path / "data" / f"{number}.txt").write_bytes(text.encode("gb18030" if number % 2 else "utf-8"))
    rows = "".join(f"{number}\tpositive,positive\n" for number in range(4))
    (tmp_path / "labelResultAll.txt").write_text("ID\ttext,image\n" + rows)
    _, lines = check("--dataset", "mvsa", "--root", tmp_path)
    assert lines[1] == "encoding: UTF-8 (2 files), GB18030 (2 files)"


def test_what_stands_in_two_splits_is_told(check, tmp_path):
    _photo(tmp_path / "a.png")
    path = tmp_path / "m.csv"
    path.write_text("id,split,group,image,text\n1,train,Ann,a.png,one\n2,val,Ann,a.png,two\n")
    code, lines = check("--dataset", "manifest", "--root", path)
    assert code == 1
    assert lines[-1] == "2 of 2 samples are sound; 2 leakage"
    printed = [line.split("leakage")[1].strip() for line in lines[:-1] if "leakage" in line]
    assert printed == ["identical to 2 in val", "of one group with 2 in val"]


def test_flickr8k_tells_lines_of_captions_and_lists(check, tmp_path):
    root = tmp_path / "flickr"
    _photo(root / "Images" / "a.jpg")
    _photo(root / "Images" / "b.jpg")
    (root / "captions.txt").write_text('image,caption\na.jpg,"two\nlines"\na.jpg,\nx.jpg,lost\nb.jpg,fine\n')
    (root / "Flickr_8k.trainImages.txt").write_text("a.jpg\n")
    (root / "Flickr_8k.devImages.txt").write_text("b.jpg\n")
    code, lines = check("--dataset", "flickr8k", "--root", root)
    assert code == 1
    assert any("caption_empty" in line and "line 4 of captions.txt" in line for line in lines)
    assert any("caption_unknown_photo" in line and "line 5 of captions.txt" in line for line in lines)
    assert lines[-1].startswith("2 of 2 samples are sound")
    (root / "Flickr_8k.testImages.txt").write_text("c.jpg\na.jpg\nb.jpg\n")
    (root / "captions.txt").write_text("picture,caption\n")
    code, lines = check("--dataset", "flickr8k", "--root", root)
    printed = "\n".join(lines)
    assert code == 1
    assert "lacks the column image" in printed
    assert "line 2 of Flickr_8k.testImages.txt (a.jpg, in train too)" in printed
    assert "line 3 of Flickr_8k.testImages.txt (b.jpg, in val too)" in printed


def test_emotic_faults_are_those_of_an_ingest(check, tmp_path):
    root = write_emotic(tmp_path / "emotic", SyntheticConfig(images=30))
    config = IngestConfig(root=root, context_size=16, body_size=16)
    card = ingest(config, tmp_path / "out", tmp_path / "scratch", workers=1)
    quarantine = pd.read_csv(tmp_path / "out" / "quarantine.csv", keep_default_na=False)
    code, lines = check("--root", root, "--all")
    assert code == 1
    assert lines[-1].startswith(f"{sum(card.counts.values())} of {card.inputs} samples are sound")
    printed = Counter(
        reason for line in lines[1:-1] for reason in line.split() if reason in set(quarantine["Reason"])
    )
    assert printed == Counter(quarantine["Reason"])
