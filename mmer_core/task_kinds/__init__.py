"""The kinds of task that models are trained for.

A kind is one object that knows its data, learner, evaluation, victim of attacks and words of reports; stages ask it
and never compare its name. A further kind is a subclass of `TaskKind` and one entry in `KINDS`.
"""

from typing import Any

from mmer_core.errors import ConfigError
from mmer_core.task_kinds.emotion import EmotionKind
from mmer_core.task_kinds.kind import TaskKind
from mmer_core.task_kinds.measured import Measured
from mmer_core.task_kinds.retrieval import RetrievalKind

__all__ = ["EMOTION", "KINDS", "RETRIEVAL", "EmotionKind", "Measured", "RetrievalKind", "TaskKind", "kind_of"]

EMOTION, RETRIEVAL = EmotionKind(), RetrievalKind()
KINDS: dict[str, TaskKind[Any]] = {kind.name: kind for kind in (EMOTION, RETRIEVAL)}


def kind_of(task: str) -> TaskKind[Any]:
    """The kind with a name.

    Raises:
        ConfigError: There is none.
    """
    if task not in KINDS:
        raise ConfigError(f"no kind of task is called {task!r}: this mmer knows {', '.join(KINDS)}")
    return KINDS[task]
