"""Labelled rows without an image: which are kept, where the images of the others are, their splits and leakage."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmer_core.config import IngestConfig
from mmer_core.datasets.check import check
from mmer_core.datasets.formats.manifest import manifest_identity, read_manifest
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.initial.manifest import initial_manifest
from mmer_core.datasets.leakage import find_leaks
from mmer_core.datasets.prepared import Prepared
from mmer_core.errors import DatasetError

BROKEN = "broken.png"
ROW = st.fixed_dictionaries(
    {
        "split": st.sampled_from(["train", "val"]),
        "image": st.sampled_from(["", "0.png", "1.png", "2.png", BROKEN]),
        "text": st.sampled_from(["", "one", "two"]),
        "labels": st.sampled_from(["a", "b"]),
    }
)
SOUND = {"split": "train", "image": "0.png", "text": "whole", "labels": "a"}


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    """The same rows in the format that the suffix names; empty cells are left out where the format can."""
    if path.suffix == ".csv":
        names = list(dict.fromkeys(name for row in rows for name in row))
        path.write_text(
            "\n".join(",".join([*row]) for row in [names, *([r.get(n, "") for n in names] for r in rows)])
        )
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps({n: cell for n, cell in row.items() if cell}) for row in rows))
    else:
        pq.write_table(
            pa.Table.from_pylist([{n: cell or None for n, cell in row.items()} for row in rows]), path
        )
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(noise.repeat(4, 0).repeat(4, 1)).save(root / f"{number}.png")
    (root / BROKEN).write_bytes(b"no picture")
    return root


def prepared(root: Path, manifest: Path, out: Path) -> Prepared:
    config = IngestConfig(dataset="manifest", root=manifest, context_size=24)
    ingest(config, out / "prepared", out / "scratch", workers=1)
    return Prepared.open(out / "prepared")


@settings(max_examples=25, deadline=None)
@given(drawn=st.lists(ROW, max_size=8), suffix=st.sampled_from([".csv", ".jsonl", ".parquet"]))
def test_each_kept_row_has_the_image_that_its_row_names_or_none(photos, tmp_path_factory, drawn, suffix):
    rows = [{"id": f"r{place}"} | row for place, row in enumerate([SOUND, *drawn])]
    data = prepared(photos, write(photos / f"m{suffix}", rows), tmp_path_factory.mktemp("out"))
    kept = [row for row in rows if row["image"] != BROKEN and (row["image"] or row["text"])]
    # A label that train shows on broken pictures only stays in the set; one that it does not show at all is unknown.
    known = {row["labels"] for row in rows if row["split"] == "train" and (row["image"] or row["text"])}
    kept = [row for row in kept if row["labels"] in known]
    assert (
        data.card.inputs == len(rows) == sum(data.card.counts.values()) + sum(data.card.quarantined.values())
    )
    for name in data.card.splits:
        split, own = data.split(name), [row for row in kept if row["split"] == name]
        assert split.ids == [row["id"] for row in own]
        shown = [place for place, row in enumerate(own) if row["image"]]
        assert split.image_sample.tolist() == shown
        assert split.streams == (("context",) if shown else ())
        assert split.without_image == len(own) - len(shown)
        assert len(split.images("context")) == len(shown) if shown else True
        for place in shown:
            picture = np.asarray(Image.open(photos / own[place]["image"]))
            assert np.array_equal(split.images("context")[split.image_rows(place)], picture)
        assert split.text_sample.tolist() == [place for place, row in enumerate(own) if row["text"]]
        # Rows of one photo were sampled together, each row without one by itself.
        same = [(row["image"] or row["id"]) for row in own]
        assert [[a == b for b in same] for a in same] == (split.clusters[:, None] == split.clusters).tolist()


def test_the_key_of_a_dataset_whose_every_row_has_an_image_is_what_it_was(photos):
    def as_it_was(path: Path, *images: str) -> str:
        total = hashlib.sha256(hashlib.sha256(path.read_bytes()).hexdigest().encode())
        for name in images:
            total.update(
                f"{len(name)}:{name}".encode() + hashlib.sha256((photos / name).read_bytes()).digest()
            )
        return total.hexdigest()

    whole = [SOUND | {"id": "r0"}, SOUND | {"id": "r1", "image": "1.png", "text": ""}]
    manifest = write(photos / "key.csv", whole)
    assert manifest_identity(manifest) == as_it_was(manifest, "0.png", "1.png")
    manifest = write(photos / "key.csv", [*whole, SOUND | {"id": "r2", "image": ""}])
    assert manifest_identity(manifest) != as_it_was(manifest, "0.png", "1.png")


def test_a_captioned_picture_needs_its_picture(photos):
    rows = [{"id": f"c{n}", "split": "train", "image": f"{n}.png", "text": "words"} for n in range(2)]
    raw = read_manifest(write(photos / "captions.csv", [*rows, rows[0] | {"id": "c", "image": ""}]))
    assert raw.task == "retrieval"
    fault = next(one for one in raw.quarantined if one.id == "c")
    assert (fault.reason, fault.detail) == ("no_image", "line 4: no image, and a captioned picture needs one")


def test_a_table_that_lacks_its_pictures_is_not_taken_for_texts(photos):
    rows = [{"id": f"r{n}", "photo": f"{n}.png", "text": "words", "label": "ab"[n]} for n in range(2)]
    with pytest.raises(DatasetError, match="its column photo names pictures: call that image"):
        read_manifest(write(photos / "photo.csv", rows))
    with pytest.raises(
        DatasetError, match="lacks image: every row needs id and image, or id, labels and text"
    ):
        read_manifest(write(photos / "texts.csv", [{"id": "r", "text": "words"}]))


def test_what_no_row_of_train_has_is_left_out_of_the_others(photos):
    text = {"id": "t", "split": "train", "text": "words", "labels": "a"}
    both = text | {"id": "b", "split": "val", "image": "1.png"}
    alone = {"id": "i", "split": "val", "image": "2.png", "labels": "a"}
    raw = read_manifest(write(photos / "unseen.csv", [text, both, alone]))
    assert [(sample.id, sample.image, len(sample.texts)) for sample in raw.samples] == [
        ("t", None, 1),
        ("b", None, 1),
    ]
    assert raw.streams == ()
    assert [(one.id, one.reason) for one in raw.quarantined] == [("i", "nothing_in_train")]
    assert [(one.id, one.reason) for one in raw.notes] == [
        ("b", "image_not_in_train"),
        ("i", "image_not_in_train"),
    ]
    swapped = [{"id": "i", "split": "train", "image": "0.png", "labels": "a"}, both, text | {"split": "val"}]
    raw = read_manifest(write(photos / "unseen.csv", swapped))
    assert [(sample.id, len(sample.texts)) for sample in raw.samples] == [("i", 0), ("b", 0)]
    assert [(one.id, one.reason) for one in raw.quarantined][-1] == ("t", "nothing_in_train")


@settings(max_examples=25, deadline=None)
@given(drawn=st.lists(st.tuples(st.booleans(), st.sampled_from("abcdef")), min_size=2, max_size=24))
def test_no_generated_split_parts_a_text_that_stands_alone(photos, tmp_path_factory, drawn):
    rows = [
        {"id": f"r{n}", "text": f" {text}  x", "labels": "l", "image": f"{n % 3}.png" if pictured else ""}
        for n, (pictured, text) in enumerate(drawn)
    ]
    raw = read_manifest(write(photos / "split.jsonl", rows))
    places: dict[str, set[str]] = {}
    for sample in raw.samples:
        for text in sample.texts:
            places.setdefault(text.text, set()).add(sample.split)
    alone = {text for pictured, text in drawn if not pictured}
    assert all(len(places.get(f" {text}  x", ())) <= 1 for text in alone)


def test_many_texts_get_every_split(photos):
    rows = [{"id": f"r{n}", "text": f"text {n}", "labels": "l"} for n in range(60)]
    splits = [sample.split for sample in read_manifest(write(photos / "many.csv", rows)).samples]
    assert {"train", "val", "test"} == set(splits)
    assert splits.count("train") > 30


def test_a_text_alone_in_two_splits_is_leakage(photos, tmp_path):
    row = {"labels": "l", "image": "", "text": ""}
    rows = [
        row | {"id": "a", "split": "train", "text": "same words"},
        row | {"id": "b", "split": "train", "text": "shown", "image": "0.png"},
        row | {"id": "c", "split": "val", "text": "same  words "},
        row
        | {"id": "d", "split": "val", "text": "shown", "image": "1.png"},  # both have pictures of their own
        row | {"id": "e", "split": "test", "text": "shown"},
        row | {"id": "f", "split": "test", "text": "shown", "image": "2.png"},
    ]
    manifest = write(photos / "leaks.csv", rows)
    leaks = find_leaks(prepared(photos, manifest, tmp_path), workers=1)
    found = [(leak.kind, leak.id, leak.other_id) for leak in leaks]
    assert found == [("text", "a", "c"), ("text", "b", "e"), ("text", "d", "e")]
    checked = check(IngestConfig(dataset="manifest", root=manifest), tmp_path, workers=1)
    said = [(fault.id, fault.detail) for fault in checked.faults]
    assert said[0] == ("a", "of the same text as c in val")
    assert [id_ for id_, _ in said] == ["a", "b", "d"]


@pytest.mark.parametrize("pictured", [False, True])
def test_init_makes_a_manifest_of_texts_alone_and_of_texts_among_pictures(photos, tmp_path, pictured):
    words = [f"text {n % 20} about {'good' if n % 2 else 'bad'} things" for n in range(40)]  # each twice
    rows = [{"tweet": text, "sentiment": "+-"[n % 2]} for n, text in enumerate(words)]
    if pictured:
        for n in range(3):
            rows[n]["photo"] = f"{n}.png"
            (tmp_path / f"{n}.png").write_bytes((photos / f"{n}.png").read_bytes())
    rows.append({"tweet": words[0], "sentiment": "-"})  # contradicts the first text
    found = initial_manifest(write(tmp_path / "t.csv", rows))
    found.write()
    roles = {choice.role: choice.columns for choice in found.choices}
    assert roles == {"labels": ("sentiment",), "text": ("tweet",)} | (
        {"image": ("photo",)} if pictured else {}
    )
    contradictory = [one.detail for one in found.left_out if one.reason == "contradictory"]
    duplicates = [one for one in found.left_out if one.reason == "duplicate"]
    assert len(found.samples) + len(contradictory) + len(duplicates) == 41
    assert all("several answers for one text" in detail for detail in contradictory)
    assert {"same text" in one.detail for one in duplicates} == {True}
    raw = read_manifest(found.path)
    assert [sample.image and sample.image.name for sample in raw.samples][:3] == (
        ["0.png", "1.png", "2.png"] if pictured else [None] * 3
    )
    faults = check(IngestConfig(dataset="manifest", root=found.path), tmp_path / "scratch", workers=1).faults
    assert [fault for fault in faults if fault.reason != "empty_split"] == []


def test_init_asks_where_pictures_are_that_a_column_names(tmp_path):
    rows = [{"photo": f"{n}", "text": f"text {n}", "label": "ab"[n % 2]} for n in range(8)]
    with pytest.raises(DatasetError, match="without pictures, --image none"):
        initial_manifest(write(tmp_path / "t.csv", rows))
    found = initial_manifest(write(tmp_path / "t.csv", rows), columns={"image": ("none",)})
    assert len(found.samples) == 8
