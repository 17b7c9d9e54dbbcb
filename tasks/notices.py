"""Events that a Prefect server's automations follow; plain runs emit none."""

from typing import Any

from tasks.progress import in_run


def emit(name: str, resource: str, payload: dict[str, Any]) -> None:
    """Tell the server of the run, if there is one; it adds which run, deployment and tags that was."""
    if in_run():
        from prefect.events import emit_event

        emit_event(name, {"prefect.resource.id": resource}, payload=payload)
