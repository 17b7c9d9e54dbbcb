"""The lock agrees with pyproject.toml, and is complete, on every Python that mmer runs on."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import cast

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tools.packages.lock import _UNNEEDED, APART, EXTRAS, LOCK, Locked, read, text_encoder

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = {package.name: package for package in read()}
PYTHONS = ("3.11.7", "3.12.11", "3.13.0", "3.14.0")


def on_linux(python: str) -> dict[str, str]:
    here = cast("dict[str, str]", default_environment())
    linux = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
    return {
        **here,
        **linux,
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
        "extra": "",
    }


def asked_for(lines: list[str], environment: dict[str, str], extras: set[str]) -> Iterator[Requirement]:
    """Those that apply, with or without one of the extras."""
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in extras | {""}):
            yield requirement


def missing(requirements: Iterator[Requirement], environment: dict[str, str]) -> list[str]:
    """What the lock does not have there, or in another version."""
    return [
        str(one)
        for one in requirements
        if (name := canonicalize_name(one.name)) not in (*APART, *_UNNEEDED)
        if name not in PACKAGES
        or not PACKAGES[name].applies(environment)
        or not one.specifier.contains(PACKAGES[name].version, prereleases=True)
    ]


@pytest.mark.parametrize("python", PYTHONS)
def test_what_the_project_asks_for_is_locked(python: str) -> None:
    extras = [line for extra in EXTRAS for line in PROJECT["optional-dependencies"][extra]]
    lines = [*PROJECT["dependencies"], *extras, text_encoder()]
    assert SpecifierSet(PROJECT["requires-python"]).contains(python)
    assert missing(asked_for(lines, on_linux(python), set()), on_linux(python)) == []


def of_package(package: Locked, environment: dict[str, str], extras: set[str]) -> list[Requirement]:
    """What a package asks for, as far as this environment has the version of the lock."""
    try:
        installed = distribution(package.name)
    except PackageNotFoundError:
        return []
    if installed.version != package.version:
        return []
    return list(asked_for(installed.requires or [], environment, extras))


@pytest.mark.parametrize("python", PYTHONS)
def test_what_the_packages_ask_for_is_locked(python: str) -> None:
    environment = on_linux(python)
    extras: dict[str, set[str]] = {}
    locked = [package for package in PACKAGES.values() if package.applies(environment)]
    for _ in range(3):  # extras are asked for by packages that are asked for
        asked = [
            one
            for package in locked
            for one in of_package(package, environment, extras.get(package.name, set()))
        ]
        asked += map(Requirement, PROJECT["dependencies"])
        for one in asked:
            extras.setdefault(canonicalize_name(one.name), set()).update(one.extras)
    assert missing(iter(asked), environment) == []
    # What torch asks for comes with it, but for CUDA's libraries.
    of_torch = [
        one for name in APART for one in asked_for(distribution(name).requires or [], environment, set())
    ]
    assert missing((one for one in of_torch if one.marker is None), environment) == []


def test_every_package_has_one_version_and_hashes() -> None:
    assert len(read()) == len(PACKAGES) > 150
    for package in PACKAGES.values():
        assert re.fullmatch(r"[\w.!+-]+", package.version)
        assert package.hashes
        assert all(re.fullmatch("[0-9a-f]{64}", one) for one in package.hashes)
    assert not {*APART, *_UNNEEDED} & PACKAGES.keys()
    assert not any(name.startswith(("nvidia", "cuda", "triton")) for name in PACKAGES)


def test_the_lock_names_no_place() -> None:
    text = LOCK.read_text()
    assert "make lock" in text.splitlines()[1]
    assert not re.search(r"://|/tmp|--index|--find-links", text)
