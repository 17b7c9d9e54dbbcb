"""The database of the compose file is well when it takes connections, not while it sets itself up."""

import os
import subprocess

import pytest
from support import compose
from support.postgres_server import USER, postgres_folder, postgres_server

pytestmark = pytest.mark.integration


def test_a_database_that_sets_itself_up_is_not_well_yet() -> None:
    folder = postgres_folder()
    if folder is None:
        pytest.skip("PostgreSQL is not installed: initdb, postgres and pg_isready are missing")
    program = str(folder / "pg_isready")
    with postgres_server(over_tcp=False) as database:
        where = {"PGPORT": str(database.port), "PGHOST": str(database.folder)}
        answers = subprocess.run([program, "-q", "-U", USER], env=os.environ | where, check=False)
        assert answers.returncode == 0, "asked as before, it says that it is ready"
        assert not compose.is_healthy("database", {"pg_isready": program}, where)
    with postgres_server() as database:
        assert compose.is_healthy("database", {"pg_isready": program}, {"PGPORT": str(database.port)})
