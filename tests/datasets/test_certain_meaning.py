"""What other software writes is read where its meaning is certain, and otherwise named with a cure."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from test_bad_rows import both_say, manifest, photos
from test_emotic_reader import annotated_tree

from mmer_core.config import IngestConfig
from mmer_core.datasets.coco_captions import read_coco_captions
from mmer_core.datasets.formats.emotic import read_emotic
from mmer_core.datasets.image_places import ImagePlaces
from mmer_core.datasets.values import NotText, text_of
from mmer_core.errors import ConfigError
from mmer_core.prediction.photos import listed_photos
from mmer_core.querying.batch import read_queries
from mmer_core.stages.update_index import read_ids
from mmer_core.text_lines import decoded


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\rb", ["a\r", "b"]),
        ("a\r\nb\r\n", ["a\r\n", "b\r\n"]),
        ("a\rb\nc", ["a\rb\n", "c"]),
        ("a\r\r\nb", ["a\r\r\n", "b"]),
        ("a\u2028b\x85c\x0bd\x0ce\n", ["a\u2028b\x85c\x0bd\x0ce\n"]),
    ],
)
def test_a_carriage_return_ends_lines_only_where_nothing_else_does(text, lines):
    assert decoded(text.encode()).lines == lines


def test_a_text_with_a_lone_carriage_return_stays_whole(tmp_path: Path):
    photos(tmp_path, "a.png")
    path = tmp_path / "m.csv"
    path.write_bytes(b'id,split,image,text,note\n1,train,a.png,one\rtwo,x\n2,train,a.png,one\rtwo,"x"\n')
    kept, quarantined = both_say(manifest(path), tmp_path / "made")
    assert kept == {"1": ["one\rtwo"]}
    assert [reason for _, reason, _ in quarantined] == ["malformed_row"]


def test_commas_behind_the_lines_of_json_are_no_part_of_them(tmp_path: Path):
    photos(tmp_path, "a.png")
    row = {"id": "1", "split": "train", "image": "a.png", "text": "t,"}
    path = tmp_path / "m.jsonl"
    path.write_text(f"[\n{json.dumps(row)},\n{json.dumps(row | {'id': '2'})} \n{json.dumps(row)} {{}}\n]\n")
    kept, quarantined = both_say(manifest(path), tmp_path / "made")
    assert kept == {"1": ["t,"], "2": ["t,"]}
    first, extra, last = (detail for _, _, detail in quarantined)
    assert "without brackets" in first
    assert "without brackets" in last
    assert f"at character {len(json.dumps(row)) + 2}" in extra
    questions, ids = tmp_path / "q.jsonl", tmp_path / "i.jsonl"
    questions.write_text('{"text": "a"},\n{"text": "b"}\n')
    ids.write_text('"a",\n"b"\n')
    assert [one.text for one in read_queries(questions)] == read_ids(ids) == ["a", "b"]
    ids.write_text('"a"\n"b" "c"\n')
    with pytest.raises(ConfigError, match="line 2 is no id"):
        read_ids(ids)


@pytest.mark.parametrize("kind", [float, np.float16, np.float32, np.float64])
def test_a_float_that_stands_for_two_integers_is_no_text(kind):
    first = kind(2) ** (np.finfo(kind).nmant + 1)
    assert first == kind(int(first) + 1)
    for value in (first, -first):
        with pytest.raises(NotText, match="no exact integer"):
            text_of(value)
    assert text_of(kind(first - 1)) == str(int(first) - 1)


def test_photos_in_another_normal_form_are_found(tmp_path: Path):
    name = "café 1.jpg"
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        there, named = unicodedata.normalize(form, name), unicodedata.normalize(other, name)
        root = tmp_path / form
        photos(root / "Images", there, "plain.jpg")
        (root / "captions.txt").write_text(f"image,caption\n{named},x\nplain.jpg,y\n")
        (root / "Flickr_8k.trainImages.txt").write_text(f"{named}\nplain.jpg\n")
        for splits in ("official", "notebook"):
            config = IngestConfig(dataset="flickr8k", root=root, splits=splits, context_size=16, body_size=16)
            captions = root / "captions.txt"
            captions.write_text(f"image,caption\n{named},x y z\nplain.jpg,y z x\n")
            kept, quarantined = both_say(config, tmp_path / f"{form} {splits}")
            assert kept == {named: ["x y z"], "plain.jpg": ["y z x"]}
            assert quarantined == []
        tree = annotated_tree(tmp_path / f"emotic {form}", filename=named)
        photos(tree / "mscoco" / "images", there)
        (sample,) = read_emotic(tree, captions=None, protocol="corrected").samples
        assert sample.image.name == there
        assert sample.id == f"mscoco/images/{named}#0"


def test_an_integer_without_end_costs_its_entry(tmp_path: Path):
    digits = "9" * 5000
    path = tmp_path / "captions.json"
    path.write_text(
        f'{{"annotations": [{{"image_id": {digits}, "caption": "x"}}, {{"image_id": 1, "caption": "y"}}]}}'
    )
    found = read_coco_captions([path])
    assert [text.text for text in found[1]] == ["y"]
    assert [fault.reason for fault in found.quarantined] == ["caption_malformed"]
    photos(tmp_path / "Images", "a.jpg")
    karpathy = f'{{"images": [{{"filename": "a.jpg", "split": "train", "imgid": {digits}, "sentences": [{{"raw": "x"}}]}}]}}'
    (tmp_path / "dataset_flickr8k.json").write_text(karpathy)
    config = IngestConfig(dataset="flickr8k", root=tmp_path, splits="karpathy", context_size=16, body_size=16)
    assert both_say(config, tmp_path / "made") == ({"a.jpg": ["x"]}, [])


def test_paths_that_are_written_otherwise_are_found_or_explained(tmp_path: Path):
    photos(tmp_path, "a b.png")
    (tmp_path / "a b.png").rename(tmp_path / "a b ")
    photos(tmp_path, "a b.png")
    places = ImagePlaces(tmp_path)
    assert places.find("a b ").path == "a b "
    assert places.find(" a b.png\t").path == "a b.png"
    assert "'a b.png' does" in places.find("a%20b.png").fault
    assert "not fetched" in places.find("https://example.org/a.png").fault


def test_corners_in_a_list_are_numbers_of_data_and_not_of_python(tmp_path: Path):
    path = tmp_path / "list.csv"
    path.write_text("photo,x1,y1,x2,y2\na.png,1_0,0,20,20\n b.png, 1, 0 ,2,2\n")
    photos(tmp_path, "b.png")
    bad, sound = listed_photos(path)
    assert "1_0" in (bad.error or "")
    assert (sound.path, sound.box, sound.error) == (tmp_path / "b.png", (1, 0, 2, 2), None)
