"""Configuration files for the command line: the user's own, and those that ship with mmer by name."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection
from cyclopts.config import Dict

from mmer_core.errors import ConfigError

_FORMATS = (".toml", ".yaml", ".yml", ".json")
_SECONDS, _MEMORY = 20.0, 2**28

FLAG = "--config"


def shipped() -> list[str]:
    """Names of the configurations that ship with mmer."""
    files = resources.files(__name__).iterdir()
    return sorted(Path(file.name).stem for file in files if file.name.endswith(".toml"))


def configuration_source(tokens: list[str]) -> tuple[list[str], list[Any]]:
    """Remove ``--config FILE`` from a command line; return the rest and the sources of the file's fields.

    Raises:
        ConfigError: The file is missing, of an unknown format, or not readable as that format.
    """
    rest: list[str] = []
    names: list[str] = []
    words = iter(tokens)
    for word in words:
        if word == FLAG:
            names.append(next(words, ""))
        elif word.startswith(f"{FLAG}="):
            names.append(word.removeprefix(f"{FLAG}="))
        else:
            rest.append(word)
    if not names:
        return rest, []
    if len(names) > 1:
        raise ConfigError(
            f"{FLAG} is given {len(names)} times ({', '.join(names)}): put all fields into one file"
        )
    if not names[0].strip():
        raise ConfigError(
            f"{FLAG} needs a file, or the name of one that ships with mmer: {', '.join(shipped())}"
        )
    path = _path(names[0])
    return rest, [_Fields(_read(path), path)]


def _read(path: Path) -> dict[str, Any]:
    """The fields as text."""
    from mmer_core.confined.reading import Limits, read_in_child
    from mmer_core.datasets.values import NotText

    def refuse(reason: str) -> ConfigError:
        return ConfigError(f"{path} is not valid {path.suffix[1:].upper()}: {reason}")

    (fields,) = read_in_child(
        "mmer_core.confined.configuration:fields", path, refuse, Limits(_SECONDS, _MEMORY)
    )
    try:
        return dict(_as_text(fields))
    except NotText as error:
        raise ConfigError(
            f"{path} holds {error} in a list; write texts or numbers, texts in quotes"
        ) from None


@dataclass(frozen=True)
class _Fields:
    """Fields of a file for whatever command is run.

    A flat source would skip the fields that have the name of a command: ``index`` and ``report``.
    """

    fields: dict[str, Any]
    path: Path

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        nested = self.fields
        for command in reversed(commands):
            nested = {command: nested}
        Dict(nested, source=str(self.path))(app, commands, arguments)


def _as_text(value: Any) -> Any:
    """Values as text in the format of a manifest's cells, not in Python's; null means the default."""
    from mmer_core.datasets.values import NotText, text_of

    if isinstance(value, dict):
        return {name: _as_text(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        if None in value:
            raise NotText("null")
        return [_as_text(one) for one in value]
    return text_of(value)


def _path(name: str) -> Path:
    if name in shipped():
        return Path(str(resources.files(__name__) / f"{name}.toml"))
    path = Path(name)
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give a file in it, in TOML, YAML or JSON")
    if not path.is_file():
        raise ConfigError(
            f"there is no configuration {name!r}; give a file, or one that ships with mmer: {', '.join(shipped())}"
        )
    if path.suffix.lower() not in _FORMATS:
        raise ConfigError(f"{path} must end in {', '.join(_FORMATS)}, which sets its format")
    return path
