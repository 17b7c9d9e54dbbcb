"""One thread for the tests here, and the command line run in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.single_thread import one_thread

from flows.cli import main

__all__ = ["one_thread"]


@pytest.fixture
def mmer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run ``mmer ARGUMENTS`` on a store of its own; returns exit code, standard output, standard error."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    places = ["--store", str(tmp_path / "store"), "--work", str(tmp_path / "work")]

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = 0
        try:
            main([*map(str, arguments), *places])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
        return (code, *capsys.readouterr())

    return run
