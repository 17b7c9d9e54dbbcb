import contextlib
import hashlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from mmer_core.config import IngestConfig, SyntheticConfig
from mmer_core.datasets import prepare as prepare_module
from mmer_core.datasets.fingerprint import fingerprint
from mmer_core.datasets.formats.emotic import read_emotic
from mmer_core.datasets.formats.flickr8k import read_flickr8k
from mmer_core.datasets.ingest import ingest, source_identity
from mmer_core.datasets.photos import photo_reader
from mmer_core.datasets.prepare import prepare
from mmer_core.datasets.prepared import Prepared
from mmer_core.datasets.synthetic import write_emotic
from mmer_core.errors import DatasetError
from mmer_core.progress import silent

CONFIG = IngestConfig(context_size=48, body_size=32)


def _prepare(raw, folder, workers=2, progress=silent):
    scratch = folder.with_name(f"{folder.name}-scratch")
    return prepare(raw, CONFIG, folder, scratch, workers=workers, synthetic=False, progress=progress)


def _same_within_rounding(array: np.ndarray, picture: Image.Image) -> None:
    """Pillow resizes with the same filter; rounding may differ by one level."""
    assert array.shape == np.asarray(picture).shape
    assert np.abs(array.astype(int) - np.asarray(picture)).max() <= 1


def test_arrays_equal_a_direct_decode(emotic_tree, tmp_path):
    raw = read_emotic(emotic_tree, captions=None, protocol="corrected")
    card = _prepare(raw, tmp_path)
    assert sum(card.counts.values()) + sum(card.quarantined.values()) == card.inputs == raw.inputs
    assert card.quarantined["unreadable_image"] == 1
    assert card.quarantined["empty_box"] >= 1
    samples = {sample.id: sample for sample in raw.samples}
    for name in ("train", "val", "test"):
        split = Prepared.open(tmp_path).split(name)
        assert list(split.table.columns) == [
            "Index", "Folder", "Filename", "Image Size", "BBox", "Categorical_Labels", "Continuous_Labels",
            "Gender", "Age", "Id",
        ]  # fmt: skip
        context, body = split.images("context"), split.images("body")
        assert len(split) == len(context) == len(body) == len(split.labels) == len(split.vad)
        assert np.isfinite(split.vad).all()
        for row, identity in enumerate(split.ids):
            sample = samples[identity]
            with Image.open(sample.image) as opened:
                image = ImageOps.exif_transpose(opened).convert("RGB")
            _same_within_rounding(context[row], image.resize((48, 48), Image.BILINEAR))
            x1, y1, x2, y2 = sample.box
            width, height = image.size
            x1, x2 = np.clip([x1, x2], 0, width)
            y1, y2 = np.clip([y1, y2], 0, height)
            assert split.table["BBox"][row] == str([int(x1), int(y1), int(x2), int(y2)])
            crop = Image.fromarray(np.asarray(image)[y1:y2, x1:x2])
            _same_within_rounding(body[row], crop.resize((32, 32), Image.BILINEAR))
            assert {card.labels[c] for c in np.flatnonzero(split.labels[row])} == set(sample.labels)
            np.testing.assert_allclose(split.vad[row], sample.vad, rtol=1e-6)
            assert split.texts[list(split.text_sample).index(row)] == sample.texts[0].text


def test_same_bytes_for_any_number_of_workers(emotic_tree, tmp_path):
    raw = read_emotic(emotic_tree, captions=None, protocol="corrected")
    for workers in (1, 3):
        _prepare(raw, tmp_path / str(workers), workers)
    digests = [
        {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path / w).iterdir()} for w in "13"
    ]
    assert digests[0] == digests[1]
    assert {"dataset.json", "quarantine.csv", "train.csv", "train_texts.csv"} <= digests[0].keys()
    assert not [name for name in digests[0] if not name.endswith((".npy", ".csv", ".json"))]


def test_each_photo_is_decoded_once(emotic_tree, tmp_path, monkeypatch):
    raw = read_emotic(emotic_tree, captions=None, protocol="corrected")
    opened, steps = Counter(), []
    read = photo_reader("corrected")

    class Counting:
        def squared(self, paths, wanted, use):
            opened.update(paths)
            return read.squared(paths, wanted, use)

    monkeypatch.setattr(prepare_module, "photo_reader", lambda protocol: Counting())
    _prepare(raw, tmp_path, progress=lambda done, total, note="": steps.append((done, total)))
    photos = {sample.image for sample in raw.samples}
    assert opened == dict.fromkeys(photos, 1)
    assert len(raw.samples) > len(photos)
    assert steps == [(n + 1, len(photos)) for n in range(len(photos))]


