"""Names of teams, and what of the automations becomes theirs; a server with two teams: tests/integration/test_deployments.py."""

from pathlib import Path

import pytest

from flows.cli import main
from flows.deploying import Plan, _of_team, read
from mmer_core.config import RuntimeConfig


@pytest.mark.parametrize("name", ["Vision", "a b", "a-", "a--b", "é"])
def test_a_name_that_cannot_be_a_part_of_names_is_refused(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["deploy", "--team", name])
    assert end.value.code
    assert "small letters, digits and hyphens" in " ".join(capsys.readouterr().err.split())


def test_every_automation_is_of_the_team_alone() -> None:
    plan = Plan(RuntimeConfig(), team="vision-2")
    for entry in read("automations.yaml"):
        own = _of_team(entry, plan)
        (matched,) = [
            value
            for name, value in own["trigger"]["match_related"].items()
            if name != "prefect.resource.role"
        ]
        assert matched in ("prefect.tag.mmer-vision-2", "vision-2-train")
        assert own["name"] == f"{entry['name']} (vision-2)"
        for action in own["actions"]:
            flow, _, deployment = action.get("deployment", "x/vision-2-x").partition("/")
            assert deployment == f"vision-2-{flow}"
        assert _of_team(entry, Plan(RuntimeConfig())) == entry


def test_the_docs_name_every_role() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs/operations.md").read_text()
    assert all(f"`{policy.name}`" in page for policy in (root / "docker/policies").glob("*.json"))
