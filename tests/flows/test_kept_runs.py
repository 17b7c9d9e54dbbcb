"""How long a Prefect server keeps runs: as the documentation, the compose file and `mmer up` have it."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from prefect.settings.models.server.services import ServerServicesDBVacuumSettings

from flows.local_server import KEEPING

ROOT = Path(__file__).parents[2]


def test_a_server_deletes_runs_after_a_month(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "flow_runs" not in ServerServicesDBVacuumSettings().enabled_vacuum_types
    for name, value in KEEPING.items():
        monkeypatch.setenv(name, value)
    understood = ServerServicesDBVacuumSettings()
    assert {"flow_runs", "events"} <= understood.enabled_vacuum_types
    assert understood.retention_period == timedelta(days=30)


def test_the_setting_is_said_once() -> None:
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    assert KEEPING.items() <= services["server"]["environment"].items()
    documented = re.findall(
        r"^(PREFECT_SERVER_SERVICES_DB_VACUUM_\w+)=(\w+)$",
        (ROOT / "docs" / "operations.md").read_text(),
        re.M,
    )
    assert dict(documented) == KEEPING
