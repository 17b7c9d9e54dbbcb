"""A job is declared once: its command, its deployment and its line in the guide follow from the table."""

from pathlib import Path

import pytest
from prefect import Flow

from flows.commands import app
from flows.deploying import read
from flows.job_table import COMMANDS, JOBS, Job, load

ROOT = Path(__file__).parents[2]
NAMES = {job.name for job in JOBS}
START, END = "<!-- jobs -->\n", "<!-- end of jobs -->\n"


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_one_name_for_one_job(job: Job) -> None:
    flow = load(job.flow)
    assert job.config.__name__ == f"{job.name.title().replace('-', '')}Job"
    assert isinstance(flow, Flow)
    assert flow.name == job.name
    assert flow.fn.__name__ == job.name.replace("-", "_")
    assert len(flow.parameters.properties) == 1
    assert callable(load(job.show))
    assert app[job.repeats or job.name].help == next(
        one.help for one in JOBS if one.name == (job.repeats or job.name)
    )


def test_every_command_is_declared() -> None:
    commands = {name for name in app if not name.startswith("-")}
    assert commands == {job.name for job in JOBS if not job.repeats} | COMMANDS.keys()


def test_settings_of_deployments_belong_to_jobs() -> None:
    assert read("jobs.yaml").keys() <= NAMES
    actions = [action for automation in read("automations.yaml") for action in automation["actions"]]
    followers = {action["deployment"] for action in actions if action["type"] == "run-deployment"}
    assert followers
    assert followers <= {f"{name}/{name}" for name in NAMES}


def test_the_guides_list_every_job_and_name_every_command() -> None:
    pages = [path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))]
    rows = [f"| `mmer {job.name}` | {job.help.splitlines()[0]} |\n" for job in JOBS if not job.repeats]
    table = "".join(("| job | what it does |\n", "| --- | --- |\n", *rows))
    (listed,) = (page.partition(START)[2].partition(END)[0] for page in pages if START in page)
    assert listed == table, f"put this between the markers:\n{table}"
    assert {name for name in COMMANDS if not any(f"`mmer {name}" in page for page in pages)} == set()
