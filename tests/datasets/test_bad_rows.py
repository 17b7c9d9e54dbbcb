"""Every kind of bad row, in every format: it is named by its line, it costs no other row, and ``mmer data check`` and an
ingestion say the same of it."""

import csv
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from test_emotic_reader import annotated_tree

from mmer_core.config import IngestConfig
from mmer_core.datasets.check import check
from mmer_core.datasets.ingest import ingest, source_identity
from mmer_core.datasets.prepared import Prepared
from mmer_core.errors import ConfigError, DatasetError
from mmer_core.stages.update_index import read_ids

CAPTION = "A dog , it runs ."
LONG = "x" * 140_000


def both_say(config: IngestConfig, folder: Path) -> tuple[dict[str, list[str]], list[tuple[str, str, str]]]:
    """Kept texts by id, and what is quarantined as ``(id, reason, detail)``: the same by a check and an ingestion."""
    checked = check(config, folder / "check", workers=1)
    source_identity(config)  # reads all of it too
    card = ingest(config, folder / "out", folder / "scratch", workers=1)
    with (folder / "out" / "quarantine.csv").open(newline="", encoding="utf-8") as file:
        quarantined = [tuple(row) for row in csv.reader(file)][1:]
    notes = ("empty_split", "leakage", "not_utf8", "similar_labels", "reserved_column")
    reported = [(f.split, f.id, f.reason, f.detail) for f in checked.faults if f.reason not in notes]
    assert Counter(reported) == Counter(quarantined)
    assert checked.sound == sum(card.counts.values())
    assert checked.inputs == card.inputs
    prepared = Prepared.open(folder / "out")
    kept: dict[str, list[str]] = {}
    for name in prepared.card.splits:
        split = prepared.split(name)
        for identity in split.ids:
            kept[str(identity)] = []
        for row, text in zip(split.text_sample, split.texts, strict=True):
            kept[str(split.ids[row])].append(text)
    return kept, [(id_, reason, detail) for _, id_, reason, detail in quarantined]


def photos(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)


CSV_ROWS = {
    "open quote": b'bad,train,a.png,"open',
    "closing quote alone": b'"bad,train,a.png,text',
    "text behind a quote": b'bad,train,a.png,"text" more',
    "quotes in quotes": b'bad,train,a.png,"he said "hi""',
    "too few": b"bad,train,a.png",
    "too many": b"bad,train,a.png,one,two",
    "NUL": b"bad,train,a.png,a\0b",
    "quoted NUL": b'bad,train,a.png,"a\0b"',
    "long": b"bad,train,a.png," + LONG.encode(),
    "quoted long": b'bad,train,a.png,"' + b"xy z\n" * 30_000 + b'"',
    "id in Latin-1": b"b\xe4d,train,a.png,text",
    "surrogate": b"b\xed\xa0\x80d,train,a.png,text",
    "long name": b"bad,train," + LONG[:300].encode() + b".png,text",
    "no such split": b"bad,tr\xc3\xa4in,a.png,text",
}
JSON_ROWS = {
    "not closed": '{"id": "bad", "split": "train", "image": "a.png", "text": "open',
    "a list": '["bad"]',
    "a name twice": '{"id": "bad", "id": "worse", "split": "train", "image": "a.png", "text": "t"}',
    "two columns in one": '{"id": "bad", "ID": "worse", "split": "train", "image": "a.png", "text": "t"}',
    "NaN": '{"id": "bad", "split": "train", "image": "a.png", "text": "t", "x1": NaN}',
    "Infinity": '{"id": "bad", "split": "train", "image": "a.png", "text": "t", "note": -Infinity}',
    "too large": '{"id": "bad", "split": "train", "image": "a.png", "text": "t", "x1": 1e999}',
    "too many digits": '{"id": ' + "9" * 5000 + ', "split": "train", "image": "a.png", "text": "t"}',
    "nested": '{"id": "bad", "note": ' + "[" * 100_000 + "}",
    "surrogate": '{"id": "bad\\ud800", "split": "train", "image": "a.png", "text": "t"}',
    "surrogate in a list": '{"id": "bad", "split": "train", "image": "a.png", "text": ["t", "\\udcff"]}',
    "surrogate in a name": '{"id": "bad", "split": "train", "image": "a.png", "text": "t", "\\udcff": 1}',
    "NUL": '{"id": "bad", "split": "train", "image": "a\\u0000.png", "text": "t"}',
    "long": json.dumps({"id": "bad", "split": "train", "image": "a.png", "text": LONG}),
    "long name": json.dumps({"id": "bad", "split": "train", "image": LONG[:300] + ".png", "text": "t"}),
    "long path": json.dumps({"id": "bad", "split": "train", "image": "x/" * 4000 + ".png", "text": "t"}),
}
PARQUET_ROWS = {
    "NUL": {"id": "b\0d", "image": "a.png", "text": ["t"]},
    "long": {"id": "bad", "image": "a.png", "text": [LONG]},
    "long name": {"id": "bad", "image": LONG[:300] + ".png", "text": ["t"]},
    "no image": {"id": "bad", "image": None, "text": ["t"]},
}
SOUND = {"one": "plain", "two": "a, b", "three": "two\nlines", "four": 'a "quote"', "five": "last"}


