import csv

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from mmer_core.datasets.formats.emotic import read_emotic
from mmer_core.datasets.synthetic import CAPTIONS_FILE
from mmer_core.errors import DatasetError
from mmer_core.taxonomy import EMOTIC_CATEGORIES, SPLITS


def _flat(value):
    return [str(cell[0]) for cell in np.asarray(value).ravel()]


def _obvious(root):
    """Every person of the tree, read from the raw struct arrays by position, as the reference does."""
    mat = loadmat(root / "Annotations" / "Annotations.mat")
    people = {}
    for split in SPLITS:
        for image in mat[split][0]:
            for number, person in enumerate(image[4][0]):
                if split == "train":
                    labels, vad = person[1][0, 0][0], person[2][0, 0]
                else:
                    labels, vad = person[2], person[4][0, 0]
                people[f"{image[1][0]}/{image[0][0]}#{number}"] = (
                    split, _flat(labels), [float(v[0, 0]) for v in vad],
                    [int(v) for v in person[0][0]], str(person[-2][0]), str(person[-1][0]),
                )  # fmt: skip
    return people


@pytest.mark.parametrize("protocol", ["corrected", "mat2py"])
def test_reader_equals_the_obvious_one(emotic_tree, protocol):
    raw = read_emotic(emotic_tree, captions=None, protocol=protocol)
    expected = _obvious(emotic_tree)
    reasons = {}
    for identity, (_, labels, vad, *_rest) in expected.items():
        if np.isnan(vad).any():
            reasons[identity] = "vad_nan"
        elif not labels and protocol == "corrected":
            reasons[identity] = "no_label"
    assert {row.id: row.reason for row in raw.quarantined} == reasons
    assert len(reasons) == (2 if protocol == "corrected" else 1)
    assert raw.inputs == len(expected) == len(raw.samples) + len(raw.quarantined)
    assert raw.labels == EMOTIC_CATEGORIES
    for sample in raw.samples:
        split, labels, vad, box, gender, age = expected[sample.id]
        assert (sample.split, list(sample.labels), list(sample.vad), list(sample.box)) == (
            split,
            labels,
            vad,
            box,
        )
        assert (sample.metadata["Gender"], sample.metadata["Age"]) == (gender, age)
        assert sample.image.is_file()
        assert sample.id.startswith(f"{sample.metadata['Folder']}/{sample.metadata['Filename']}#")
    assert len({sample.id for sample in raw.samples}) == len(raw.samples)


def test_tree_one_level_deeper_or_shallower(emotic_tree, tmp_path):
    deeper = tmp_path / "download" / "EMOTIC"
    deeper.parent.mkdir()
    deeper.symlink_to(emotic_tree)
    flat = tmp_path / "flat"
    flat.mkdir()
    for database in (emotic_tree / "emotic").iterdir():
        (flat / database.name).symlink_to(database)
    (flat / "Annotations.mat").symlink_to(emotic_tree / "Annotations" / "Annotations.mat")
    plain = [s.id for s in read_emotic(emotic_tree, captions=None, protocol="corrected").samples]
    for root in (deeper.parent, flat):
        raw = read_emotic(root, captions=None, protocol="corrected")
        assert [s.id for s in raw.samples] == plain
        assert all(s.image.is_file() for s in raw.samples)


def test_text_comes_from_the_sidecar_else_from_gender_and_age(emotic_tree, tmp_path):
    first, second = read_emotic(emotic_tree, captions=None, protocol="corrected").samples[:2]
    noun = {("Male", "Kid"): "a boy", ("Female", "Adult"): "an adult woman", ("Male", "Adult"): "an adult man",
            ("Female", "Kid"): "a girl", ("Male", "Teenager"): "a teenage boy",
            ("Female", "Teenager"): "a teenage girl"}[first.metadata["Gender"], first.metadata["Age"]]  # fmt: skip
    assert [(t.text, t.provenance) for t in first.texts] == [(f"a photo of {noun}", "template")]
    sidecar = tmp_path / "captions.csv"
    photo = f"{first.metadata['Folder']},{first.metadata['Filename']}"
    sidecar.write_text(
        f'folder,filename,person,caption\n{photo},0,"Yes, a ""dog"""\n{photo},,\nno,where.jpg,,hm\n'
    )
    raw = read_emotic(emotic_tree, captions=sidecar, protocol="corrected")
    texts = {s.id: s.texts for s in raw.samples}
    assert [(t.text, t.provenance) for t in texts[first.id]] == [('Yes, a "dog"', "sidecar")]
    assert texts[second.id][0].provenance == "template"
    captions = [row.reason for row in raw.quarantined if row.reason.startswith("caption_")]
    assert sorted(captions) == ["caption_empty", "caption_unmatched"]
    assert raw.inputs == len(raw.samples) + len(raw.quarantined) - 2


