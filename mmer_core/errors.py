"""Errors shown to users. Each message is one sentence: what is wrong, where, and what to do."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Self

from mmer_core.escaping.visible import one_line

_LISTED = 3
"""Things that a message names where many are meant."""


class MmerError(Exception):
    """Base of every error that mmer raises on purpose; the command line prints it without a traceback.

    A message quotes names, lines and values from external data and is shown by terminals, logs, pages and Prefect. It is
    therefore a single line without control characters.

    Attributes:
        advice: What to do, where the message does not say it.
        again: The command that tries again, where there is one.
    """

    advice: str = ""
    again: str | None = None

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(one_line(one) if isinstance(one, str) else one for one in arguments))

    @property
    def cause(self) -> str:
        """The message alone."""
        return super().__str__()

    def __str__(self) -> str:
        advice = f"; {self.advice}" if self.advice else ""
        again = f"; try again with: {self.again}" if self.again else ""
        return f"{self.cause}{_places(self)}{advice}{again}"


class ConfigError(MmerError):
    """A parameter has an invalid value."""


class DatasetError(MmerError):
    """A dataset is missing, unreadable or not in the layout its reader expects."""


class EncoderError(MmerError):
    """An encoder is unknown, its weights are missing, or they belong to another architecture."""


class StoreError(MmerError):
    """The artifact store cannot be reached, read or written."""


class ArtifactNotFound(StoreError):
    """No artifact has this key."""


class ArtifactCorrupt(StoreError):
    """An artifact's bytes do not match its manifest."""


class OtherVersion(StoreError):
    """Another version of mmer wrote this, in a form that this one does not read."""


class ArtifactConflict(StoreError):
    """Another artifact with different content already exists under this key."""


class AttackError(MmerError):
    """An attack was configured or called outside its definition."""


class PoisonError(MmerError):
    """A poison, a trigger or a detector was configured or called outside its definition."""


class EngineError(MmerError):
    """The engine that runs the shards cannot be reached, or died."""


class UnexpectedError(MmerError):
    """An error that mmer did not raise on purpose, in the words of `sentence`."""

    @classmethod
    def of(cls, error: Exception) -> Self:
        """The same error, with the places that it names."""
        made = cls(_message(error))
        made.advice = _advice(error)
        for place in getattr(error, "__notes__", ()):
            made.add_note(place)
        return made


def add_place(error: Exception, place: str) -> None:
    """Say in an error's message where it happened, behind what is said there already."""
    error.add_note(one_line(place))


@contextmanager
def at(place: Callable[[], str]) -> Iterator[None]:
    """An error inside says where it happened, unless it does already: of several places, the innermost knows best.

    Args:
        place: Asked when there is an error. One that it raises itself hides no other.
    """
    try:
        yield
    except Exception as error:
        if not getattr(error, "__notes__", None):
            with suppress(Exception):
                if words := place():
                    add_place(error, words)
        raise


def listed(names: Sequence[str], what: str) -> str:
    """Things of one kind by name, as a message has them; of many the first: ``samples 'a', 'b', 'c' and 61 more``."""
    shown = [repr(name) for name in (names if len(names) <= _LISTED + 1 else names[:_LISTED])]
    if more := len(names) - len(shown):
        shown.append(f"{more} more")
    *first, last = shown
    return f"{what}{'' if len(names) == 1 else 's'} {', '.join(first)}{' and ' if first else ''}{last}"


def sentence(error: Exception) -> str:
    """The message that users read of any error: what is wrong, where, and what to do."""
    if isinstance(error, MmerError):
        return str(error)
    return f"{_message(error)}{_places(error)}; {_advice(error)}"


def _message(error: Exception) -> str:
    message = " ".join(str(error).split())
    return message if isinstance(error, OSError) else f"{type(error).__name__}: {message}"


def _advice(error: Exception) -> str:
    if isinstance(error, OSError):
        return "look at that file or folder, and run the same command again"
    return "this is a bug in mmer: please report it with the output of MMER_LOG=text"


def _places(error: BaseException) -> str:
    places = getattr(error, "__notes__", ())
    return f" ({', '.join(places)})" if places else ""


def out_of_memory(error: RuntimeError) -> bool:
    """Whether it says that a device has no memory left.

    PyTorch has a class for what its own allocator on CUDA says (``OutOfMemoryError``); cuBLAS, cuDNN, launches and MPS raise others.
    """
    said = str(error).lower()
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in said or "alloc_failed" in said
