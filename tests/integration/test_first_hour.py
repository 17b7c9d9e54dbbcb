"""docs/first-hour.md, from its first command to its last: they print what it says.

``MMER_RECORD=1 python -m pytest tests/integration/test_first_hour.py`` (``make first-hour``) records it anew.
"""

import os
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.walkthrough import Walk, plain, recorded, steps

import flows.terminal
from flows.cli import main

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "first-hour.md"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900), pytest.mark.long]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], str]:
    """Run a command, with tables as wide as at a terminal of 120 columns, and without the progress of what succeeds."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(flows.terminal, "_UNCUT", 120)
    monkeypatch.chdir(tmp_path)

    def run(command: str) -> str:
        capsys.readouterr()
        match shlex.split(command):
            case ["mmer", *arguments]:
                try:
                    main(arguments)
                except SystemExit as end:
                    if end.code:
                        said = plain(capsys.readouterr().err)
                        return said[said.index("mmer: ") :]  # below the bars
            case ["python", script, *arguments]:
                monkeypatch.setattr(sys, "argv", [script, *arguments])
                runpy.run_path(str(ROOT / script), run_name="__main__")
            case ["cd", folder]:
                monkeypatch.chdir(folder)
            case _:
                return plain(
                    subprocess.run(command, shell=True, check=True, capture_output=True).stdout.decode()
                )
        return plain(capsys.readouterr().out.replace(str(tmp_path), "/home/me"))

    return run


def test_the_first_hour_is_as_the_page_says(run: Callable[[str], str]) -> None:
    page, walk, wrong = PAGE.read_text("utf-8"), Walk(run), []
    for step in steps(page):
        printed = walk.take(step)
        walk.printed.append(printed)
        if not walk.agrees(step.said, printed):
            wrong.append(f"{step.given}\nprinted:\n{printed}\nand not:\n{step.said}")
    if "MMER_RECORD" in os.environ:
        PAGE.write_text(recorded(page, walk), "utf-8")
    else:
        assert not wrong, "\n".join([*wrong, "make first-hour records the page anew"])