def test_drawn_captions_reach_their_people(emotic_tree):
    raw = read_emotic(emotic_tree, captions=emotic_tree / CAPTIONS_FILE, protocol="corrected")
    with (emotic_tree / CAPTIONS_FILE).open(newline="") as handle:
        rows = {f"{r['folder']}/{r['filename']}#{r['person']}": r["caption"] for r in csv.DictReader(handle)}
    assert {s.id: s.texts[0].text for s in raw.samples}.items() <= rows.items()


def annotated_tree(root, split="train", filename="a.jpg", **person):
    """A tree of one person, whose fields may be replaced."""
    fields = {
        "body_bbox": np.array([[1.0, 2, 30, 40]]),
        "annotations_categories": {"categories": np.array(["Peace"], dtype=object)},
        "annotations_continuous": {"valence": 5.0, "arousal": 5.0, "dominance": 5.0},
        "gender": "Male",
        "age": "Adult",
    }
    photo = {
        "filename": filename, "folder": "mscoco/images", "image_size": {"n_col": 50.0, "n_row": 60.0},
        "original_database": {"name": "mscoco", "info": np.zeros((0, 0))}, "person": {**fields, **person},
    }  # fmt: skip
    (root / "mscoco" / "images").mkdir(parents=True)
    none = np.zeros((0, 0))
    savemat(root / "Annotations.mat", {"train": none, "val": none, "test": none, split: photo})
    return root


def _one_photo(root, **person):
    return read_emotic(annotated_tree(root, **person), captions=None, protocol="corrected")


def test_single_photo_person_and_category(tmp_path):
    (sample,) = _one_photo(tmp_path).samples
    assert (sample.labels, sample.box, sample.vad) == (("Peace",), (1, 2, 30, 40), (5.0, 5.0, 5.0))


@pytest.mark.parametrize(
    ("person", "reason"),
    [
        ({"body_bbox": np.zeros((0, 0))}, "bad_annotation"),
        ({"body_bbox": np.array([[1, np.nan, 3, 4]])}, "bad_annotation"),
        ({"annotations_categories": np.zeros((0, 0))}, "no_label"),
        ({"annotations_categories": {"categories": np.array(["Joy"], dtype=object)}}, "unknown_label"),
        (
            {"annotations_continuous": {"valence": 1.0, "arousal": np.zeros((0, 0)), "dominance": 2.0}},
            "vad_nan",
        ),
    ],
)
def test_each_defect_has_its_reason(tmp_path, person, reason):
    raw = _one_photo(tmp_path, **person)
    assert [row.reason for row in raw.quarantined] == [reason]
    assert raw.inputs == 1


def test_errors_are_one_sentence(tmp_path, emotic_tree):
    with pytest.raises(DatasetError, match="does not exist"):
        read_emotic(tmp_path / "nowhere", captions=None, protocol="corrected")
    with pytest.raises(DatasetError, match=r"holds no Annotations\.mat"):
        read_emotic(tmp_path, captions=None, protocol="corrected")
    (tmp_path / "Annotations.mat").write_text("not a mat file at all, " * 20)
    with pytest.raises(DatasetError, match="MATLAB"):
        read_emotic(tmp_path, captions=None, protocol="corrected")
    savemat(tmp_path / "Annotations.mat", {"something": 1.0})
    with pytest.raises(DatasetError, match="lacks train, val, test"):
        read_emotic(tmp_path, captions=None, protocol="corrected")
    savemat(tmp_path / "Annotations.mat", {"train": np.zeros((0, 0)), "test": np.zeros((0, 0))})
    with pytest.raises(DatasetError, match="lacks val"):
        read_emotic(tmp_path, captions=None, protocol="corrected")
    for content in ("", "folder,filename,caption\n", "folder,filename\n"):
        (tmp_path / "captions.csv").write_text(content)
        with pytest.raises(DatasetError, match=r"captions\.csv"):
            read_emotic(emotic_tree, captions=tmp_path / "captions.csv", protocol="corrected")
