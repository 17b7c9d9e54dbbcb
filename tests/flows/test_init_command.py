"""``mmer init``: what it says, and that it writes whole files or none."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.cli import main


@pytest.fixture
def run(capsys):
    """Run ``mmer ARGUMENTS``; returns exit code, output, errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = 0
        try:
            main([*map(str, arguments)])
        except SystemExit as end:
            code = int(end.code or 0)
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of ten pictures, seven copies of one of them, and one that is broken."""
    for number in range(20):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(path)
    for number in range(7):
        path.with_name(f"{number} copy.png").write_bytes(path.read_bytes())
    (path.parent / "broken.png").write_bytes(b"x")
    return tmp_path / "photos"


def test_from_a_folder_to_a_dataset_that_passes(run, folder):
    code, dry, _ = run("init", folder, "--dry-run")
    assert code == 0
    assert sorted(os.listdir(folder)) == ["a", "b"]
    code, out, _ = run("init", folder)
    assert code == 0
    for words in (
        "labels the folder of the picture",
        "single-label classification, 2 labels: 20 samples of 20 pictures",
        "left out: 7 duplicate, 1 unreadable_image",
        "and 4 more rows: --all lists them",
        "samples 14 ",
        f"wrote {folder / 'manifest.csv'} and {folder / 'manifest.left-out.csv'}",
    ):
        assert words in " ".join(out.split()), words
    assert dry.splitlines()[:5] == out.splitlines()[:5]
    (advice,) = [line for line in out.splitlines() if line.startswith("next: mmer ")]
    assert run(*advice.removeprefix("next: mmer ").split())[0] == 0
    assert run("init", folder, "--dry-run", "--all")[1].count("duplicate") == 8


def test_what_is_there_is_replaced_whole_or_not_at_all(run, folder, monkeypatch):
    assert run("init", folder)[0] == 0
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder) if name.endswith(".csv")}
    code, _, error = run("init", folder)
    assert code == 1
    assert "is there already: give --overwrite" in error
    (folder / "a" / "0.png").unlink()

    def full(*places: object) -> None:
        raise OSError(28, "No space left on device", str(places[-1]))

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        code, _, error = run("init", folder, "--overwrite")
    assert code == 1
    assert "No space left on device; name another place by --out" in error
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder) if name not in "ab"} == before
    code, out, _ = run("init", folder, "--overwrite")
    assert code == 0
    assert "19 samples keep their split of manifest.csv" in out
