"""The results that a report shows, made again by their own stages, and compared number by number."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, get_args, get_type_hints

import numpy as np

from mmer_core.errors import StoreError
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import STAGES, Shards
from mmer_core.stages.lineage import ModelArtifacts
from mmer_core.stages.recomputing import CLOSE
from mmer_core.stages.report import reported_models
from mmer_core.store import ArtifactKey, Manifest
from mmer_core.store.workspace import fresh_workspace

RESULTS = ("evaluation", "probe", "robustness", "transfer")
"""Kinds of artifacts that a report takes its figures from."""


class Remade(NamedTuple):
    """One result: how many numbers it holds, and the names of those that came out different."""

    key: ArtifactKey
    numbers: int
    differing: tuple[str, ...]


def remake(context: Context, report: ArtifactKey) -> Iterator[Remade]:
    """Run the stages of all evaluations, probes, shares under attack and transfers of a report again.

    Nothing is trained and nothing is attacked again: inputs are the models, features and outcomes that are in the store.
    Numbers are the same within `CLOSE`.

    Raises:
        StoreError: Something is not in the store, or was made by another version of mmer.
    """
    manifest = context.artifact(report).manifest
    models = {one.model: one for group in reported_models(manifest).values() for one in group}
    keys = dict.fromkeys(map(ArtifactKey.parse, manifest.inputs.values()))
    for key in keys:
        if key.kind in RESULTS:
            yield _remade(context, key, models)


def _remade(context: Context, key: ArtifactKey, models: Mapping[ArtifactKey, ModelArtifacts]) -> Remade:
    stored = context.artifact(key)
    made = stored.manifest
    stage = next(
        (one for one in STAGES.values() if (one.kind, one.version) == (key.kind, made.stage_version)), None
    )
    if stage is None:
        raise StoreError(
            f"{key} was made by another version of mmer; make it and its report again with this one"
        )
    hints = get_type_hints(stage.build)
    arguments = {name: _argument(name, hints[name], made, models) for name in stage.signature.parameters}
    work = context.runtime.work.expanduser()
    work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="remake-", dir=work) as place:
        workspace = fresh_workspace(Path(place), key)
        summary = stage.build(context, workspace, **arguments)
        before = _numbers(stored.folder, made.summary)
        after = _numbers(workspace.out, summary.model_dump(mode="json"))
    differing = [name for name in {**before, **after} if not _same(before.get(name), after.get(name))]
    return Remade(key, sum(np.size(each) for each in before.values()), tuple(differing))


def _argument(name: str, hint: Any, made: Manifest, models: Mapping[ArtifactKey, ModelArtifacts]) -> Any:
    """What a stage was given, as its manifest tells."""
    if hint is Shards:
        keys = [*map(ArtifactKey.parse, made.shards)]
        return Shards(keys, keys)
    if hint is ModelArtifacts:
        return models[ArtifactKey.parse(made.inputs[name])]
    if ArtifactKey in (hint, *get_args(hint)):
        return ArtifactKey.parse(made.inputs[name]) if name in made.inputs else None
    return hint.model_validate(made.config[name])


def _numbers(folder: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers by place: of the summary and of records one by one, of arrays all together."""
    found = dict(_leaves(summary, "summary"))
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".json":
            found |= _leaves(json.loads(path.read_text("utf-8")), name)
        elif path.suffix == ".npy":
            found[name] = np.load(path, allow_pickle=False)
    return found


def _leaves(part: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(part, Mapping | list):
        places = part.items() if isinstance(part, Mapping) else enumerate(part)
        for place, inner in places:
            yield from _leaves(inner, f"{name} {place}")
    elif isinstance(part, int | float):
        yield name, part


def _same(first: Any, second: Any) -> bool:
    if first is None or second is None or np.shape(first) != np.shape(second):
        return False
    return bool(np.allclose(first, second, rtol=0, atol=CLOSE, equal_nan=True))
