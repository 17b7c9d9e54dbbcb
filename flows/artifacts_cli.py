"""`mmer artifacts`: look at, fetch, check and clear up what has been made."""

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.table import Table

from flows.numbers import at_least
from flows.terminal import tables
from mmer_core.config import RuntimeConfig
from mmer_core.errors import ArtifactCorrupt, ArtifactNotFound, ConfigError
from mmer_core.files import new_folder
from mmer_core.stages import Context
from mmer_core.store import ArtifactKey, Manifest
from mmer_core.store.absence import ANYTHING, missing, require_store
from mmer_core.store.ancestry import Ancestry

app = App(name="artifacts", help="Look at, fetch, check and clear up what has been made.")
Runtime = Annotated[RuntimeConfig, Parameter(name="*")]
Key = Annotated[
    str, Parameter(help="kind/digest as `ls` prints it; a unique beginning, or a kind for its newest.")
]


@app.command
def ls(kind: str | None = None, *, runtime: Runtime = RuntimeConfig()) -> None:
    """List artifacts, newest last; only those of a kind when one is given."""
    store = Context(runtime).store
    manifests = sorted(store.list(kind), key=lambda manifest: manifest.created)
    if not manifests:
        what = "artifact" if kind is None else f"artifact of the kind {kind!r}"
        kinds = ", ".join(sorted({key.kind for key in store.keys()}))  # noqa: SIM118
        raise ArtifactNotFound(missing(store, what, ANYTHING, f"it has {kinds}"))
    table = Table("artifact", "made", "size", "took", "figures", box=None)
    for manifest in manifests:
        size = sum(entry.size for entry in manifest.files)
        table.add_row(
            str(manifest.key),
            manifest.created,
            f"{size / 1e6:.1f} MB",
            f"{manifest.wall_seconds:.1f} s",
            _figures(manifest),
        )
    tables().print(table)


@app.command
def show(key: Key, *, runtime: Runtime = RuntimeConfig()) -> None:
    """Print an artifact's manifest: configuration, inputs, files, figures."""
    store = Context(runtime).store
    print(json.dumps(store.manifest(store.find(key)).model_dump(mode="json"), indent=2))


@app.command
def fetch(key: Key, to: Path | None = None, *, runtime: Runtime = RuntimeConfig()) -> None:
    """Fetch an artifact's files, checked against their digests, and print the folder.

    Parameters
    ----------
    to:
        Copy them to this folder, which must not exist yet; without it they stay in the cache, read-only.
    """
    store = Context(runtime).store
    folder = store.fetch(store.find(key))
    if to is None:
        print(folder)
        return
    with new_folder(to) as own:
        # Read-only and shared is right for the cache, not for a user's own copy.
        shutil.copytree(folder, own, copy_function=shutil.copyfile, dirs_exist_ok=True)
    print(to)


@app.command
def verify(key: Key | None = None, *, runtime: Runtime = RuntimeConfig()) -> None:
    """Read every stored byte of an artifact (or of all of them) again and compare with its digest."""
    store = Context(runtime).store
    if key is None:
        require_store(store)
    keys = [store.find(key)] if key else [manifest.key for manifest in store.list()]
    problems = [f"{one}: {problem}" for one in keys for problem in store.verify(one)]
    if problems:
        raise ArtifactCorrupt("; ".join(problems))
    print(f"{len(keys)} artifacts are whole")


@app.command
def delete(key: Key, *, yes: bool = False, runtime: Runtime = RuntimeConfig()) -> None:
    """Take an artifact out of the store, damaged or not; `gc` then frees its space.

    Parameters
    ----------
    yes:
        Do not ask whether the artifact is meant that a kind or the beginning of a key stands for.
    """
    store = Context(runtime).store
    found = store.find(key)
    if str(found) != key and not (yes or _confirmed(key, found)):
        print(f"{found} stays")
        return
    store.delete(found)
    print(f"{found} is deleted")


@app.command
def gc(
    *,
    older_than: Annotated[float, Parameter(validator=at_least(0))] = 24.0,
    runtime: Runtime = RuntimeConfig(),
) -> None:
    """Delete file contents that no artifact uses: of deleted artifacts, and of runs that died while publishing.

    Parameters
    ----------
    older_than:
        Hours for which contents are spared, as they may belong to an artifact that is just being published.
    """
    store = Context(runtime).store
    require_store(store)
    freed = store.gc(older_than=3600.0 * older_than)
    print(f"{freed / 1e6:.1f} MB freed")


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
    store = Context(runtime).store
    ancestry = Ancestry.of(store, store.find(key))
    forms = {"tree": ancestry.tree, "mermaid": ancestry.mermaid, "dot": ancestry.dot, "svg": ancestry.svg}
    print(forms[form]())


def _confirmed(text: str, found: ArtifactKey) -> bool:
    """Ask at a terminal whether this artifact is meant. Raises `ConfigError` where nobody can be asked."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{text} is no full key: give {found} if that is what you mean, or --yes")
    print(f"delete {found}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _figures(manifest: Manifest) -> str:
    plain = {name: value for name, value in manifest.summary.items() if isinstance(value, int | float | str)}
    shown = [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in plain.items()
    ]
    return ", ".join(shown[:5])
