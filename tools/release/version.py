"""The version, which stands in mmer_core/__init__.py alone, and the changelog's part about it."""

import re
from datetime import date
from pathlib import Path

from packaging.version import InvalidVersion, Version

SOURCE = Path("mmer_core/__init__.py")
CHANGELOG = Path("CHANGELOG.md")
_VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
_UNRELEASED = "## Unreleased\n"


class Refused(Exception):
    """Nothing was released; the message says why, and what to do."""


def current(root: Path) -> str:
    (found,) = _VERSION.findall((root / SOURCE).read_text("utf-8"))
    return str(found)


def check(root: Path, wanted: str) -> None:
    """Raises Refused where it is no version, or none after the current one."""
    try:
        new = Version(wanted)
    except InvalidVersion:
        raise Refused(f"{wanted!r} is no version: give three numbers, as in VERSION=0.2.0") from None
    if str(new) != wanted:
        raise Refused(f"{wanted} is written {new}: give VERSION={new}")
    if new <= Version(current(root)):
        raise Refused(
            f"{wanted} does not come after {current(root)}, the version of {SOURCE}: give a higher one"
        )
    if not _unreleased((root / CHANGELOG).read_text("utf-8")).strip():
        raise Refused(f"{CHANGELOG} says nothing under Unreleased: write what changed first")


def write(root: Path, wanted: str, day: date) -> None:
    """Set the version, and give what was unreleased that version and a date."""
    source = root / SOURCE
    source.write_text(_VERSION.sub(f'__version__ = "{wanted}"', source.read_text("utf-8")), "utf-8")
    changelog = root / CHANGELOG
    text = changelog.read_text("utf-8")
    changelog.write_text(text.replace(_UNRELEASED, f"{_UNRELEASED}\n## {wanted} ({day})\n", 1), "utf-8")


def _unreleased(changelog: str) -> str:
    _, found, rest = changelog.partition(_UNRELEASED)
    if not found:
        raise Refused(f'{CHANGELOG} has no part "## Unreleased": write what changed there')
    return rest.partition("\n## ")[0]
