"""Folders of Hugging Face's `datasets`, as the library lays them out."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmer_core.config import IngestConfig
from mmer_core.datasets.check import check
from mmer_core.datasets.ingest import ingest, read_raw
from mmer_core.errors import DatasetError


def picture(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def saved(folder, rows, features):
    """What ``Dataset.save_to_disk`` writes."""
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as out,
    ):
        out.write_table(table, max_chunksize=2)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
    )
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))


def config(root):
    return IngestConfig(dataset="huggingface", root=root, context_size=16)


def test_a_saved_dataset_has_names_of_classes_and_its_own_bytes(tmp_path):
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["sad", "glad"]}}
    for place, split in enumerate(("train", "validation")):
        rows = [
            {"image": {"bytes": picture(10 * place + n), "path": None}, "caption": f" naïve\t{n} ", "label": n % 2, "id": 7}
            for n in range(5)
        ]  # fmt: skip
        rows[3]["image"]["bytes"] = b"no picture"
        rows[4]["label"] = -1
        saved(tmp_path / "raw" / split, rows, features)
    (tmp_path / "raw" / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')

    raw = read_raw(config(tmp_path / "raw"), tmp_path / "scratch")
    assert raw.labels == ("glad", "sad")
    first = raw.samples[0]
    assert (first.id, first.split, first.labels) == ("train/0000000", "train", ("sad",))
    assert [text.text for text in first.texts] == [" naïve\t0 "]
    assert first.image.read_bytes() == picture(0)
    assert first.metadata["source_id"] == "7"

    summary = ingest(config(tmp_path / "raw"), tmp_path / "prepared", tmp_path / "scratch", workers=1)
    assert summary.counts == {"train": 3, "val": 3, "test": 0}
    refused = {reason: count for reason, count in summary.quarantined.items() if "caption" not in reason}
    assert refused == {"unreadable_image": 2, "no_label": 2}
    checked = check(config(tmp_path / "raw"), tmp_path / "scratch", workers=1)
    assert (checked.inputs, checked.sound) == (summary.inputs, 6) == (10, 6)


def test_an_image_folder_is_read_from_its_metadata(tmp_path):
    root = tmp_path / "raw"
    for place, split in enumerate(("train", "val")):
        (root / split).mkdir(parents=True)
        for number in range(2):
            (root / split / f"{number}.png").write_bytes(picture(10 * place + number))
    (root / "train" / "metadata.csv").write_text(
        'file_name,text\n0.png,"one, two "\n1.png, three\n../x.png,out\n'
    )
    lines = ['{"file_name": "0.png", "text": "four"}', "[", '{"file_name": "9.png", "text": "gone"}']
    (root / "val" / "metadata.jsonl").write_text("\n".join(lines))
    raw = read_raw(config(root), tmp_path / "scratch")
    assert [(sample.id, sample.texts[0].text) for sample in raw.samples] == [
        ("train/0.png", "one, two "),
        ("train/1.png", " three"),
        ("val/0.png", "four"),
    ]
    refused = [one.reason for one in raw.quarantined if "caption" not in one.reason]
    assert refused == ["missing_image", "malformed_row", "missing_image"]
    checked = check(config(root), tmp_path / "scratch", workers=1)
    assert (checked.inputs, checked.sound) == (6, 3)


def test_folders_that_are_neither_or_damaged_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="holds neither"):
        read_raw(config(tmp_path), tmp_path / "scratch")
    saved(tmp_path / "bad", [{"text": "a"}], {})
    (tmp_path / "bad" / "data-00000-of-00001.arrow").write_bytes(b"\xff" * 100)
    with pytest.raises(DatasetError, match="Arrow stream"):
        read_raw(config(tmp_path / "bad"), tmp_path / "scratch")
    (tmp_path / "bad" / "state.json").write_text('{"_data_files": [{"filename": "../x.arrow"}]}')
    with pytest.raises(DatasetError, match="names no files"):
        read_raw(config(tmp_path / "bad"), tmp_path / "scratch")
