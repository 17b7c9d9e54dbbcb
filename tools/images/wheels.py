"""What pip installs from while the image is built: pip's own configuration here, and wheels that it names.

The CPU build of torch comes from a folder that pip's ``find-links`` names, since the index of its authors is not reached
from everywhere. The torchvision that goes with it may be nowhere: then a stand-in is made of the wheel for CUDA, without
its compiled operators, which no run of this test calls. Such an image is for this test only.
"""

import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

_PYTHON = "cp311"
"""Of Debian 12, on which the test's base image stands."""
# Declared, or torchvision cannot be imported; calling them fails.
_OPERATORS = b"""

torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


@dataclass(frozen=True)
class Wheels:
    """What pip is configured to install from.

    Attributes:
        settings: pip's settings by name, such as ``find-links``; those of the environment win.
        torch: Version of the CPU build of torch; None where there is none.
    """

    settings: dict[str, str]
    torch: str | None

    @property
    def places(self) -> list[Path]:
        """Files and folders that the settings name."""
        values = [value for name, value in self.settings.items() if name != "constraint"]
        words = [word.removeprefix("file://") for value in values for word in value.split()]
        found = {Path(word) for word in words if word.startswith("/") and Path(word).exists()}
        # An index in a folder `simple` has its files beside it.
        return sorted({place.parent if place.name == "simple" else place for place in found})


def found() -> Wheels:
    """As pip is configured for this Python."""
    settings = {}
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    # Lines of the environment come last with some versions of pip, and first with others.
    lines = sorted(listed.splitlines(), key=lambda line: line.startswith(":env:"))
    for line in lines:
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = value.strip("'\"").replace("\\n", " ")
    folders = [Path(word.removeprefix("file://")) for word in settings.get("find-links", "").split()]
    wheels = [
        file for folder in folders for file in sorted(folder.glob(f"torch-*cpu-{_PYTHON}-{_PYTHON}-*.whl"))
    ]
    return Wheels(settings, wheels[-1].name.split("-")[1] if wheels else None)


@dataclass(frozen=True)
class Given:
    """What the build is given.

    Attributes:
        mounts: What is mounted where, read-only.
        arguments: Of the Dockerfile.
    """

    mounts: dict[Path, str]
    arguments: dict[str, str]


def given(wheels: Wheels, folder: Path) -> Given:
    """Write pip's configuration for the build into a folder."""
    assert wheels.torch is not None
    folder.mkdir(parents=True, exist_ok=True)
    # The constraints of this machine are for other environments.
    settings = {name: value for name, value in wheels.settings.items() if name != "constraint"}
    settings["find-links"] = f"{settings.get('find-links', '')} /pip".strip()
    lines = [f"{name} = {value}" for name, value in settings.items()]
    (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))
    mounts = {place: str(place) for place in wheels.places}
    mounts |= {folder: "/pip", folder / "pip.conf": "/etc/pip.conf"}
    vision = _torchvision(wheels.torch, folder)
    # torch comes from the folder of its wheels; what it needs is there already.
    index = {"TORCH_INDEX": "https://pypi.org/simple"}
    return Given(mounts, index | {"TORCH": wheels.torch, "TORCHVISION": vision})


def _torchvision(torch: str, folder: Path) -> str:
    """Make the stand-in; its version."""
    major, minor, patch = torch.split("+")[0].split(".")
    version = f"0.{int(minor) + 15}.{patch}" if major == "2" else torch
    made = folder / f"torchvision-{version}+standin-py3-none-any.whl"
    if not made.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        place = ["--python-version=3.11", "--dest", str(folder), f"torchvision=={version}"]
        # The constraints of this machine are for other environments.
        subprocess.run([*command, *place], env=os.environ | {"PIP_CONSTRAINT": ""}, check=True)
        (whole,) = folder.glob(f"torchvision-{version}-*.whl")
        _without_operators(whole, made, version)
        whole.unlink()
    return f"{version}+standin"


def _without_operators(whole: Path, made: Path, version: str) -> None:
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            if name.endswith("/") or ".so" in name:
                continue
            data = source.read(name)
            if name == "torchvision/extension.py":
                data += _OPERATORS
            elif name.endswith(".dist-info/METADATA"):
                data = data.replace(
                    f"Version: {version}\n".encode(), f"Version: {version}+standin\n".encode(), 1
                )
            elif name.endswith(".dist-info/WHEEL"):
                data = re.sub(rb"Tag: .*", b"Tag: py3-none-any", data)
            elif name.endswith(".dist-info/RECORD"):
                data = b"".join(b"%s\n" % line for line in data.splitlines() if b".so" not in line)
                data = data.replace(f"{version}.dist-info".encode(), f"{version}+standin.dist-info".encode())
            target.writestr(name.replace(f"{version}.dist-info", f"{version}+standin.dist-info"), data)
