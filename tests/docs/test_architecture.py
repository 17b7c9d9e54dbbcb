"""The table of artifact kinds in docs/architecture.md, beside the declared stages."""

import re
from pathlib import Path

import pytest

from flows.job_table import JOBS, load
from mmer_core.stages import STAGES
from mmer_core.store import ArtifactKey

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text("utf-8")
ROWS = {
    cells[1].strip(" `"): cells[-2]
    for line in PAGE.partition("## Kinds of artifacts")[2].splitlines()
    if line.startswith("| `") and len(cells := line.split("|")) == 6
}

for job in JOBS:
    load(job.flow)  # its stages are declared when they are imported


def test_every_kind_is_listed():
    assert {stage.kind for stage in STAGES.values()} == ROWS.keys()


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_kind_is_listed_with_its_inputs(stage):
    inputs = [
        name
        for name, parameter in stage.signature.parameters.items()
        if parameter.annotation in (ArtifactKey, ArtifactKey | None)
    ]
    assert {name for name in inputs if not re.search(rf"\b{name}\b", ROWS[stage.kind])} == set()