def test_flickr8k_photos_and_captions_add_up(flickr_tree, tmp_path):
    raw = read_flickr8k(flickr_tree, splits="official")
    card = _prepare(raw, tmp_path)
    rows = pd.read_csv(tmp_path / "quarantine.csv", keep_default_na=False)
    captions = rows["Reason"].str.startswith("caption_").sum()
    assert card.quarantined == {"unreadable_image": 1}
    assert sum(card.counts.values()) + 1 == card.inputs == 40
    assert sum(card.texts.values()) + captions == raw.captions == 200
    test = Prepared.open(tmp_path).split("test")
    assert test.streams == ("context",)
    expected = {s.id: [t.text for t in s.texts] for s in raw.samples}
    for row, photo in enumerate(test.ids):
        assert [t for t, s in zip(test.texts, test.text_sample, strict=True) if s == row] == expected[photo]


def test_nothing_usable_is_an_error(tmp_path):
    (tmp_path / "Images").mkdir()
    (tmp_path / "Images" / "a.jpg").write_text("no photo")
    (tmp_path / "captions.txt").write_text("image,caption\na.jpg,A dog .\n")
    (tmp_path / "Flickr_8k.testImages.txt").write_text("a.jpg\n")
    raw = read_flickr8k(tmp_path, splits="official")
    with pytest.raises(DatasetError, match="no usable sample"):
        _prepare(raw, tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()


@pytest.mark.parametrize("dataset", ["emotic", "flickr8k"])
def test_ingest_draws_when_there_is_no_root(tmp_path, dataset):
    config = IngestConfig(
        dataset=dataset, synthetic=SyntheticConfig(images=30), context_size=32, body_size=32
    )
    card = ingest(config, tmp_path / "out", tmp_path / "scratch", workers=2)
    assert card.synthetic
    assert card.name.endswith(" (synthetic)")
    assert set(card.text_provenance) == ({"sidecar"} if dataset == "emotic" else {"dataset"})
    assert Prepared.open(tmp_path / "out").card == card


def test_fingerprint_follows_names_and_contents(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    seen = [fingerprint(tmp_path)]
    (tmp_path / "a" / "x").write_text("2")
    seen.append(fingerprint(tmp_path))
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    seen.append(fingerprint(tmp_path))
    assert len(set(seen)) == 3
    assert fingerprint(tmp_path) == seen[-1]
    with pytest.raises(DatasetError, match="does not exist"):
        fingerprint(tmp_path / "nowhere")


def test_source_identity_covers_the_sidecar(tmp_path):
    (tmp_path / "tree").mkdir()
    sidecar = tmp_path / "captions.csv"
    sidecar.write_text("a")
    config = IngestConfig(root=tmp_path / "tree", captions=sidecar)
    before = source_identity(config)
    sidecar.write_text("b")
    assert source_identity(config) != before
    assert source_identity(IngestConfig()) != source_identity(IngestConfig(dataset="flickr8k"))


@pytest.mark.parametrize(
    ("protocol", "files", "side", "torch"),
    [
        ("mat2py", 1000, 48, False),
        ("corrected", 0, 48, False),
        ("corrected", 300, 48, False),
        ("corrected", 600, 48, True),
        ("corrected", 1000, 200, False),  # the photos have that size
    ],
)
def test_torch_is_imported_only_where_it_pays(protocol, files, side, torch, tmp_path):
    """Importing it takes as long as resizing hundreds of photos; the arrays are the same either way."""
    write_emotic(tmp_path / "raw", SyntheticConfig(images=40))
    for path in (tmp_path / "raw").rglob("*.jpg"):
        with contextlib.suppress(OSError), Image.open(path) as photo:  # one of those drawn is damaged
            photo.resize((200, 200) if side == 200 else (640, 480)).save(path)
    for number in range(files):  # beside the photos
        (tmp_path / "raw" / f"{number}.txt").touch()
    code = (
        "import sys\nfrom pathlib import Path\nfrom mmer_core.config import IngestConfig\n"
        "from mmer_core.datasets.ingest import ingest\nroot, protocol, side = sys.argv[1:]\n"
        "config = IngestConfig(dataset='emotic', root=Path(root, 'raw'), protocol=protocol, context_size=side, body_size=32)\n"
        "ingest(config, Path(root, 'out'), Path(root, 'scratch'), workers=2)\n"
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), protocol, str(side)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert said.split() == [str(torch)]
    given = {"root": tmp_path / "raw", "protocol": protocol, "context_size": side}
    ingest(CONFIG.model_copy(update=given), tmp_path / "here", tmp_path / "scratch here", workers=1)
    for array in (tmp_path / "here").glob("*.npy"):
        assert array.read_bytes() == (tmp_path / "out" / array.name).read_bytes()
