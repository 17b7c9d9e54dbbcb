"""What `make image-test` does before it builds anything; it builds and runs images where the tools for that are."""

import json
import os
import zipfile
from pathlib import Path

import pytest

from tools.images import needs, stack, wheels
from tools.images import services as podman
from tools.images.table import Table

ROOT = Path(__file__).parents[2]


def test_what_is_missing_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complete = wheels.Wheels({}, "2.13.0+cpu")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert needs.what_is_missing(tmp_path, complete) == "images are built here by root only"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "buildah, podman, crun" in str(needs.what_is_missing(tmp_path, complete))
    monkeypatch.setattr(needs, "_PROGRAMS", ())
    assert "set PIP_FIND_LINKS" in str(needs.what_is_missing(tmp_path, wheels.Wheels({}, None)))
    monkeypatch.setattr(needs, "GIGABYTES", 10**9)
    assert f"{tmp_path} has" in str(needs.what_is_missing(tmp_path, complete))


def test_pip_is_configured_in_the_image_as_it_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl").touch()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    found = wheels.found()
    assert found.torch == "2.13.0+cpu"
    assert found.settings["find-links"] == str(folder)
    assert folder in found.places
    monkeypatch.setattr(wheels, "_torchvision", lambda torch, into: "0.28.0+standin")
    given = wheels.given(found, tmp_path / "pip")
    assert given.mounts[folder] == str(folder)
    assert given.mounts[tmp_path / "pip/pip.conf"] == "/etc/pip.conf"
    written = (tmp_path / "pip/pip.conf").read_text()
    assert f"find-links = {folder} /pip" in written
    assert "constraint" not in written
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    assert all(f"\nARG {name}=" in dockerfile for name in given.arguments)
    assert given.arguments["TORCH"] == "2.13.0+cpu"
    assert given.arguments["TORCHVISION"] == "0.28.0+standin"


def test_the_stand_in_is_the_wheel_without_its_operators(tmp_path: Path) -> None:
    whole, made = tmp_path / "whole.whl", tmp_path / "made.whl"
    with zipfile.ZipFile(whole, "w") as wheel:
        wheel.writestr("torchvision/extension.py", "import torch\n")
        wheel.writestr("torchvision/_C.so", "operators")
        wheel.writestr("torchvision.libs/libpng.so.16", "library")
        wheel.writestr("torchvision-0.28.0.dist-info/METADATA", "Name: torchvision\nVersion: 0.28.0\n")
        wheel.writestr("torchvision-0.28.0.dist-info/WHEEL", "Tag: cp311-cp311-manylinux_2_28_x86_64\n")
        wheel.writestr(
            "torchvision-0.28.0.dist-info/RECORD", "torchvision/_C.so,,\ntorchvision/extension.py,,\n"
        )
    wheels._without_operators(whole, made, "0.28.0")
    with zipfile.ZipFile(made) as wheel:
        texts = {name: wheel.read(name).decode() for name in wheel.namelist()}
    about = "torchvision-0.28.0+standin.dist-info"
    assert sorted(texts) == sorted(
        ["torchvision/extension.py", f"{about}/METADATA", f"{about}/WHEEL", f"{about}/RECORD"]
    )
    assert "torchvision::nms" in texts["torchvision/extension.py"]
    assert "Version: 0.28.0+standin\n" in texts[f"{about}/METADATA"]
    assert texts[f"{about}/WHEEL"] == "Tag: py3-none-any\n"
    assert texts[f"{about}/RECORD"] == "torchvision/extension.py,,\n"


def test_what_failed_is_in_the_table(tmp_path: Path) -> None:
    table = Table(tmp_path / "table.jsonl")
    with table.row("one") as seen:
        seen.append("this")
    with pytest.raises(AssertionError), table.row("two"):
        raise AssertionError("not that")
    rows = [json.loads(line) for line in table.file.read_text().splitlines()]
    assert [(what, text) for what, _, text in rows] == [
        ("one", "this"),
        ("two", "FAILED: AssertionError: not that"),
    ]
    assert "| two | " in table.text()


def test_services_are_started_after_what_they_depend_on() -> None:
    services = podman.settings()
    order = [*stack._STAYING[:-1], "deploy", stack._STAYING[-1]]
    assert set(order) == services.keys()
    for place, name in enumerate(order):
        assert set(services[name].get("depends_on", ())) <= set(order[:place])
        assert (f"  {name}: " in podman._APART) == ("depends_on" in services[name])
