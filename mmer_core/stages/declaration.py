"""What a stage is, said once: what it makes, from what, under which key.

::

    @stage("evaluation", version=3, title="evaluate on {config.split}")
    def evaluate(
        context: Context, workspace: Workspace, config: EvaluationConfig, model: ArtifactKey
    ) -> EvaluationSummary:
        ...  # writes files into workspace.out, returns the summary

The function is called only when the store lacks the artifact; ``evaluate(context, config, model)`` returns the
artifact in any case. Its key follows from the arguments: keys of artifacts are the inputs, everything else is
configuration, by the fields that decide (`mmer_core.config.NotInKey`). Prefect tasks are made from this too.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from mmer_core.errors import ConfigError
from mmer_core.record import Record
from mmer_core.stages.context import Context
from mmer_core.stages.identity import RawData, key_config
from mmer_core.store import Artifact, ArtifactKey, Manifest, Workspace, already_made, run_stage, stage_key
from mmer_core.usage import Usage

P = ParamSpec("P")
S = TypeVar("S")

STAGES: "dict[str, Stage[...]]" = {}
"""Every declared stage, by the name of its function."""


@dataclass(frozen=True)
class Shards:
    """Shards of some work and, in the same order, the keys of what was made of them.

    As an argument they are recorded in the manifest and no part of the key: what is joined is known by what decides
    it, and not by how the work was cut.
    """

    plan: Sequence[Any]
    keys: Sequence[ArtifactKey]

    def __iter__(self) -> Iterator[tuple[Any, ArtifactKey]]:
        return zip(self.plan, self.keys, strict=True)


class Inputs:
    """Base of dataclasses of arguments that stages share; in keys and manifests each field is an argument of its own."""


def _flat(arguments: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in arguments.items():
        flat |= vars(value) if isinstance(value, Inputs) else {name: value}
    return flat


@dataclass
class Ingredients:
    """What the arguments of a stage are for an artifact's key and manifest."""

    config: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, ArtifactKey | str] = field(default_factory=dict)
    shards: Sequence[ArtifactKey] = ()

    def add(self, name: str, value: Any) -> None:
        match value:
            case None:
                pass
            case ArtifactKey() | RawData():
                self.inputs[name] = value
            case Shards():
                self.shards = value.keys
            case Mapping() if value and all(isinstance(one, ArtifactKey) for one in value.values()):
                self.inputs |= value
            case _:
                self.config[name] = key_config(value)


