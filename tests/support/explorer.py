"""All interleavings of the real store's code: every request to the backend is a step, and any actor may do the next.

Actors run in greenlets over a backend that hands each request to the explorer. What an actor asks next depends on nothing
but the answers it has had, so each history of answers is run once, and what remains is a search through a graph.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch
from uuid import UUID

from greenlet import getcurrent, greenlet

from mmer_core.store import Store
from mmer_core.store.backend import MissingObjectError, StoredObject

Objects = frozenset[tuple[str, tuple[bytes, float]]]
"""Bytes and time of the last write, by key."""

Request = tuple[str, ...]
Answer = Any
NOW = 2e9
OLD = NOW - 48 * 3600
MISSING = "missing"


class AskingBackend:
    """A backend whose every request is a step of the actor that makes it."""

    url = "explored"
    read_attempts = 1

    def _ask(self, *request: Any) -> Answer:
        answer = getcurrent().parent.switch(request)
        if answer == MISSING:
            raise MissingObjectError(f"{request} is missing")
        return answer

    def ensure_writable(self) -> None:
        pass

    def put_file(self, key: str, source: Path, sha256: str, *, adopt: bool) -> None:
        self._ask("put", key, source.read_bytes())

    def put_bytes(self, key: str, data: bytes) -> None:
        self._ask("put", key, data)

    def create_exclusive(self, key: str, data: bytes) -> bool:
        return self._ask("create", key, data)

    def read_bytes(self, key: str) -> bytes:
        return self._ask("read", key)

    def materialise(self, key: str, target: Path) -> str:
        data = self._ask("read", key)
        target.write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    def hash(self, key: str) -> str:
        return hashlib.sha256(self._ask("read", key)).hexdigest()

    def exists(self, key: str) -> bool:
        return self._ask("stat", key) is not None

    def stat(self, key: str) -> StoredObject | None:
        found = self._ask("stat", key)
        return None if found is None else StoredObject(key, *found, NOW)

    def copy(self, source: str, target: str) -> None:
        self._ask("copy", source, target)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """One step for each object, as a server lists page by page while others write."""
        key = prefix
        while (found := self._ask("next", prefix, key)) is not None:
            key, size, modified = found
            yield StoredObject(key, size, modified, NOW)

    def delete(self, key: str) -> bool:
        return self._ask("delete", key)

    def free_unfinished(self, before: float) -> Iterator[int]:
        yield from ()

    def checkouts(self, cache: Path) -> Path:
        return cache


def answered(objects: Objects, request: Request) -> tuple[Answer, Objects]:
    """What a server answers, and what it holds then."""
    held = dict(objects)

    def with_(key: str, data: bytes) -> Objects:
        return frozenset((held | {key: (data, NOW)}).items())

    match request:
        case ("put", key, data):
            return None, with_(key, data)
        case ("create", key, data):
            return (False, objects) if key in held else (True, with_(key, data))
        case ("read", key):
            return (held[key][0] if key in held else MISSING), objects
        case ("stat", key):
            return ((len(held[key][0]), held[key][1]) if key in held else None), objects
        case ("copy", source, target):
            return (None, with_(target, held[source][0])) if source in held else (MISSING, objects)
        case ("next", prefix, after):
            later = sorted(key for key in held if key.startswith(prefix) and key > after)
            return ((later[0], len(held[later[0]][0]), held[later[0]][1]) if later else None), objects
        case ("delete", key):
            return True, frozenset(item for item in objects if item[0] != key)
    raise AssertionError(request)


@dataclass(frozen=True)
class Actor:
    """Somebody at work on the store.

    Attributes:
        does: Its work; what it returns is its result.
        may_die: At any moment, without a word.
    """

    name: str
    does: Callable[[Store], Any]
    may_die: bool = False


@dataclass(frozen=True)
class Ended:
    """How an actor ended."""

    result: Any = None
    error: str | None = None


class State(NamedTuple):
    """What is stored and how far each actor is, both by number, who is dead, and a deletion that is on its way."""

    objects: int
    reached: tuple[int, ...]
    dead: int | None = None
    on_the_way: str | None = None


class Explorer:
    """A search through all states that actors can reach together.

    Args:
        store: Makes the store that each actor uses, from its backend and a cache.
        late: A deletion may get no answer and be made again, and the first one may take effect at any later time.
    """

    def __init__(
        self,
        actors: list[Actor],
        folder: Path,
        store: Callable[[AskingBackend, Path], Store] = Store,
        *,
        late: bool = False,
    ) -> None:
        self.actors = actors
        self._folder = folder
        self._store = store
        self._late = late
        # States are many: what they consist of is kept once and has a number.
        self._objects: list[Objects] = []
        self._number_of: dict[Objects, int] = {}
        self._answers: dict[tuple[int, Request], tuple[Answer, int]] = {}
        self._histories: list[tuple[Actor, tuple[Answer, ...]]] = []
        self._steps: dict[int, Request | Ended] = {}
        self._after: dict[tuple[int, Answer], int] = {}
        self._begun: dict[str, int] = {}

    def states(self, objects: Objects) -> Iterator[State]:
        """Every state that can be reached from what is stored at the beginning."""
        first = State(self._numbered(objects), tuple(self._beginning(actor) for actor in self.actors))
        seen, waiting = {first}, [first]
        while waiting:
            state = waiting.pop()
            yield state
            for following in self._following(state):
                if following not in seen:
                    seen.add(following)
                    waiting.append(following)

    def holds(self, state: State, key: str) -> bool:
        """Whether something is stored under a key."""
        return any(name == key for name, _ in self._objects[state.objects])

    def ended(self, state: State) -> list[Ended | None]:
        """How each actor has ended in a state; None for one that has not."""
        steps = [self._step(reached) for reached in state.reached]
        return [step if isinstance(step, Ended) else None for step in steps]

    def at_rest(self, state: State) -> bool:
        """Whether nothing will happen any more."""
        return state.on_the_way is None and all(
            end is not None or number == state.dead for number, end in enumerate(self.ended(state))
        )

    def alone(self, objects: int, actor: Actor) -> tuple[Ended, int]:
        """What an actor comes to when it is undisturbed, and what is stored then."""
        reached = self._beginning(actor)
        while not isinstance(step := self._step(reached), Ended):
            answer, objects = self._answered(objects, step)
            reached = self._reached(reached, answer)
        return step, objects

    def _following(self, state: State) -> Iterator[State]:
        objects, reached, dead, on_the_way = state
        if on_the_way is not None:
            yield State(self._answered(objects, ("delete", on_the_way))[1], reached, dead)
        for number, actor in enumerate(self.actors):
            step = self._step(reached[number])
            if number == dead or isinstance(step, Ended):
                continue
            if actor.may_die and dead is None:
                yield State(objects, reached, number, on_the_way)
            answer, changed = self._answered(objects, step)
            yield State(changed, self._with(reached, number, answer), dead, on_the_way)
            if self._late and on_the_way is None and step[0] == "delete" and step[1].startswith("blobs/"):
                yield State(changed, self._with(reached, number, False), dead, step[1])

    def _with(self, reached: tuple[int, ...], number: int, answer: Answer) -> tuple[int, ...]:
        return (*reached[:number], self._reached(reached[number], answer), *reached[number + 1 :])

    def _numbered(self, objects: Objects) -> int:
        if objects not in self._number_of:
            self._number_of[objects] = len(self._objects)
            self._objects.append(objects)
        return self._number_of[objects]

    def _answered(self, objects: int, request: Request) -> tuple[Answer, int]:
        if (objects, request) not in self._answers:
            answer, changed = answered(self._objects[objects], request)
            self._answers[objects, request] = answer, self._numbered(changed)
        return self._answers[objects, request]

    def _beginning(self, actor: Actor) -> int:
        if actor.name not in self._begun:
            self._begun[actor.name] = len(self._histories)
            self._histories.append((actor, ()))
        return self._begun[actor.name]

    def _reached(self, reached: int, answer: Answer) -> int:
        if (reached, answer) not in self._after:
            actor, history = self._histories[reached]
            self._after[reached, answer] = len(self._histories)
            self._histories.append((actor, (*history, answer)))
        return self._after[reached, answer]

    def _step(self, reached: int) -> Request | Ended:
        """What an actor does next, by the answers that it has had."""
        if reached not in self._steps:
            self._steps[reached] = self._replayed(*self._histories[reached])
        return self._steps[reached]

    def _replayed(self, actor: Actor, history: tuple[Answer, ...]) -> Request | Ended:
        cache = self._folder / actor.name
        work = greenlet(lambda: _outcome(actor, self._store(AskingBackend(), cache)))
        with _predictable(actor.name):
            step = work.switch()
            for answer in history:
                step = work.switch(answer)
            if not work.dead:
                work.throw()
        shutil.rmtree(cache, ignore_errors=True)
        return step


def _outcome(actor: Actor, store: Store) -> Ended:
    try:
        return Ended(actor.does(store))
    except Exception as error:
        return Ended(error=f"{type(error).__name__}: {error}")


@contextmanager
def _predictable(name: str) -> Iterator[None]:
    """The same names, dates and order in every run of an actor; its threads are one."""
    numbers = iter(range(1000))

    def number() -> UUID:
        return UUID(hashlib.sha256(f"{name} {next(numbers)}".encode()).hexdigest()[:32])

    def one_by_one(work: Callable[[Any], Any], items: Any) -> list[Any]:
        return [work(item) for item in items]

    class Pool:
        def __init__(self, *_: object) -> None:
            self.map = map

        def __enter__(self) -> "Pool":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    place = "mmer_core.store"
    with (
        patch("uuid.uuid4", number),
        patch(f"{place}.store.in_parallel", one_by_one),
        patch(f"{place}.collection.in_parallel", one_by_one),
        patch(f"{place}.store.ThreadPoolExecutor", Pool),
        patch(f"{place}.folder.ThreadPoolExecutor", Pool),
        patch(f"{place}.checkouts._whole", set()),
        patch(f"{place}.checkouts.claim"),
        patch(f"{place}.manifest.datetime") as clock,
    ):
        clock.now.return_value.isoformat.return_value = "2026-01-01T00:00:00+00:00"
        clock.fromisoformat.return_value.astimezone.return_value = clock.now.return_value
        yield
