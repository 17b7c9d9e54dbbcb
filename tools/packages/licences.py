"""The licence of every package, as an SPDX expression, and whether it is one of those that are accepted.

A package states its licence in one of three ways: as an expression, as words, or as the text of a file. What words
leave open, such as the number of clauses of a "BSD" licence, its file says. The few that say it in none of these ways
are in `BY_HAND`, each with the place where it was read.
"""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

from license_expression import ExpressionError, Licensing, get_spdx_licensing
from packaging.utils import canonicalize_name

ACCEPTED = frozenset(
    {
        *("0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0"),
        *(
            "CC0-1.0",
            "CNRI-Python",
            "ISC",
            "MIT",
            "MIT-0",
            "MIT-CMU",
            "MPL-2.0",
            "PSF-2.0",
            "Zlib",
        ),
        "Artistic-1.0-Perl",
    }
)
"""Licences under which the image may be passed on unchanged with no more than their texts, which it holds."""
UNKNOWN = "unknown"
BY_HAND = {
    # README: "Artistic License, or GPL or GPLv2+".
    "text-unidecode": "Artistic-1.0-Perl OR GPL-2.0-or-later",
    # LICENSE: "The above BSD License Applies to all code, even that also covered by Apache 2.0."
    "python-dateutil": "BSD-3-Clause",
}
_BY_CLASSIFIER = {
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# What only the text of a licence has, the more particular first. A file may have several: the first is the package's.
_BY_TEXT = {
    "Apache-2.0": r"Apache License,? Version 2\.0",
    "MPL-2.0": r"Mozilla Public License Version 2\.0",
    "MIT": r"Permission is hereby granted, free of charge, to any person",
    "ISC": r"Permission to use, copy, modify, and(/or)? distribute this software for any purpose",
    "BSD-3-Clause": r"Redistributions.*(Neither the name|may be used to endorse)",
    "BSD-2-Clause": r"Redistributions of source code must retain",
}
_SPDX: Licensing = get_spdx_licensing()


@dataclass(frozen=True)
class Licence:
    """Of a package.

    Attributes:
        expression: SPDX expression, or ``unknown``.
        stated: Where.
    """

    name: str
    version: str
    expression: str
    stated: str

    @property
    def accepted(self) -> bool:
        """Whether one of the licences that may be chosen is accepted, of each part."""
        return self.expression != UNKNOWN and _holds(_SPDX.parse(self.expression))


def of(package: Distribution) -> Licence:
    """The licence of a package that is installed somewhere."""
    expression, stated = _found(package)
    return Licence(canonicalize_name(package.name), package.version, expression, stated)


def write(licences: Iterable[Licence], file: Path) -> None:
    """The table of licences."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        table = csv.writer(opened, lineterminator="\n")
        table.writerow(("Package", "Version", "Licence", "Stated"))
        table.writerows((one.name, one.version, one.expression, one.stated) for one in licences)


def _found(package: Distribution) -> tuple[str, str]:
    about = package.metadata
    if by_hand := BY_HAND.get(canonicalize_name(package.name)):
        return by_hand, "by hand"
    for field in ("License-Expression", "License"):
        if expression := _expression(str(about[field]) if field in about else ""):
            return expression, field
    classifiers = [
        line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or () if "License ::" in line
    ]
    known = [_BY_CLASSIFIER[one] for one in classifiers if one in _BY_CLASSIFIER]
    if len(classifiers) == len(known) == 1:
        return known[0], "classifier"
    return _of_files(package)


def _expression(text: str) -> str | None:
    """Words that are an SPDX expression."""
    if not text or len(text) > 200 or "\n" in text:
        return None
    try:
        return str(_SPDX.parse(text, validate=True, strict=True))
    except (ExpressionError, ValueError):
        return None


def _of_files(package: Distribution) -> tuple[str, str]:
    for file in package.files or ():
        if re.match(r"(LICEN[CS]E|COPYING)", file.name, re.IGNORECASE) and ".dist-info" in str(file):
            text = " ".join(Path(str(file.locate())).read_text("utf-8", errors="replace").split())
            found = {one: re.search(words, text, re.IGNORECASE) for one, words in _BY_TEXT.items()}
            places = {one: match.start() for one, match in found.items() if match}
            if places:
                return min(places, key=places.__getitem__), file.name
    return UNKNOWN, "nowhere"


def _holds(part: object) -> bool:
    if isinstance(part, _SPDX.OR):
        return any(map(_holds, part.args))
    if isinstance(part, _SPDX.AND):
        return all(map(_holds, part.args))
    return str(part) in ACCEPTED
