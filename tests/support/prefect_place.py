"""A Prefect server as a team has it: on PostgreSQL where that is installed, else on SQLite."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from prefect.events.clients import NullEventsClient
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.local_server import free_port, prefect_server
from support.postgres_server import Database, postgres_folder, postgres_server


@contextmanager
def prefect_place(home: Path) -> Iterator[tuple[str, Database | None]]:
    """A running server, which this process talks to: the URL of its API, and its database (None for SQLite).

    Flows that this very process runs emit no events: nobody here waits for one, and Prefect ends only when the last
    has been sent, however busy the server is. The server learns of their task runs by events, and so has none of them.
    """
    quiet = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "DO_NOT_TRACK": "1",
    }
    with ExitStack() as stack:
        stack.enter_context(patch.dict("os.environ", quiet))
        database = stack.enter_context(postgres_server()) if postgres_folder() else None
        settings = database.settings if database else {}
        api = stack.enter_context(prefect_server(free_port(), settings=settings))
        stack.enter_context(patch.dict("os.environ", {"PREFECT_API_URL": api}))
        stack.enter_context(temporary_settings({PREFECT_API_URL: api}))
        EventsWorker.set_client_override(NullEventsClient)
        stack.callback(EventsWorker.set_client_override, None)
        yield api, database
