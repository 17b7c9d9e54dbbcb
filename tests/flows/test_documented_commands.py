"""Every command in the guides is one that the command line understands."""

import re
import shlex
from pathlib import Path

import pytest

from flows.commands import app

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = [
    (guide.name, command)
    for guide in sorted(DOCS.glob("*.md"))
    for command in re.findall(r"^(?:\$ |    )mmer (.+)$", guide.read_text().replace("\\\n", " "), re.M)
]


def test_there_are_some():
    assert len(COMMANDS) > 5


@pytest.mark.parametrize(("guide", "command"), COMMANDS)
def test_a_documented_command_is_understood(guide, command):
    app.config = []
    app.parse_args(shlex.split(command), exit_on_error=False, print_error=False)
