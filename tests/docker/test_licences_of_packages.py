"""The packages of the image: their licences are known and accepted, and they are in the bill of materials."""

import csv
import json
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import cast

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.markers import default_environment

from tools.packages import bom, licences
from tools.packages.lock import APART, read

ROOT = Path(__file__).parents[2]
AT = datetime(2026, 1, 1, tzinfo=UTC)


def installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def test_every_licence_is_known_and_accepted() -> None:
    names = {one.name for one in read() if one.applies(cast("dict[str, str]", default_environment()))} | set(
        APART
    )
    found = [licences.of(package) for name in names if (package := installed(name))]
    assert names == {one.name for one in found}
    refused = [f"{one.name}: {one.expression}, {one.stated}" for one in found if not one.accepted]
    assert refused == []


def test_the_guide_lists_what_is_accepted() -> None:
    guide = (ROOT / "docs/releasing.md").read_text()
    (listed,) = (line for line in guide.splitlines() if line.startswith("`0BSD`"))
    assert set(listed.replace("`", "").rstrip(".").split(", ")) == licences.ACCEPTED


def made(folder: Path, name: str, about: str, text: str = "", version: str = "1") -> Distribution:
    """A package with that metadata and text of a licence."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{about}")
    (info / "LICENSE").write_text(text)
    (info / "RECORD").write_text(f"{info.name}/LICENSE,,\n")
    return Distribution.at(info)


BSD = "Redistributions of source code must retain. {} Permission is hereby granted, free of charge, to any person"


@pytest.mark.parametrize(
    ("about", "text", "expected", "accepted"),
    [
        ("License-Expression: MIT AND PSF-2.0\n", "", "MIT AND PSF-2.0", True),
        ("License-Expression: MIT AND GPL-3.0-only\n", "", "MIT AND GPL-3.0-only", False),
        ("License-Expression: MIT OR GPL-3.0-only\n", "", "MIT OR GPL-3.0-only", True),
        ("License: Apache-2.0\n", "", "Apache-2.0", True),
        ("License: Apache 2\nClassifier: License :: OSI Approved :: MIT License\n", "", "MIT", True),
        ("License: BSD\n", BSD.format(""), "BSD-2-Clause", True),
        ("License: BSD\n", BSD.format("Neither the name"), "BSD-3-Clause", True),
        ("License: Proprietary\n", "All rights reserved.", "unknown", False),
        ("", "", "unknown", False),
    ],
)
def test_a_licence_is_read_where_it_is_stated(
    about: str, text: str, expected: str, accepted: bool, tmp_path: Path
) -> None:
    found = licences.of(made(tmp_path, "one", about, text))
    assert (found.expression, found.accepted) == (expected, accepted)


def test_an_image_has_a_bill_of_materials(tmp_path: Path) -> None:
    root, folder = tmp_path / "root", tmp_path / "made"
    site = root / bom.ENVIRONMENT / "lib/python3.12/site-packages"
    numpy = next(one for one in read() if one.name == "numpy")
    made(
        site,
        "mmer",
        "License-Expression: MIT\nRequires-Dist: numpy>=2\nRequires-Dist: peft; extra == 'lora'\n",
    )
    made(site, "numpy", "License-Expression: BSD-3-Clause\n", version=numpy.version)
    made(site, "secret", "License: none of yours\n")
    (root / "var/lib/dpkg").mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text(
        "Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.2.13\nArchitecture: amd64\nDescription: d\n more\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: amd64\n\n"
    )
    summary = bom.of_image(root, folder, AT)
    assert (
        summary
        == "3 Python and 1 Debian packages; licences of Python packages: not accepted: secret (unknown)"
    )
    text = (folder / "bom.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    whole = json.loads(text)
    assert whole["metadata"]["component"]["name"] == "mmer"
    components = {one["purl"]: one for one in whole["components"]}
    assert components.keys() == {
        f"pkg:pypi/numpy@{numpy.version}",
        "pkg:pypi/secret@1",
        "pkg:deb/debian/zlib1g@1:1.2.13?arch=amd64",
    }
    locked = {one["value"] for one in components[f"pkg:pypi/numpy@{numpy.version}"]["properties"]}
    assert locked == set(numpy.hashes)
    needs = {one["ref"]: one.get("dependsOn", []) for one in whole["dependencies"]}
    assert needs["mmer==1"] == [f"numpy=={numpy.version}"]
    with (folder / "licences.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["Package"], row["Licence"]) for row in rows] == [
        ("mmer", "MIT"),
        ("numpy", "BSD-3-Clause"),
        ("secret", "unknown"),
    ]
    bom.of_image(root, tmp_path / "again", AT)
    assert (tmp_path / "again/bom.json").read_text() == text
