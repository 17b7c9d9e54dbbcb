import json

import pytest
from test_emotic_reader import annotated_tree

from mmer_core.config import IngestConfig
from mmer_core.datasets.coco_captions import image_id, read_coco_captions
from mmer_core.datasets.formats.emotic import read_emotic
from mmer_core.datasets.ingest import ingest, source_identity
from mmer_core.datasets.prepared import Prepared
from mmer_core.datasets.sample import Text
from mmer_core.errors import DatasetError


def _json(path, *rows):
    annotations = [{"image_id": number, "id": i, "caption": text} for i, (number, text) in enumerate(rows)]
    path.write_text(json.dumps({"images": [], "annotations": annotations}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("folder", "filename", "number"),
    [
        ("mscoco/images", "COCO_train2014_000000123456.jpg", 123456),
        ("mscoco/images", "COCO_val2014_000000000009.jpg", 9),
        ("mscoco/images", "000000581929.jpg", 581929),
        ("framesdb/images", "COCO_val2014_000000000009.jpg", None),
        ("mscoco/images", "frame_12.jpg", None),
        ("mscoco/images", "x000000581929.jpg", None),
    ],
)
def test_ids_are_read_off_file_names(folder, filename, number):
    assert image_id((folder, filename)) == number


def test_all_captions_of_an_image_in_file_order_without_repeats(tmp_path):
    first = _json(tmp_path / "a.json", (7, "A  dog\nruns ."), (8, "A cat"), (7, "Two dogs"), (8, " "))
    second = _json(tmp_path / "b.json", (7, "A dog runs ."), (9, "雪の中の犬"))
    assert read_coco_captions([first, second]) == {
        7: (Text("A dog runs .", "coco"), Text("Two dogs", "coco")),
        8: (Text("A cat", "coco"),),
        9: (Text("雪の中の犬", "coco"),),
    }


def test_sidecar_before_coco_before_template(tmp_path):
    name = "COCO_train2014_000000000042.jpg"
    root = annotated_tree(tmp_path, filename=name)
    coco = (_json(tmp_path / "captions_train2014.json", (42, "A dog"), (42, "A puppy"), (43, "A cat")),)
    sidecar = tmp_path / "sidecar.csv"
    sidecar.write_text(f"folder,filename,caption\nmscoco/images,{name},Mine\n")
    got = []
    for captions, files in ((sidecar, coco), (None, coco), (None, ())):
        (sample,) = read_emotic(root, captions=captions, protocol="corrected", coco_captions=files).samples
        got.append([(text.text, text.provenance) for text in sample.texts])
    assert got == [
        [("Mine", "sidecar")],
        [("A dog", "coco"), ("A puppy", "coco")],
        [("a photo of an adult man", "template")],
    ]


def test_the_card_counts_texts_by_split_and_provenance(emotic_tree, tmp_path):
    """A sidecar that knows one photo of each of train and test; the others get templates."""
    raw = read_emotic(emotic_tree, captions=None, protocol="corrected")
    known = [next(s for s in reversed(raw.samples) if s.split == split) for split in ("train", "test")]
    rows = [f"{s.metadata['Folder']},{s.metadata['Filename']},{s.id.split('#')[1]},Hello" for s in known]
    (tmp_path / "sidecar.csv").write_text("\n".join(["folder,filename,person,caption", *rows, rows[0], ""]))
    config = IngestConfig(root=emotic_tree, captions=tmp_path / "sidecar.csv", context_size=16, body_size=16)
    card = ingest(config, tmp_path / "out", tmp_path / "scratch", workers=2)
    templates = {"train": card.counts["train"] - 1, "test": card.counts["test"] - 1}
    assert card.text_coverage == {
        "train": {"sidecar": 2, "template": templates["train"]},
        "val": {"template": card.counts["val"]},
        "test": {"sidecar": 1, "template": templates["test"]},
    }
    assert card.text_provenance["sidecar"] == 3
    assert Prepared.open(tmp_path / "out").card == card


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("{", "not JSON"),
        ("[]", "no list 'annotations'"),
        ('{"annotations": [{"image_id": 3}]}', "no list 'annotations'"),
        ('{"annotations": [{"image_id": 3, "caption": null}]}', "no list 'annotations'"),
    ],
)
def test_other_files_are_one_clear_error(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_coco_captions([tmp_path / "a.json"])


def test_the_identity_covers_the_captions(tmp_path):
    (tmp_path / "tree").mkdir()
    plain = source_identity(IngestConfig(root=tmp_path / "tree"))
    seen = {plain}
    for text in ("one", "two"):
        path = _json(tmp_path / "c.json", (1, text))
        seen.add(source_identity(IngestConfig(root=tmp_path / "tree", coco_captions=(path,))))
    assert len(seen) == 3
