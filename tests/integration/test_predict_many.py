"""`mmer predict` on folders, lists and detected people, against the same photos asked one by one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.detector_file import detector_file
from support.small_pipeline import Study


def draw(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((120 + 10 * seed, 90), Image.Resampling.BILINEAR).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photos and a broken one."""
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        draw(tmp_path / "photos" / f"{seed}.png", seed)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no photo")
    return tmp_path / "photos"


def alone(mmer: Callable, study: Study, photo: Path, *more: object) -> dict[str, float]:
    return json.loads(mmer("predict", photo, "--json", *more, *study.flags()).out)["probabilities"]


def test_a_folder_is_its_photos_one_by_one(
    study: Study, folder: Path, mmer: Callable, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    answer = mmer("predict", folder, "--out", out, "--batch-size", 2, *study.flags())
    assert answer.code == 0, answer.err
    assert answer.out.strip() == str(out)
    assert "1 of 4 could not be read" in answer.err
    assert "predict: 4 of 4" in answer.err
    table = pd.read_csv(out).set_index("photo")
    assert list(table.index) == ["0.png", "1.png", "2.png", "broken.jpg"]
    assert "cannot read" in table.loc["broken.jpg", "error"]
    for name in ("0.png", "1.png", "2.png"):
        expected = alone(mmer, study, folder / name)
        found = {emotion: table.loc[name, f"probability {emotion}"] for emotion in expected}
        assert found == pytest.approx(expected, abs=1e-5)


def test_a_list_has_boxes_and_texts_of_its_own(study: Study, folder: Path, mmer: Callable) -> None:
    listing = folder / "list.csv"
    listing.write_text(
        "photo,x1,y1,x2,y2,text\n0.png,10,10,60,80,\n0.png,50,0,110,90,a happy child\n1.png,,,,,\n"
        "2.png,500,0,600,20,\nmissing.png,,,,,\n"
    )
    people = json.loads(mmer("predict", listing, "--json", *study.flags()).out)
    assert [person["photo"] for person in people] == ["0.png", "0.png", "1.png", "2.png", "missing.png"]
    first, second, third, outside, missing = people
    box = ("--box", 10, 10, 60, 80)
    assert first["probabilities"] == pytest.approx(alone(mmer, study, folder / "0.png", *box), abs=1e-5)
    with_text = ("--box", 50, 0, 110, 90, "--text", "a happy child")
    assert second["probabilities"] == pytest.approx(
        alone(mmer, study, folder / "0.png", *with_text), abs=1e-5
    )
    assert third["probabilities"] == pytest.approx(alone(mmer, study, folder / "1.png"), abs=1e-5)
    assert "outside" in outside["error"]
    assert "does not exist" in missing["error"]
    table = mmer("predict", listing, *study.flags()).out
    assert table.count("0.png") == 2
    assert "not read: " in table


def test_everyone_whom_a_detector_finds(study: Study, folder: Path, mmer: Callable, tmp_path: Path) -> None:
    detector = ("--detector", detector_file(tmp_path / "weights.safetensors"), "--detector-threshold", 0.3)
    answer = mmer("predict", folder / "1.png", "--json", *detector, *study.flags())
    people = json.loads(answer.out)
    assert people, answer.err
    scores = [person["detected"] for person in people]
    assert scores == sorted(scores, reverse=True)
    for person in people[:2]:
        expected = alone(mmer, study, folder / "1.png", "--box", *person["box"])
        assert person["probabilities"] == pytest.approx(expected, abs=1e-5)
    # A box in a list is that one person, whatever the detector would find.
    (folder / "list.csv").write_text("photo,x1,y1,x2,y2\n1.png,10,10,60,80\n")
    (person,) = json.loads(mmer("predict", folder / "list.csv", "--json", *detector, *study.flags()).out)
    assert (person["box"], person["detected"]) == ([10, 10, 60, 80], None)
    nobody = mmer("predict", folder / "1.png", *detector[:3], 1, *study.flags())
    assert nobody.code == 1
    assert "finds nobody" in nobody.err


def test_what_cannot_be_asked(study: Study, folder: Path, mmer: Callable) -> None:
    for arguments, message in (
        ((folder, "--box", 1, 2, 3, 4), "--box"),
        ((folder, "--out", "out.txt"), "out.txt"),
        ((folder / "0.png", "--detector", "yolo"), "yolo"),
    ):
        answer = mmer("predict", *arguments, *study.flags())
        assert answer.code == 1
        assert message in answer.err
        assert "Traceback" not in answer.err
