"""Flows and tasks that are plain functions until Prefect runs them, so that other runs need not import it."""

from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Orchestrated(Generic[P, T]):
    """A function, and the Prefect flow or task made of it; calling it runs that.

    Attributes:
        fn: The plain function.
        kind: ``flow`` or ``task``.
        options: Of Prefect's decorator of that name.
    """

    def __init__(self, fn: Callable[P, T], kind: str, options: dict[str, Any]) -> None:
        self.fn, self.kind, self.options = fn, kind, options
        update_wrapper(self, fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        made: T = self.prefect(*args, **kwargs)
        return made

    @cached_property
    def prefect(self) -> Any:
        """What Prefect runs."""
        import prefect

        from tasks import logs
        from tasks.failures import telling

        logs.start()
        fn = telling(self.fn) if self.kind == "flow" else self.fn
        return getattr(prefect, self.kind)(**self.options)(fn)

    def with_options(self, **options: Any) -> "Orchestrated[P, T]":
        """The same with some of the options changed."""
        return Orchestrated(self.fn, self.kind, {**self.options, **options})


def flow(**options: Any) -> Callable[[Callable[P, T]], Orchestrated[P, T]]:
    """Make a function a flow, with the options of `prefect.flow`."""
    return lambda fn: Orchestrated(fn, "flow", options)


def task(**options: Any) -> Callable[[Callable[P, T]], Orchestrated[P, T]]:
    """Make a function a task, with the options of `prefect.task`."""
    return lambda fn: Orchestrated(fn, "task", options)
