"""What was built from what: an in-toto statement with SLSA provenance, as https://slsa.dev/spec/v1.0/provenance has it.

It is not signed: whoever publishes a release signs it.
"""

import hashlib
import json
import platform
import re
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

_TOOLS = ("build", "setuptools")


def write(
    file: Path,
    *,
    built: Sequence[Path],
    beside: Sequence[Path],
    lock: Path,
    revision: str,
    remote: str,
    at: datetime,
) -> None:
    """Write the statement.

    Args:
        built: sdist and wheel.
        beside: Other files of the release.
        lock: Packages that the image installs, with hashes.
        revision: The commit.
        remote: Where git has the source from; left out where that is no public address.
        at: Date of the commit.
    """
    source = {"uri": _address(remote, revision), "digest": {"gitCommit": revision}}
    tools = [{"uri": f"pkg:pypi/{name}@{version(name)}"} for name in _TOOLS]
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [_described(path) for path in built],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://pypa-build.readthedocs.io/",
                "externalParameters": {"source": source, "command": "python -m build --no-isolation"},
                "internalParameters": {
                    "SOURCE_DATE_EPOCH": int(at.timestamp()),
                    "python": platform.python_version(),
                },
                "resolvedDependencies": [source, _described(lock), *tools],
            },
            "runDetails": {
                "builder": {"id": "urn:mmer:make-release"},
                "metadata": {"finishedOn": at.isoformat().replace("+00:00", "Z")},
                "byproducts": [_described(path) for path in beside],
            },
        },
    }
    file.write_text(f"{json.dumps(statement, indent=1)}\n", "utf-8")


def _described(path: Path) -> dict[str, Any]:
    return {"name": path.name, "digest": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}}


def _address(remote: str, revision: str) -> str:
    """Without names and passwords, and without paths of this machine."""
    public = re.fullmatch(r"(?:https://|ssh://|git@)(?:[^@/]*@)?([\w.-]+)[:/](.+?)(?:\.git)?/?", remote)
    return f"git+https://{public[1]}/{public[2]}@{revision}" if public else f"git:{revision}"
