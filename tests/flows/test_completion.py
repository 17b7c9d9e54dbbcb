"""The shell completes commands, options and choices."""

import subprocess

import pytest

from flows.cli import main

COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _mmer 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    home = tmp_path_factory.mktemp("shell")
    file = home / "mmer"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))  # the shell's start-up file is written there
        with pytest.raises(SystemExit) as end:
            main(["--install-completion", "--shell", "bash", "--output", str(file)])
    assert not end.value.code
    return str(file)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("ro", "robustness"),
        ("artifacts lin", "lineage"),
        ("train --training.epo", "--training.epochs"),
        ("train --training.weight-de", "--training.weight-decay"),  # not in the short help
        ("train --model.family zero", "zero-shot"),
    ],
)
def test_what_is_begun_is_completed(script: str, typed: str, completed: str) -> None:
    words = ["bash", "-c", COMPLETE, "bash", script, "mmer", *typed.split(" ")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [completed]
