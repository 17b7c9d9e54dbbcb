"""Prefect tasks, one for every declared stage. Inputs and results are keys: what is large travels through the store.

Prefect keeps no results and decides nothing about re-running: the stage keys do. So a task that is run again
finds its artifact, on any machine.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from inspect import Parameter
from itertools import count
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from mmer_core import signals
from mmer_core.config import RuntimeConfig
from mmer_core.errors import StoreError
from mmer_core.progress import both, silent
from mmer_core.stages import Context, Sharded, Shards, Stage
from mmer_core.store import Artifact, ArtifactKey
from tasks.decorators import Orchestrated, task
from tasks.failures import explained
from tasks.progress import in_run, log_lines, progress_for
from tasks.reports import report_to, reports
from tasks.running import GPU, call, fan_out

P = ParamSpec("P")
S = TypeVar("S")


def make(stage: Stage[P], runtime: RuntimeConfig, *args: P.args, **kwargs: P.kwargs) -> ArtifactKey:
    """Run a stage as a task, here and now; the key of what it made or found."""
    return call(task_of(stage), runtime, *stage.arguments(*args, **kwargs).values())


def make_each(
    stage: Stage[...],
    shards: Iterable[S],
    arguments: Callable[[S], Mapping[str, Any]],
    runtime: RuntimeConfig,
    label: str,
    more: Callable[[S, ArtifactKey], Iterable[S]] = lambda shard, key: (),
) -> list[ArtifactKey]:
    """Run a stage as a task for every shard, several at a time; the keys in the order of the shards.

    Args:
        arguments: From a shard to arguments by name, among them all that the stage takes.
        label: For the progress.
        more: From a shard that is done to further ones, which come behind all others.
    """
    numbers = count()
    with reports() as said:

        def given(where: RuntimeConfig, numbered: tuple[int, S]) -> tuple[Any, ...]:
            number, shard = numbered
            return where, *stage.arguments(**stage.named(arguments(shard))).values(), said.place(number)

        def further(numbered: tuple[int, S], key: ArtifactKey) -> Iterable[tuple[int, S]]:
            return [(next(numbers), shard) for shard in more(numbered[1], key)]

        def place(numbered: tuple[int, S]) -> str:
            return stage.place(Context(runtime), stage.named(arguments(numbered[1])))

        progress = progress_for(label, quiet=runtime.quiet)
        first = [(next(numbers), shard) for shard in shards]
        return fan_out(task_of(stage), first, given, runtime, progress, said.so_far, further, place)


def make_sharded(work: Sharded[P], runtime: RuntimeConfig, *args: P.args, **kwargs: P.kwargs) -> ArtifactKey:
    """Plan some work, do its shards several at a time, and join them; the key of the whole."""
    context = Context(runtime)
    given = work.arguments(context, *args, **kwargs)
    plan = list(work.planned(given))
    if whole := work.found(given, plan):
        _leave(whole)
        return whole.key

    def more(shard: Any, key: ArtifactKey) -> Sequence[Any]:
        rest = work.rest(shard, lambda: context.store.manifest(key).usage)
        plan.extend(rest)
        return rest

    keys = make_each(work.work, plan, lambda shard: {**given, "shard": shard}, runtime, work.label, more)
    return make(work.merge, runtime, **work.merge.named({**given, "shards": Shards(plan, keys)}))


@cache
def task_of(stage: Stage[...]) -> Orchestrated[..., ArtifactKey]:
    """The task of a stage; it takes the runtime, the stage's arguments, and the file that gets its progress, if any."""
    own = Parameter("runtime", Parameter.POSITIONAL_OR_KEYWORD, annotation=RuntimeConfig)
    report = Parameter("report", Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=Path | None)
    signature = stage.signature.replace(
        parameters=[own, *stage.signature.parameters.values(), report], return_annotation=ArtifactKey
    )

    def run(*args: Any, **kwargs: Any) -> ArtifactKey:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = bound.arguments
        runtime, place = arguments.pop("runtime"), arguments.pop("report")
        label = stage.title.format(**arguments)
        if "shard" not in arguments:
            progress = progress_for(label, quiet=runtime.quiet)
        else:  # whoever waits for the shards shows one progress of all
            progress = silent if runtime.quiet else log_lines(label)
        if place:
            progress = both(progress, report_to(place))
        context = Context(runtime, progress)

        def where(with_samples: bool) -> str:
            return stage.place(context, arguments, with_samples=with_samples)

        try:
            with explained(where if "shard" in arguments else None):
                artifact = stage(context, **arguments)
        finally:
            if parent_process():  # which may end this process without notice
                signals.flush()
        _leave(artifact)
        return artifact.key

    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__name__ = run.__qualname__ = stage.__name__
    run.__doc__ = stage.__doc__
    return task(
        name=stage.name,
        task_run_name=stage.title,
        tags=[GPU] if stage.gpu else [],
        persist_result=False,
        retries=2,
        retry_delay_seconds=[5, 30],
        retry_condition_fn=_worth_another_try,
    )(run)


def _leave(artifact: Artifact) -> None:
    if in_run():
        from tasks.artifacts import leave

        leave(artifact)


def _worth_another_try(task: Any, run: Any, state: Any) -> bool:
    """Bad input stays bad; a store may answer the next time."""
    try:
        state.result()
    except StoreError:
        return True
    except Exception:
        return False
    return False
