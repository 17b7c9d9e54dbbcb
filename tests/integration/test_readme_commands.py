"""The commands of README.md, on drawn data and the finished study; and what docs/architecture.md says of its artifacts."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from support.small_pipeline import Study
from support.walkthrough import commands

from mmer_core.config import SyntheticConfig
from mmer_core.datasets.synthetic import write_emotic

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = [
    words
    for program, *words in (shlex.split(line, comments=True) for line in commands(README))
    if program == "mmer"
]
SHOWN = {
    "ingest": "prepared/",
    "search": "caption",
    "predict": "valence",
    "runs": "model/",
    "artifacts": "robustness/",
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Paths in README.md, and those of the test."""
    tree = tmp_path_factory.mktemp("emotic")
    write_emotic(tree, SyntheticConfig(images=30))
    return {"data/emotic": str(tree), "photo.jpg": str(next(tree.rglob("*.jpg")))}


def test_all_are_run_but_the_pipeline() -> None:
    """`mmer pipeline` takes longest: it is the study, and `make demo`."""
    assert [command[0] for command in COMMANDS] == [
        "ingest",
        "pipeline",
        "search",
        "predict",
        "runs",
        "artifacts",
    ]


@pytest.mark.usefixtures("as_it_was")
@pytest.mark.parametrize(
    "command", [one for one in COMMANDS if one[0] in SHOWN], ids=lambda command: command[0]
)
def test_a_command_of_the_readme(
    command: list[str], drawn: dict[str, str], study: Study, mmer: Callable
) -> None:
    answer = mmer(*(drawn.get(word, word) for word in command), *study.flags())
    assert answer.code == 0, answer.err
    assert SHOWN[command[0]] in answer.out


def test_every_artifact_has_the_files_that_the_table_lists(study: Study) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("## Kinds of artifacts")[2]
    rows = [line.split("|")[1:] for line in page.splitlines() if line.startswith("| `")]
    listed = {kind.strip(" `"): re.findall(r"`(.+?)`", files) for kind, files, *_ in rows}
    for manifest in study.store.list():
        patterns = [re.sub(r"<\w+>", r"[\\w-]+", re.escape(file)) for file in listed[manifest.kind]]
        for file in manifest.files:
            assert any(re.fullmatch(pattern, file.path) for pattern in patterns), (
                f"{manifest.kind}: {file.path}"
            )
