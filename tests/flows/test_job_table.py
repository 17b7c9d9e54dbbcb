"""A job is declared once: its command, its deployment and its line in the guide follow from the table."""

from pathlib import Path
from typing import get_type_hints

import pytest
from prefect import Flow

from flows import deployed
from flows.commands import app
from flows.deploying import read
from flows.job_table import COMMANDS, JOBS, Job, load

ROOT = Path(__file__).parents[2]
NAMES = {job.name for job in JOBS}
START, END = "<!-- commands -->\n", "<!-- end of commands -->\n"


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_one_name_for_one_job(job: Job) -> None:
    flow = getattr(deployed, job.name.replace("-", "_"))
    config = load(job.config)
    assert config.__name__ == f"{job.name.title().replace('-', '')}Job"
    assert isinstance(flow, Flow)
    assert flow.name == job.name
    assert flow.fn.__name__ == job.name.replace("-", "_")
    assert next(iter(get_type_hints(flow.fn).values())) is config
    assert len(flow.parameters.properties) == 1
    assert callable(load(job.show))
    assert app[job.repeats or job.name].help == next(
        one.help for one in JOBS if one.name == (job.repeats or job.name)
    )


def test_every_command_is_declared() -> None:
    commands = {name for name in app if not name.startswith("-")}
    assert commands == {job.name for job in JOBS if not job.repeats} | {one.name for one in COMMANDS}


def test_settings_of_deployments_belong_to_jobs() -> None:
    assert read("jobs.yaml").keys() <= NAMES
    actions = [action for automation in read("automations.yaml") for action in automation["actions"]]
    followers = {action["deployment"] for action in actions if action["type"] == "run-deployment"}
    assert followers
    assert followers <= {f"{name}/{name}" for name in NAMES}


def test_the_guide_lists_every_command() -> None:
    names = [*(job.name for job in JOBS if not job.repeats), *(one.name for one in COMMANDS)]
    rows = [f"| `mmer {name}` | {app[name].help.splitlines()[0]} |\n" for name in names]
    table = "".join(("| command | what it does |\n", "| --- | --- |\n", *rows))
    pages = [path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))]
    (listed,) = (page.partition(START)[2].partition(END)[0] for page in pages if START in page)
    assert listed == table, f"put this between the markers:\n{table}"
