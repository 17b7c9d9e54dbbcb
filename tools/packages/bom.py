"""What is installed, as a bill of materials (CycloneDX) and a table of licences: python -m tools.packages.bom --help."""

import argparse
import sys
import sysconfig
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_string
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.packages import licences
from tools.packages.lock import APART, Locked, read

ROOT = Path(__file__).parents[2]
ENVIRONMENT = "opt/mmer"
"""Of the image, below its root."""


@dataclass(frozen=True)
class Debian:
    """A package of the system."""

    name: str
    version: str
    architecture: str


def python_packages(sites: Sequence[Path]) -> list[Distribution]:
    """What is installed in folders ``site-packages``, by name; of what several have, that of the first."""
    found: dict[str, Distribution] = {}
    for one in distributions(path=[str(site) for site in sites]):
        found.setdefault(canonicalize_name(one.name), one)
    return [found[name] for name in sorted(found)]


def debian_packages(root: Path) -> list[Debian]:
    """What is installed below the root of a Debian system; none where it is another one."""
    status = root / "var/lib/dpkg/status"
    if not status.is_file():
        return []
    entries = map(message_from_string, status.read_text("utf-8").strip().split("\n\n"))
    return [
        Debian(entry["Package"], entry["Version"], entry["Architecture"])
        for entry in entries
        if entry["Status"] == "install ok installed"
    ]


def bom(python: list[Distribution], debian: list[Debian], locked: list[Locked], at: datetime) -> Bom:
    """The bill of materials; the same for the same packages and date.

    A package of the lock has the SHA-256 of each file that it may have been installed from.
    """
    hashes = {(one.name, one.version): one.hashes for one in locked}
    components = {canonicalize_name(one.name): _component(one, hashes) for one in python}
    made = Bom(components=[*components.values(), *map(_debian, debian)])
    for one in python:
        needed = [components[name] for name in _needed(one) if name in components]
        made.register_dependency(components[canonicalize_name(one.name)], needed)
    whole = components.get("mmer")
    if whole is not None:
        made.metadata.component = whole
        made.components.remove(whole)
    made.metadata.timestamp = at
    names = "\n".join(sorted(str(one.purl) for one in made.components))
    made.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"{names}\n{at}")
    return made


def write(sites: Sequence[Path], root: Path | None, folder: Path, at: datetime) -> str:
    """Write ``bom.json`` and ``licences.csv`` into a folder; a sentence about them.

    Args:
        sites: Folders ``site-packages``, in the order in which Python looks there.
        root: Of an image, for the packages of its system. None where the folder is not an image's: then what would be in
            an image is listed, and nothing else that is there.
    """
    python = python_packages(sites)
    if root is None:
        used = {*(one.name for one in read()), *APART, "mmer"}
        python = [one for one in python if canonicalize_name(one.name) in used]
    debian = debian_packages(root) if root else []
    stated = [licences.of(one) for one in python]
    made = bom(python, debian, read(), at)
    folder.mkdir(parents=True, exist_ok=True)
    licences.write(stated, folder / "licences.csv")
    text = JsonV1Dot6(made).output_as_string(indent=1)
    (folder / "bom.json").write_text(f"{text}\n", "utf-8")
    others = [f"{one.name} ({one.expression})" for one in stated if not one.accepted]
    verdict = f"not accepted: {', '.join(others)}" if others else "all accepted"
    return f"{len(python)} Python and {len(debian)} Debian packages; licences of Python packages: {verdict}"


def of_image(root: Path, folder: Path, at: datetime) -> str:
    """Write both for an image whose files are below a root."""
    (site,) = (root / ENVIRONMENT).glob("lib/python3*/site-packages")
    return write([site], root, folder, at)


def _component(package: Distribution, hashes: dict[tuple[str, str], tuple[str, ...]]) -> Component:
    licence = licences.of(package)
    name = canonicalize_name(package.name)
    files = hashes.get((name, package.version), ())
    return Component(
        name=name,
        version=package.version,
        type=ComponentType.APPLICATION if name == "mmer" else ComponentType.LIBRARY,
        bom_ref=f"{name}=={package.version}",
        description=package.metadata.get("Summary"),
        licenses=[LicenseExpression(licence.expression)] if licence.expression != licences.UNKNOWN else [],
        purl=PackageURL("pypi", None, name, package.version),
        # One of these was installed: which one depends on the platform.
        properties=[Property(name="mmer:lock:sha256", value=one) for one in files],
    )


def _debian(package: Debian) -> Component:
    return Component(
        name=package.name,
        version=package.version,
        bom_ref=f"deb:{package.name}:{package.architecture}=={package.version}",
        purl=PackageURL("deb", "debian", package.name, package.version, {"arch": package.architecture}),
    )


def _needed(package: Distribution) -> Iterator[str]:
    for requirement in map(Requirement, package.requires or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--root",
        type=Path,
        help="of an image's files; by default what an image would have of this environment",
    )
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "dist", help="where bom.json and licences.csv go"
    )
    given = parser.parse_args()
    now = datetime.now(UTC).replace(microsecond=0)
    if given.root:
        print(of_image(given.root, given.folder, now))
    else:
        print(write([Path(sysconfig.get_path("purelib"))], None, given.folder, now))
    return 0


if __name__ == "__main__":
    sys.exit(main())