def manifest(path: Path) -> IngestConfig:
    return IngestConfig(dataset="manifest", root=path, context_size=16, body_size=16)


@pytest.mark.parametrize("how", ["one", "all"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_manifests(tmp_path: Path, suffix: str, how: str) -> None:
    """Sound rows around each kind of bad one, alone or with all the others; and the line of each is named."""
    names = [f"{name}.png" for name in SOUND]
    photos(tmp_path, "a.png", *names)
    kinds = list({".csv": CSV_ROWS, ".jsonl": JSON_ROWS, ".parquet": PARQUET_ROWS}[suffix].values())
    for number, batch in enumerate([kinds] if how == "all" else [[kind] for kind in kinds]):
        path = tmp_path / f"m{suffix}"
        lines = write_around(path, batch)
        kept, quarantined = both_say(manifest(path), tmp_path / str(number))
        assert {name: [" ".join(text.split()) for text in texts] for name, texts in kept.items()} == {
            name: [" ".join(text.split())] for name, text in SOUND.items()
        }
        reported = [detail for _, reason, detail in quarantined if not reason.startswith("caption_")]
        assert [detail.split(":")[0] for detail in reported] == lines


def write_around(path: Path, bad: list) -> list[str]:
    """Write a manifest with a bad row behind each sound one, by turns; returns where the bad ones stand."""
    order = [*SOUND.items()]
    first, rest = order[:2], order[2:]
    rows: list[object] = [*first, *bad, *rest]
    if path.suffix == ".parquet":
        table = [
            {"id": r[0], "image": f"{r[0]}.png", "text": [r[1]]} if isinstance(r, tuple) else r for r in rows
        ]
        for row in table:
            row["split"] = "train"
        pq.write_table(pa.Table.from_pylist(table), path)
        return [f"row {len(first) + place + 1}" for place in range(len(bad))]
    lines, line = [], 1
    content = b"" if path.suffix == ".jsonl" else b"id,split,image,text\n"
    for row in rows:
        line = content.count(b"\n") + 1
        if not isinstance(row, tuple):
            lines.append(f"line {line}")
            content += (row.encode() if isinstance(row, str) else row) + b"\n"
        elif path.suffix == ".jsonl":
            fields = {"id": row[0], "split": "train", "image": f"{row[0]}.png", "text": row[1]}
            content += json.dumps(fields).encode() + b"\n"
        else:
            quoted = row[1].replace('"', '""')
            content += f'{row[0]},train,{row[0]}.png,"{quoted}"\n'.encode()
    path.write_bytes(content)
    return lines


FLICKR_ROWS = {
    "captions.txt": [
        b'b.jpg,"open',
        b'b.jpg,"text" more',
        b"b.jpg",
        b"b.jpg,a\0b",
        b"b.jpg," + LONG.encode(),
        b'"b.jpg,text',
    ],
    "Flickr8k.token.txt": [b"b.jpg#0 no tab", b"b.jpg#0\ta\0b", b"b.jpg#0\t" + LONG.encode()],
    "dataset_flickr8k.json": [
        {"raw": "half \ud800"},
        {"raw": 7},
        {},
        None,
        {"raw": "a\0b"},
        {"raw": LONG},
    ],
}


@pytest.mark.parametrize("name", FLICKR_ROWS)
def test_flickr8k(tmp_path: Path, name: str) -> None:
    root = tmp_path / "flickr"
    photos(root / "Images", "a.jpg", "b.jpg", "c.jpg")
    bad = FLICKR_ROWS[name]
    (root / "Flickr_8k.trainImages.txt").write_bytes(b"a.jpg\nb.jpg\n" + b"n" * 300 + b".jpg\n")
    (root / "Flickr_8k.testImages.txt").write_bytes(b"c.jpg\n../../out.jpg\nnul\0.jpg\n")
    for strange in (os.fsencode(root / "Images") + b"/\xff.jpg", os.fsencode(root) + b"/Images/l.jpg"):
        os.symlink(b"nowhere", strange)
    quote = 'A sign says "stop" .'
    if name == "captions.txt":
        lines = [
            b"image,caption",
            b"a.jpg," + CAPTION.encode(),
            *bad,
            b'c.jpg,"A sign says ""stop"" ."',
            b"../../out.jpg,x",
        ]
        (root / name).write_bytes(b"\n".join(lines) + b"\n")
        named = [f"line {3 + place} of {name}" for place in range(len(bad))]
    elif name == "Flickr8k.token.txt":
        lines = [
            b"a.jpg#0\t" + CAPTION.encode(),
            *bad,
            b"c.jpg#0\t" + quote.encode(),
            b'b.jpg#9\t"',
            b"../../out.jpg#0\tx",
        ]
        (root / name).write_bytes(b"\n".join(lines) + b"\n")
        named = [f"line {2 + place} of {name}" for place in range(len(bad))]
    else:
        images = [
            {"filename": "a.jpg", "split": "train", "sentences": [{"raw": CAPTION}]},
            {"filename": "b.jpg", "split": "train", "sentences": bad},
            {"filename": "c.jpg", "split": "test", "sentences": [{"raw": quote}]},
            {"filename": "../../out.jpg", "split": "test", "sentences": [{"raw": "x"}]},
        ]
        (root / name).write_text(json.dumps({"images": images}))
        named = [f"sentence {place} of b.jpg in {name}" for place in range(len(bad))]
    config = IngestConfig(dataset="flickr8k", root=root, context_size=16)
    kept, quarantined = both_say(config, tmp_path)
    others = {"b.jpg": ['"']} if name == "Flickr8k.token.txt" else {}
    assert kept == {"a.jpg": [CAPTION], **others, "c.jpg": [quote]}
    reported = [detail for _, reason, detail in quarantined if reason == "caption_malformed"]
    assert [detail.split(": ")[0] for detail in reported] == named
    reasons = {id_: reason for id_, reason, _ in quarantined}
    assert reasons["../../out.jpg"] == "outside"
    assert reasons["nul\\x00.jpg"] == "bad_name"
    assert reasons["\\udcff.jpg"] == "bad_name"


def test_emotic_captions(tmp_path: Path) -> None:
    photo = "COCO_train2014_000000000042.jpg"
    root = annotated_tree(tmp_path, filename=photo)
    photos(root / "mscoco" / "images", photo)
    place = f"mscoco/images,{photo}".encode()
    bad = [
        place + b',"open',
        place + b',"text" more',
        place,
        place + b",a\0b",
        place + b"," + LONG.encode(),
        b"mscoco/images," + LONG.encode() + b".jpg,text",
    ]
    (tmp_path / "sidecar.csv").write_bytes(
        b"folder,filename,caption\n"
        + place
        + b',"Mine, all"\n'
        + b"\n".join(bad)
        + b"\n"
        + place
        + b",Last\n"
    )
    people = tmp_path / "people.csv"
    people.write_text(
        f"person,folder,filename,caption\n0,mscoco/images,{photo},Mine\n"
        + "9" * 5000
        + ",a,b.jpg,c\nx,a,b.jpg,c\n"
    )
    entries = [
        {"image_id": 42, "caption": "A dog"},
        {"image_id": 42},
        {"image_id": 42.5, "caption": "x"},
        {"image_id": True, "caption": "x"},
        {"caption": "x", "image_id": "42 "},
        {"image_id": 42, "caption": "half \ud800"},
        None,
        {"image_id": "42", "caption": "A cat"},
    ]
    coco = tmp_path / "captions.json"
    coco.write_text(json.dumps({"annotations": entries}))
    for number, (fields, texts, named) in enumerate([
        ({"captions": tmp_path / "sidecar.csv"}, ["Mine, all", "Last"], [f"line {n} of sidecar.csv" for n in range(3, 9)]),
        ({"captions": people}, ["Mine"], ["line 3 of people.csv", "line 4 of people.csv"]),
        ({"coco_captions": (coco,)}, ["A dog", "A cat"], [f"annotation {n} of captions.json" for n in range(1, 7)]),
    ]):  # fmt: skip
        config = IngestConfig.model_validate({"root": root, "context_size": 16, "body_size": 16, **fields})
        kept, quarantined = both_say(config, tmp_path / str(number))
        assert list(kept.values()) == [texts]
        assert [detail.split(": ")[0] for _, _, detail in quarantined] == named
        assert {reason for _, reason, _ in quarantined} == {"caption_malformed"}


def test_bytes_that_are_no_text_are_noted(tmp_path: Path) -> None:
    photos(tmp_path, "a.png", "b.png")
    (tmp_path / "m.csv").write_bytes(b"id,split,image,text\n1,train,a.png,caf\xe9\n2,val,b.png,fine\n")
    faults = check(manifest(tmp_path / "m.csv"), tmp_path / "check", workers=1).faults
    assert [(fault.id, fault.reason) for fault in faults] == [("1", "not_utf8")]
    assert "line 2: " in faults[0].detail


def test_a_manifest_without_any_row_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('id,image\n"a,b.png\n')
    for attempt in (
        source_identity,
        lambda config: ingest(config, tmp_path / "o", tmp_path / "s", workers=1),
    ):
        with pytest.raises(DatasetError, match="line 2: a quote opens here"):
            attempt(manifest(tmp_path / "m.csv"))


def test_what_is_no_file_in_a_dataset_ends_nothing(tmp_path: Path) -> None:
    """Links that lead nowhere or in a circle, and a pipe, which nobody writes to."""
    root = tmp_path / "flickr"
    photos(root / "Images", "a.jpg", "b.jpg", "gone.jpg")
    (root / "captions.txt").write_text("image,caption\na.jpg,one\nb.jpg,two\ngone.jpg,three\npipe.jpg,four\n")
    (root / "Flickr_8k.trainImages.txt").write_text("a.jpg\ngone.jpg\nb.jpg\n")
    (root / "Flickr_8k.testImages.txt").write_text("b.jpg\n")
    (root / "Images" / "gone.jpg").unlink()
    (root / "Images" / "gone.jpg").symlink_to("nowhere")
    (root / "circle").symlink_to("circle")
    os.mkfifo(root / "pipe.jpg")
    config = IngestConfig(dataset="flickr8k", root=root, context_size=16)
    kept, quarantined = both_say(config, tmp_path)
    assert kept == {"a.jpg": ["one"]}
    reported = {id_: (reason, detail) for id_, reason, detail in quarantined}
    assert reported["gone.jpg"][0] == "unreadable_image"
    assert reported["b.jpg"] == (
        "no_split",
        "line 1 of Flickr_8k.testImages.txt (b.jpg, in train too); keep each in one",
    )


def test_ids_to_delete_are_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes("é\na\u2028b\r\nlast".encode("utf-16"))
    assert read_ids(tmp_path / "ids.txt") == ["é", "a\u2028b", "last"]
    (tmp_path / "ids.txt").write_bytes(b"a\n\xff\n")
    with pytest.raises(ConfigError, match="line 2 holds bytes that are not UTF-8"):
        read_ids(tmp_path / "ids.txt")
