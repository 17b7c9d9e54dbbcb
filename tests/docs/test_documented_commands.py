"""Every command in README.md, CONTRIBUTING.md and docs/ is one that can be given: right program, file, target, flags."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.walkthrough import commands as console_commands

from flows.commands import app
from flows.configurations import configuration_source

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    # test_first_hour.py runs its page.
    *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != "first-hour.md"),
]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_PROGRAM = re.compile(
    r"mmer|make|python|pip|dask|prefect|curl|docker|source|opentelemetry-instrument|\w+=\S*"
)
OF_OTHERS = {"dask", "prefect", "curl", "docker", "source"}


def commands(page: Path) -> Iterator[str]:
    """Commands in console blocks (after ``$``) and in indented lines."""
    text = page.read_text("utf-8")
    yield from console_commands(text)
    for line in re.findall(r"^    (\S.*)$", _FENCE.sub("", text).replace("\\\n", " "), re.M):
        if _PROGRAM.fullmatch(line.split()[0]):
            yield line


COMMANDS = [(page.name, command) for page in PAGES for command in commands(page)]


def test_they_are_found():
    assert {"README.md", "CONTRIBUTING.md", "commands.md", "operations.md"} <= {page for page, _ in COMMANDS}
    assert len(COMMANDS) > 60


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_documented_command_is_understood(page, command):
    words = shlex.split(command, comments=True)
    if words[0] == "torchrun":
        words = ["mmer", *words[words.index("flows.cli") + 1 :]]
    while re.match(r"\w+=", words[0]):
        del words[0]
    if (
        words[0] == "opentelemetry-instrument"
    ):  # takes what looks like one of its own options, unless -- is before the command
        launcher, *given = words
        words = given[given.index("--") + 1 :]
        harmless = ["true" if one == words[0] else one for one in given]
        assert not subprocess.run([Path(sys.executable).with_name(launcher), *harmless]).returncode
    match words:
        case ["mmer", *arguments]:
            rest, app.config = configuration_source(arguments)
            app.parse_args(rest, exit_on_error=False, print_error=False)
        case ["make", *targets]:
            known = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M)
            assert {one for one in targets if "=" not in one} <= set(known)
        case ["python", "-m", module, *arguments]:
            assert find_spec(module)
            assert all((ROOT / one).exists() for one in arguments if one.startswith("tests/"))
        case ["python", script, *_]:
            assert (ROOT / script).is_file()
        case ["pip", "install", *wanted]:
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            assert {re.fullmatch(r"mmer\[(\w+)\]", one)[1] for one in wanted} <= extras.keys()
        case [program, *_]:
            assert program in OF_OTHERS
