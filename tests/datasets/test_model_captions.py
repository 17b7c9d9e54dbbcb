"""Which photos a captioner is asked about, and who gets its captions."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_coco_captions import _json
from test_emotic_reader import annotated_tree

from mmer_core.config import IngestConfig
from mmer_core.datasets.formats.emotic import read_emotic
from mmer_core.datasets.model_captions import photos_to_caption, read_captions, with_captions, write_captions
from mmer_core.datasets.raw import RawDataset
from mmer_core.datasets.sample import Sample, Text

NAME = "COCO_train2014_000000000042.jpg"
PHOTO = f"mscoco/images/{NAME}"
MODEL = Text("a man on a beach", "model:tiny")


def test_sidecar_before_coco_before_model_before_template(tmp_path):
    root = annotated_tree(tmp_path, filename=NAME)
    coco = (_json(tmp_path / "captions_train2014.json", (42, "A dog")),)
    sidecar = tmp_path / "sidecar.csv"
    sidecar.write_text(f"folder,filename,caption\nmscoco/images,{NAME},Mine\n")
    got = []
    for captions, files, written in (
        (sidecar, coco, {PHOTO: MODEL}),
        (None, coco, {PHOTO: MODEL}),
        (None, (), {PHOTO: MODEL}),
        (None, (), {}),
    ):
        raw = read_emotic(root, captions=captions, protocol="corrected", coco_captions=files)
        (sample,) = with_captions(raw, written).samples
        got.append((sample.texts[0].provenance, list(photos_to_caption(raw))))
    assert got == [("sidecar", []), ("coco", []), ("model:tiny", [PHOTO]), ("template", [PHOTO])]


def test_a_photo_is_asked_about_once_and_only_those_without_a_text_get_the_answer():
    """Two in one photo, one of them described already; two photos of one name; somebody without any text."""

    def sample(name: str, *texts: Text) -> Sample:
        folder, _, filename = name.rpartition("/")
        place = {"Folder": folder, "Filename": filename}
        return Sample(name, "train", Path("/base") / name, texts=texts, labels=("joy",), metadata=place)

    template, own = Text("a photo of a man", "template"), Text("A man", "sidecar")
    samples = [
        sample("b/same.jpg", template),
        sample("a/same.jpg", template),
        sample("a/same.jpg", own),
        sample("a/same.jpg", template),
        sample("a/alone.jpg", own),
        sample("plain.jpg"),
    ]
    raw = RawDataset("x", "emotion", ("joy",), samples, [], len(samples), "corrected")
    assert photos_to_caption(raw) == {
        "a/same.jpg": Path("/base/a/same.jpg"),
        "b/same.jpg": Path("/base/b/same.jpg"),
        "plain.jpg": Path("/base/plain.jpg"),
    }
    captions = {name: Text(name, "model:tiny") for name in ("a/same.jpg", "a/alone.jpg", "plain.jpg")}
    captioned = with_captions(raw, captions)
    assert [sample.texts for sample in captioned.samples] == [
        (template,),
        (captions["a/same.jpg"],),
        (own,),
        (captions["a/same.jpg"],),
        (own,),
        (captions["plain.jpg"],),
    ]
    assert [(s.labels, s.image, s.metadata) for s in captioned.samples] == [
        (s.labels, s.image, s.metadata) for s in samples
    ]


_TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1)
_NAMES = st.lists(_TEXTS.filter(lambda part: "/" not in part), min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(_NAMES, st.builds(Text, _TEXTS, st.just("model:tiny, large"))))
def test_captions_come_back_as_they_were_written(tmp_path_factory, captions):
    path = tmp_path_factory.getbasetemp() / "captions.csv"
    write_captions(path, captions.items())
    assert dict(read_captions(path)) == captions


def test_flickr8k_has_captions_of_its_own():
    with pytest.raises(ValueError, match="captions of flickr8k are its own"):
        IngestConfig(dataset="flickr8k", captioner="hf:a/model")
