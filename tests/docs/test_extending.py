"""What docs/extending.md says is done, on a copy of the project, and the tests that it gives are run there."""

import importlib
import inspect
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.single_thread import one_thread

__all__ = ["one_thread"]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
OURS = ("mmer_core", "tasks", "flows", "deployments")
_STEP = re.compile(r"^<!-- (file|in): (\S+)(?: (after|replace): (.*?))? -->\n```\w+\n(.*?)^```$", re.M | re.S)
STEPS = _STEP.findall(PAGE.replace("<!-- in ", "<!-- in: "))
TESTS = [path for kind, path, *_ in STEPS if kind == "file" and path.startswith("tests/")]


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project with everything that the page adds; its modules are imported from there meanwhile."""
    root = tmp_path_factory.mktemp("extended")
    for name in OURS:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for kind, name, how, place, text in STEPS:
        path = root / name
        if kind == "file":
            assert not path.exists(), f"{name} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            continue
        before = path.read_text()
        assert before.count(place) == 1, f"{name} has {place!r} {before.count(place)} times"
        path.write_text(
            before.replace(place, f"{place}\n{text.rstrip()}" if how == "after" else text.rstrip())
        )
    with pytest.MonkeyPatch.context() as patch:
        for module in _of_the_project(ROOT):
            patch.delitem(sys.modules, module)
        patch.syspath_prepend(root)
        yield root
        for module in [*_of_the_project(ROOT), *_of_the_project(root)]:
            del sys.modules[module]  # before those of the project come back


def _of_the_project(root: Path) -> list[str]:
    """Imported modules of a copy of the project, those of its tests included."""
    places = tuple(f"{root / name}/" for name in (*OURS, "tests"))
    # A module of the table may be None: one that is not to be imported.
    files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.copy().items()}
    return [name for name, file in files.items() if file.startswith(places)]


@pytest.mark.parametrize("name", TESTS)
def test_a_section(
    name: str, extended: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    for root in (ROOT, extended):
        monkeypatch.syspath_prepend((root / name).parent)
    module = importlib.import_module(Path(name).stem)
    tests = [value for key, value in vars(module).items() if key.startswith("test_")]
    assert tests
    for test in tests:
        test(**{fixture: request.getfixturevalue(fixture) for fixture in inspect.signature(test).parameters})


def test_every_section_has_its_test() -> None:
    sections = re.findall(r"^## (.+)$", PAGE, re.M)
    assert len(TESTS) == len(sections)
    assert {name.lower() for name in re.findall(r"^\| \[(.+?)\]", PAGE, re.M)} == {
        one.lower() for one in sections
    }