class Stage(Generic[P]):
    """A declared stage; calling it finds or makes the artifact.

    Attributes:
        name: Of the function, with blanks.
        title: What one run of it is called, as a format of its arguments.
        gpu: Whether it uses a GPU where there is one.
        identity: Called with those arguments that it names, and the context: what the key holds in place of an argument,
            or beside the arguments; None leaves an argument out.
        samples: Called alike: the samples that a shard is about, in words.
    """

    def __init__(
        self,
        build: Callable[Concatenate[Context, Workspace, P], Record],
        kind: str,
        version: int,
        title: str | None,
        gpu: bool,
        identity: Callable[..., Mapping[str, Any]] | None,
        samples: Callable[..., str] | None,
    ) -> None:
        self.build, self.kind, self.version, self.gpu = build, kind, version, gpu
        self.identity, self.samples = identity, samples
        self.name = build.__name__.replace("_", " ")
        self.title = title or self.name
        self.__name__, self.__module__, self.__doc__ = build.__name__, build.__module__, build.__doc__
        own = signature(build)
        self.signature = own.replace(parameters=list(own.parameters.values())[2:])

    def __call__(self, context: Context, *args: P.args, **kwargs: P.kwargs) -> Artifact:
        arguments = _flat(self.arguments(*args, **kwargs))
        made_of = self._ingredients(context, arguments)

        def build(workspace: Workspace) -> Record:
            for key in made_of.shards:
                workspace.use(context.store.manifest(key).used)
            made = self.build(context, workspace, *args, **kwargs)
            workspace.use({"runtime": context.used})
            return made

        seeds = (value.seed for value in arguments.values() if hasattr(value, "seed"))
        return run_stage(
            context.store,
            self.kind,
            self.version,
            made_of.config,
            made_of.inputs,
            build,
            work=context.runtime.work,
            shards=made_of.shards,
            seed=next(seeds, None),
        )

    def key(self, context: Context, *args: P.args, **kwargs: P.kwargs) -> ArtifactKey:
        """The key of the artifact, whether it is there or not."""
        made_of = self._ingredients(context, _flat(self.arguments(*args, **kwargs)))
        return stage_key(self.kind, made_of.config, made_of.inputs, self.version)

    def arguments(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        """Arguments by name, with defaults."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def named(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Those of some arguments that this stage takes."""
        return {name: value for name, value in given.items() if name in self.signature.parameters}

    def place(self, context: Context, arguments: Mapping[str, Any], *, with_samples: bool = True) -> str:
        """Where an error of one run of it happened, in words: its title, and its samples where it knows them."""
        title = self.title.format(**arguments)
        if self.samples is None or not with_samples:
            return f"in {title}"
        return f"in {title}, {_called(self.samples, context, _flat(arguments))}"

    def _ingredients(self, context: Context, arguments: Mapping[str, Any]) -> Ingredients:
        made_of = Ingredients()
        for name, value in {**arguments, **self._identified(context, arguments)}.items():
            made_of.add(name, value)
        return made_of

    def _identified(self, context: Context, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {} if self.identity is None else _called(self.identity, context, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        # Engines send a stage to other processes, where it is found as any function is.
        return _stage_at, (self.__module__, self.__name__)


def stage(
    kind: str,
    *,
    version: int,
    title: str | None = None,
    gpu: bool = False,
    identity: Callable[..., Mapping[str, Any]] | None = None,
    samples: Callable[..., str] | None = None,
) -> Callable[[Callable[Concatenate[Context, Workspace, P], Record]], Stage[P]]:
    """Declare a stage, see `Stage`.

    Args:
        kind: Of the artifact.
        version: Part of the key; raise it when the function gives something else for the same arguments.
    """

    def declare(build: Callable[Concatenate[Context, Workspace, P], Record]) -> Stage[P]:
        made = Stage(build, kind, version, title, gpu, identity, samples)
        if made.name in STAGES:
            raise ConfigError(f"two stages are called {made.name!r}; rename one of the functions")
        STAGES[made.name] = made
        return made

    return declare


def of_today(made: Manifest) -> bool:
    """Whether an artifact is what its stage makes now: files of an earlier version may hold less. True for unknown kinds."""
    versions = {one.version for one in STAGES.values() if one.kind == made.kind}
    return not versions or made.stage_version in versions


@dataclass(frozen=True)
class Sharded(Generic[P]):
    """Work that is planned, done in shards, and joined.

    Attributes:
        label: For its progress.
        plan: From the arguments to the shards.
        work: Makes one shard; takes those of the arguments that it names, and ``shard``.
        merge: Joins them; takes those of the arguments that it names, and ``shards``.
        rest: From a planned shard and what it cost to further ones, where their size depends on that.
    """

    label: str
    plan: Callable[Concatenate[Context, P], Sequence[Any]]
    work: Stage[...]
    merge: Stage[...]
    rest: Callable[[Any, Callable[[], Usage | None]], Sequence[Any]] = lambda shard, usage: ()

    def arguments(self, context: Context, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        """Arguments of the plan by name, with defaults and the context."""
        bound = signature(self.plan).bind(context, *args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def planned(self, arguments: Mapping[str, Any]) -> Sequence[Any]:
        """The shards, by what `arguments` returns."""
        plan: Callable[..., Sequence[Any]] = self.plan
        return plan(**arguments)

    def found(self, arguments: Mapping[str, Any], plan: Sequence[Any]) -> Artifact | None:
        """The whole, where it is there already, however it was cut."""
        context: Context = arguments["context"]
        key = self.merge.key(context, **self.merge.named({**arguments, "shards": Shards(plan, ())}))
        return already_made(context.store, key, context.runtime.work)


def _called(function: Callable[..., S], context: Context, arguments: Mapping[str, Any]) -> S:
    """A function with the context and those of some arguments that it names."""
    given = {"context": context, **arguments}
    return function(**{name: given[name] for name in signature(function).parameters})


def _stage_at(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)
