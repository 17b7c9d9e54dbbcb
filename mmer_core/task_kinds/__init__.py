"""The kinds of task that models are trained for.

A kind is one object that knows its data, learner, evaluation, victim of attacks and words of reports; stages ask it
and never compare its name. A further kind is a subclass of `TaskKind` in a module of this package.
"""

from typing import Any

from mmer_core.named import Registry
from mmer_core.task_kinds.kind import TaskKind
from mmer_core.task_kinds.measured import Measured

__all__ = ["KINDS", "Measured", "TaskKind", "kind_of"]

KINDS: Registry[TaskKind[Any]] = Registry("kind of task", TaskKind, "mmer_core.task_kinds")


def kind_of(task: str) -> TaskKind[Any]:
    """The kind with a name. Raises `ConfigError` if there is none."""
    return KINDS.make(task)
