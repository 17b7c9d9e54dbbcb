"""On which Pythons mmer and its extras can be installed from wheels: python -m tools.packages.pythons.

uv resolves for each Python and each extra, for Linux on x86-64; it reads what the registry says about packages and
downloads none. That shows that versions fit together and that there are wheels, not that they work.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_FOR_PEOPLE_WHO_DEVELOP = ("dev", "peers", "release")


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [one for one in project["optional-dependencies"] if one not in _FOR_PEOPLE_WHO_DEVELOP]
    failed = False
    for python in PYTHONS:
        wrong = {}
        if _trouble(python, extras):
            wrong = {
                one or "mmer": said
                for one in ("", *extras)
                if (said := _trouble(python, [one] if one else []))
            }
            failed = True
        without = f" without {', '.join(wrong)}" if wrong else ""
        print(
            f"Python {python}: mmer with {', '.join(one for one in extras if one not in wrong)}{without}",
            flush=True,
        )
        for one, said in wrong.items():
            print(f"    {one}: {said}")
    return int(failed)


def _trouble(python: str, extras: list[str]) -> str:
    """The reason why there are no versions; empty where there are some."""
    how = [
        "--quiet",
        f"--python-version={python}",
        "--python-platform=x86_64-manylinux_2_28",
        "--only-binary=:all:",
    ]
    how += [f"--extra={extra}" for extra in extras]
    with tempfile.NamedTemporaryFile() as file:
        command = [sys.executable, "-m", "uv", "pip", "compile", *how, f"--output-file={file.name}"]
        done = subprocess.run(
            [*command, str(ROOT / "pyproject.toml")], capture_output=True, text=True, check=False
        )
    return " ".join(done.stderr.split()) if done.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
