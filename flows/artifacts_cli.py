"""`mmer artifacts`: list, inspect, fetch, verify and delete artifacts."""

import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from flows.output import say, say_json, say_text
from flows.parameters import Runtime, at_least
from flows.terminal import say_table
from mmer_core.config import RuntimeConfig
from mmer_core.errors import ArtifactCorrupt, ArtifactNotFound, ConfigError
from mmer_core.files import new_folder
from mmer_core.store import ArtifactKey, Manifest
from mmer_core.store.absence import ANYTHING, missing, require_store
from mmer_core.store.ancestry import Ancestry
from mmer_core.store.collection import Tally
from mmer_core.store.store import Damaged
from mmer_core.store.workspace import free_workspaces

app = App(name="artifacts")
Key = Annotated[
    str, Parameter(help="kind/digest as `ls` prints it, a unique prefix of it, or a kind for its newest.")
]


@app.command
def ls(kind: str | None = None, *, shards: bool = False, runtime: Runtime = RuntimeConfig()) -> None:
    """List artifacts, newest last; with a kind, only those of that kind.

    Parameters
    ----------
    shards:
        List plans and shards, too: the steps between that a killed run goes on from.
    """
    store = runtime.open_store()
    found = list(store.survey(kind))
    if not found:
        what = "artifact" if kind is None else f"artifact of the kind {kind!r}"
        kinds = ", ".join(sorted({key.kind for key in store.keys()}))  # noqa: SIM118
        raise ArtifactNotFound(missing(store, what, ANYTHING, f"it has {kinds}"))
    shown = [one for one in found if shards or kind or not _between(one)] or found
    manifests = (one for one in shown if isinstance(one, Manifest))
    rows = [(one.key, "damaged", "", "", str(one.error)) for one in found if isinstance(one, Damaged)]
    rows += [
        (
            manifest.key,
            manifest.created[:16].replace("T", " "),
            _size(sum(entry.size for entry in manifest.files)),
            f"{manifest.wall_seconds:.1f} s",
            _figures(manifest),
        )
        for manifest in sorted(manifests, key=lambda manifest: manifest.created)
    ]
    say_table(("artifact", "made", "size", "took", "figures"), rows)
    if len(found) > len(shown):
        say(f"and {len(found) - len(shown)} plans and shards: --shards lists them")


def _between(one: Manifest | Damaged) -> bool:
    """Whether it is a step to another artifact and sound."""
    return isinstance(one, Manifest) and one.kind.endswith(("-plan", "-shard"))


@app.command
def show(key: Key, *, runtime: Runtime = RuntimeConfig()) -> None:
    """Print an artifact's manifest: configuration, inputs, files, figures."""
    store = runtime.open_store()
    say_json(store.manifest(store.find(key)).model_dump(mode="json"))


@app.command
def fetch(key: Key, to: Path | None = None, *, runtime: Runtime = RuntimeConfig()) -> None:
    """Fetch an artifact's files, checked against their digests, and print the folder.

    Parameters
    ----------
    to:
        Copy them to this folder, which must not exist yet; without it they stay in the cache, read-only.
    """
    store = runtime.open_store()
    folder = store.fetch(store.find(key))
    if to is None:
        say(folder)
        return
    with new_folder(to) as own:
        # The cache is read-only and shared; a user's own copy is neither.
        shutil.copytree(folder, own, copy_function=shutil.copyfile, dirs_exist_ok=True)
    say(to)


@app.command
def verify(key: Key | None = None, *, runtime: Runtime = RuntimeConfig()) -> None:
    """Read every stored byte of an artifact (or of all artifacts) again and compare it with its digest."""
    store = runtime.open_store()
    if key is None:
        require_store(store)
    keys = list(store.keys()) if key is None else [store.find(key)]
    problems = [f"{one}: {problem}" for one in keys for problem in store.verify(one)]
    if problems:
        raise ArtifactCorrupt("; ".join(problems))
    say(f"{len(keys)} artifacts are intact")


@app.command
def delete(key: Key, *, yes: bool = False, runtime: Runtime = RuntimeConfig()) -> None:
    """Delete an artifact, damaged or not; `gc` then frees its space.

    Parameters
    ----------
    yes:
        Skip the confirmation that a kind or an abbreviated key asks for.
    """
    store = runtime.open_store()
    found = store.find(key)
    if str(found) != key and not (yes or _confirmed(key, found)):
        say(f"{found} is kept")
        return
    store.delete(found)
    say(f"{found} is deleted")


@app.command
def gc(
    *,
    older_than: Annotated[float, Parameter(validator=at_least(0))] = 24.0,
    runtime: Runtime = RuntimeConfig(),
) -> None:
    """Free space: contents of deleted artifacts, leftovers of killed runs, and fetched artifacts beyond --cache-gb.

    Contents move to the store's trash; a later gc removes them when they have been there for --older-than hours. What is
    published in the meantime is never lost.

    Parameters
    ----------
    older_than:
        Keep everything younger than this many hours; 0 empties the trash at once.
    """
    store = runtime.open_store()
    require_store(store)
    freed = store.gc(older_than=3600.0 * older_than)
    abandoned = Tally()
    abandoned.add(free_workspaces(store, runtime.work, time.time()))
    say(f"{(freed.bytes + abandoned.bytes) / 1e6:.1f} MB freed")
    for what, tally in (
        ("contents that no artifact uses", freed.contents),
        ("unfinished files and uploads of killed runs", freed.unfinished),
        ("fetched artifacts beyond the limit of the cache", freed.fetched),
        ("work of killed runs that nobody will resume", abandoned),
        ("in the trash until a later gc", freed.trash),
    ):
        if tally.count:
            say(f"  {tally.count} {what}: {tally.bytes / 1e6:.1f} MB")
    if freed.restored:
        say(f"  {freed.restored} contents that an artifact uses: restored from the trash")


@app.command
def lineage(
    key: Key,
    *,
    form: Annotated[Literal["tree", "mermaid", "dot", "svg"], Parameter(name="--as")] = "tree",
    runtime: Runtime = RuntimeConfig(),
) -> None:
    """Print what an artifact was made from, step by step back to the raw data.

    Parameters
    ----------
    form:
        A tree of text, a graph for Mermaid or Graphviz, or a picture.
    """
    store = runtime.open_store()
    ancestry = Ancestry.of(store, store.find(key))
    forms = {"tree": ancestry.tree, "mermaid": ancestry.mermaid, "dot": ancestry.dot, "svg": ancestry.svg}
    say_text(forms[form]())


def _confirmed(text: str, found: ArtifactKey) -> bool:
    """Ask at a terminal whether to delete this artifact. Raises `ConfigError` when there is no terminal."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{text} is not a full key: give {found} if you mean that one, or add --yes")
    say(f"delete {found}? [y/N] ", error=True, end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _figures(manifest: Manifest) -> str:
    plain = {
        name: value
        for name, value in manifest.summary.items()
        if isinstance(value, int | float | str) and name != "version"
    }
    shown = [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in plain.items()
    ]
    return ", ".join(shown[:5])
