"""Which run a record of the log belongs to, in Prefect and without it."""

import logging
import sys

from mmer_core import log
from mmer_core.errors import MmerError
from tasks.progress import in_run

_REPEATED = (
    "Finished in state Failed(",
    "Finished in state Crashed(",
    "Encountered exception during execution: ",
)


def run_ids() -> dict[str, str]:
    """Ids and names of the flow run and the task run that this code runs in, or the id of a plain run."""
    if not in_run():
        return {"run": log.own_run()}
    from prefect.context import FlowRunContext, TaskRunContext

    ids: dict[str, str] = {}
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    if flow is not None and flow.flow_run is not None:
        ids |= {"run": str(flow.flow_run.id), "run_name": flow.flow_run.name}
    if task is not None:
        ids.setdefault("run", str(task.task_run.flow_run_id))
        ids |= {"task_run": str(task.task_run.id), "task_run_name": task.task_run.name}
    return ids


def start() -> None:
    """Log as MMER_LOG says, in this process, and to Prefect where its PREFECT_LOGGING_EXTRA_LOGGERS names mmer."""
    log.start(run_ids)
    if "prefect" in sys.modules:
        _follow_prefect()


def _follow_prefect() -> None:
    from prefect.settings import PREFECT_LOGGING_EXTRA_LOGGERS, PREFECT_LOGGING_LEVEL

    _tell_errors_once()
    mmer = logging.getLogger("mmer")
    if mmer.name in PREFECT_LOGGING_EXTRA_LOGGERS.value() and mmer.level == logging.NOTSET:
        mmer.setLevel(PREFECT_LOGGING_LEVEL.value())


class _Once(logging.Filter):
    """Keeps from the console what a command says at its end: the error of a run, in one sentence.

    A run's log on a Prefect server keeps all of it: its handler comes before those of the console.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, MmerError | KeyboardInterrupt):
            record.exc_info = record.exc_text = None
            return not record.getMessage().startswith(_REPEATED)
        return error is not None or not record.getMessage().startswith(_REPEATED)


def _tell_errors_once() -> None:
    from prefect.logging.handlers import PrefectConsoleHandler

    loggers = [logging.root, *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if isinstance(handler, PrefectConsoleHandler) and not any(
            isinstance(one, _Once) for one in handler.filters
        ):
            handler.addFilter(_Once())
