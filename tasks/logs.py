"""Which run a record of the log belongs to, in Prefect and without it."""

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.settings import PREFECT_LOGGING_EXTRA_LOGGERS, PREFECT_LOGGING_LEVEL

from mmer_core import log


def run_ids() -> dict[str, str]:
    """Ids and names of the flow run and the task run that this code runs in, or the id of a plain run."""
    ids: dict[str, str] = {}
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    if flow is not None and flow.flow_run is not None:
        ids |= {"run": str(flow.flow_run.id), "run_name": flow.flow_run.name}
    if task is not None:
        ids.setdefault("run", str(task.task_run.flow_run_id))
        ids |= {"task_run": str(task.task_run.id), "task_run_name": task.task_run.name}
    return ids or {"run": log.own_run()}


def start() -> None:
    """Log as MMER_LOG says, in this process, and to Prefect where its PREFECT_LOGGING_EXTRA_LOGGERS names mmer."""
    log.start(run_ids)
    mmer = logging.getLogger("mmer")
    if mmer.name in PREFECT_LOGGING_EXTRA_LOGGERS.value() and mmer.level == logging.NOTSET:
        mmer.setLevel(PREFECT_LOGGING_LEVEL.value())
