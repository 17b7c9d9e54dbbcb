"""Which parameters the nightly deployment gets; on a server: tests/integration/test_deployments.py."""

from pathlib import Path

import pytest

from flows.deploying import Plan, _nightly
from flows.job_commands import read_job
from mmer_core.config import NightlyJob, RuntimeConfig
from mmer_core.errors import ConfigError

STUDY = """
series = "people"
workers = 3
device = "cpu"
[datasets.people]
dataset = "emotic"
root = "data/emotic"
"""


def test_a_study_is_deployed_with_absolute_paths_and_the_flags_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    plan = Plan(RuntimeConfig(device="cuda:1"), nightly=read_job("nightly", "study.toml"))
    given = _nightly(plan, plan.runtime.for_worker(2), None, "job")
    runtime = given["runtime"]
    assert (runtime["workers"], runtime["device"]) == (3, "cuda:1")
    assert runtime["store"] == str(tmp_path / ".mmer/store")
    assert given["datasets"]["people"] == {"dataset": "emotic", "root": str(tmp_path / "data/emotic")}
    assert given.keys() == {"series", "datasets", "runtime"}
    assert NightlyJob.model_validate(given).series == "people"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("familes = ['joint']", 'study.toml: Unknown option: "[familes]"'),
        ("training = {epochs = -3}", "study.toml: --training.epochs -3"),
        ("series = 'a b'", "study.toml: --series a b: 'a b' is no name of a series"),
        ("series = ", "study.toml is not valid TOML"),
    ],
)
def test_a_study_that_cannot_run_is_refused_when_it_is_deployed(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_job("nightly", "study.toml")
    assert str(refused.value).startswith(said)
