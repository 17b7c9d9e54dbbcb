"""The scripts in examples/ run, and say what their pages say they show."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from support.single_thread import one_thread

import mmer_core as mmer

__all__ = ["one_thread"]

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch, capsys):
    """Run a script as a program, in this process; returns what it printed."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.syspath_prepend(EXAMPLES)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_attack_your_network(example):
    success = dict(
        re.findall(r"^ *([\w-]+, \d+) changed pixels: +(\d+) %", example("attack_your_network.py"), re.M)
    )
    assert int(success["sparse-rs, 10"]) > int(success["random, 10"])


def test_new_attack(example):
    assert example("new_attack.py").count("fooled after") > 3


def test_one_run_is_trained_read_back_and_compared(example, tmp_path):
    trained = example("train_on_your_manifest.py", tmp_path)
    separate, joint = re.findall(r"model/\w+", trained)
    assert all(float(recall) > 50 for recall in re.findall(r"recall ([\d.]+)", trained))

    # 54 shows a red disc; the others have the other colours.
    photos = [tmp_path / "photos" / f"photo-{number}.png" for number in (54, 55, 56, 57, 58)]
    embedded = example("embed_photos.py", tmp_path / "store", *photos)
    assert joint in embedded
    assert re.findall(r"photo-(\d+)", embedded)[0] == "54"

    compared = mmer.compare(separate, joint, store=str(tmp_path / "store"))
    assert compared.settings == {"model.family": ("separate", "joint")}
    figures = compared.differences.set_index("figure").loc["mean recall"]
    assert [f"{value:.1f}" for value in (figures.A, figures.B)] == re.findall(r"recall ([\d.]+)", trained)


def test_the_drawn_spreadsheet_is_one_of_western_windows(example, tmp_path):
    example("draw_datasets.py", tmp_path)
    table = (tmp_path / "posts" / "posts.csv").read_bytes()
    with pytest.raises(UnicodeDecodeError):
        table.decode()
    assert "Zürich: " in table.decode("windows-1252")
    assert len(list((tmp_path / "places").rglob("*.jpg"))) == 160


def test_the_page_lists_every_script():
    page = (EXAMPLES.parent / "docs" / "examples.md").read_text("utf-8")
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert set(re.findall(r"\(\.\./examples/(\w+\.py)\)", page)) == scripts
    assert set(re.findall(r"^\$ python examples/(\w+\.py)", page, re.M)) == scripts
