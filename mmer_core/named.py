"""Attacks, losses, triggers and the like: each declares its name, what it is and its options in its own file.

A `Registry` finds them in the modules of a package; `chosen_from` makes the fields of a configuration from it.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from functools import cached_property
from importlib import import_module
from inspect import isabstract
from pkgutil import iter_modules
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import (
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    create_model,
    model_serializer,
)
from pydantic.fields import FieldInfo

from mmer_core.base_config import Config
from mmer_core.errors import MmerError


class Named:
    """Something that is chosen by name: a subclass declares it, and its options as a nested class ``Options``.

    Attributes:
        name: In configurations and tables.
        summary: What it is, in one line of ``--help``.
        refusal: The error for options that cannot work.
        options: Those of this object.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    refusal: ClassVar[type[MmerError]]
    Options: ClassVar[type[Config]] = Config
    options: Config

    def __init__(self, **options: Any) -> None:
        super().__init__()
        try:
            self.options = self.Options(**options)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or 'options'} is {fault['input']}: {fault['msg']}"
                for fault in error.errors()
            )
            known = ", ".join(self.Options.model_fields) or "none"
            raise self.refusal(
                f"{type(self).__name__} cannot work: {faults}; its options are {known}"
            ) from None

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options)
        return f"{type(self).__name__}({options})"


N = TypeVar("N", bound=Named)
C = TypeVar("C", bound=BaseModel)


class Registry(Mapping[str, type[N]], Generic[N]):
    """The concrete subclasses of ``base`` that the modules of ``package`` define, by name.

    A new one is a new module there; nothing else has to know it.
    """

    def __init__(self, kind: str, base: type[Any], package: str) -> None:
        self.kind, self._base, self._package = kind, base, package

    def __getitem__(self, name: str) -> type[N]:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def listed(self) -> str:
        """Every name with its summary, in a sentence."""
        return "; ".join(f"{name!r}: {entry.summary}" for name, entry in self.items()) + "."

    def make(self, name: str, **options: Any) -> N:
        """The one of that name with these options.

        Raises:
            MmerError: There is none of that name, or an option is outside its range; of the kind that ``base`` names.
        """
        if name not in self:
            raise self._base.refusal(f"there is no {self.kind} {name!r}; give one of {', '.join(self)}")
        return self[name](**options)

    def configured(self, name: str, config: BaseModel) -> N:
        """The one of that name with the options that a configuration made by `chosen_from` has for it."""
        return self.make(name, **dict(getattr(config, option_field(name), ())))

    @cached_property
    def _found(self) -> dict[str, type[N]]:
        package = import_module(self._package)
        found: dict[str, type[N]] = {}
        for info in iter_modules(package.__path__, f"{self._package}."):
            module = import_module(info.name)
            for each in vars(module).values():
                if self._declares(info.name, each):
                    if each.name in found:
                        raise TypeError(f"two of the kind {self.kind} are called {each.name!r}")
                    found[each.name] = each
        return found

    def _declares(self, module: str, value: Any) -> bool:
        """Whether a value of a module is an entry that this very module declares."""
        if not (isinstance(value, type) and issubclass(value, self._base) and value.__module__ == module):
            return False
        return "name" in vars(value) and not isabstract(value)


def option_field(name: str) -> str:
    """The field of a configuration that holds the options of the one of that name."""
    return name.replace("-", "_")


def chosen_from(**registries: Registry[Any]) -> Callable[[type[C]], type[C]]:
    """Make fields of a configuration choices from registries.

    Each field named takes the names of its registry, its description lists what each is, and everything that has
    options gets a field for them, under its name. Options of what is not chosen decide nothing and are not written out.

        @chosen_from(attacks=ATTACKS)
        class SearchConfig(Config):
            attacks: tuple[str, ...] = Field(("de", "random"), description="Attacks.")
    """

    def with_choices(config: type[C]) -> type[C]:
        fields: dict[str, Any] = {}
        for field, registry in registries.items():
            info = _choice(config.model_fields[field], registry)
            fields[field] = (info.annotation, info)
        for registry in registries.values():
            for name, entry in registry.items():
                if not entry.Options.model_fields:
                    continue
                if (field := option_field(name)) in config.model_fields or field in fields:
                    raise TypeError(
                        f"{config.__name__} has a field {field} already; rename the {registry.kind}"
                    )
                about = f"Options of the {registry.kind} {name!r}."
                fields[field] = (entry.Options, Field(default=entry.Options(), description=about))

        def only_chosen(self: BaseModel, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
            return _without_unchosen(handler(self), self, registries)

        return create_model(
            config.__name__,
            __base__=config,
            __module__=config.__module__,
            __doc__=config.__doc__,
            __validators__={"only_chosen": model_serializer(mode="wrap")(only_chosen)},
            **fields,
        )

    return with_choices


def _choice(field: FieldInfo, registry: Registry[Any]) -> FieldInfo:
    """The field with the names of a registry where its type says ``str``."""
    choice = copy(field)
    names: Any = Literal[tuple(registry)]
    kinds: dict[Any, Any] = {str: names, str | None: names | None, tuple[str, ...]: tuple[names, ...]}
    choice.annotation = kinds[field.annotation]
    choice.description = f"{field.description} {registry.listed}"
    return choice


def _without_unchosen(
    fields: dict[str, Any], config: BaseModel, registries: Mapping[str, Registry[Any]]
) -> dict[str, Any]:
    for field, registry in registries.items():
        chosen = getattr(config, field)
        names = (chosen,) if isinstance(chosen, str) else chosen
        if names is None:
            continue  # whichever becomes the default still has its options
        for name in registry:
            if name not in names:
                fields.pop(option_field(name), None)
    return fields
