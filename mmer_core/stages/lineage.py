"""Finding what belongs together in a store."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mmer_core.errors import ArtifactNotFound, ConfigError, StoreError
from mmer_core.store import ArtifactKey, Manifest, Store
from mmer_core.store.absence import missing
from mmer_core.store.artifact import canonical_json
from mmer_core.training.record import ModelSummary

T = TypeVar("T")


@dataclass(frozen=True)
class ModelArtifacts:
    """A trained model and what was made from it.

    Attributes:
        evaluation: Its metrics.
        robustness: Outcomes of attacks on it, if any.
        index: Its FAISS index, if any.
    """

    prepared: ArtifactKey
    features: ArtifactKey
    model: ArtifactKey
    evaluation: ArtifactKey
    robustness: ArtifactKey | None = None
    index: ArtifactKey | None = None

    def keys(self) -> dict[str, ArtifactKey]:
        """By role, without those that are not there."""
        return {role: key for role, key in vars(self).items() if key is not None}


def newest_models(
    store: Store, models: Sequence[str] = (), *, all_seeds: bool = False
) -> list[ModelArtifacts]:
    """The given models, or the newest of every (dataset, family), each with its newest derived artifacts.

    Models of poisoned data are there only when they are given.

    Args:
        models: Keys, or their beginnings.
        all_seeds: Where none is given, those evaluated models too that differ from the newest in the seed of their
            training alone, by rising seed.

    Raises:
        StoreError: A model is not there or was never evaluated, or there is none at all.
    """
    wanted = [store.find(text) for text in models]
    manifests = [store.manifest(key) for key in wanted] if wanted else _newest_of_each(store)
    if not manifests:
        raise ArtifactNotFound(missing(store, "model", "train one first: mmer train or mmer pipeline"))
    if all_seeds and not wanted:
        manifests = _of_all_seeds(store, manifests)
    of_model = {str(manifest.key): manifest for manifest in manifests}

    def on_its_own_data(made: Manifest) -> bool:
        model = of_model.get(made.inputs["model"])
        # `mmer evaluate` measures models on other datasets too.
        return model is not None and made.inputs.get("prepared") in (None, model.inputs["prepared"])

    derived = {
        kind: newest_by_input(store, kind, "model", on_its_own_data)
        for kind in ("evaluation", "robustness", "index")
    }
    found = []
    for key, manifest in of_model.items():
        if key not in derived["evaluation"]:
            raise StoreError(f"model {key} was never evaluated; run mmer train with its settings again")
        found.append(
            ModelArtifacts(
                ArtifactKey.parse(manifest.inputs["prepared"]),
                ArtifactKey.parse(manifest.inputs["features"]),
                manifest.key,
                derived["evaluation"][key],
                derived["robustness"].get(key),
                derived["index"].get(key),
            )
        )
    return found


def find_model(store: Store, text: str) -> Manifest:
    """The model with a key; its beginning will do.

    Raises:
        StoreError: There is nothing with this key, or more than one.
        ConfigError: It is something else.
    """
    manifest = store.manifest(store.find(text))
    if manifest.kind != "model":
        raise ConfigError(f"{manifest.key} is no model; mmer artifacts ls model lists those that are there")
    return manifest


def model_named(store: Store, text: str) -> Manifest:
    """As `find_model`; ``"model"`` is the newest one, as of `newest_model`."""
    return newest_model(store) if text == "model" else find_model(store, text)


def newest_model(store: Store, *tasks: str) -> Manifest:
    """The newest model, of some kinds of task where they are named; none of poisoned data.

    Raises:
        StoreError: There is none.
    """
    found = [one for one in _unpoisoned(store) if not tasks or one.summary_as(ModelSummary).task in tasks]
    if not found:
        what = " ".join([" or ".join(tasks), "model"]).strip()
        raise ArtifactNotFound(missing(store, what, "train one first: mmer train"))
    return max(found, key=lambda one: one.created)


def _of_all_seeds(store: Store, newest: Sequence[Manifest]) -> list[Manifest]:
    evaluated = newest_by_input(store, "evaluation", "model")
    groups = by_training(_unpoisoned(store), lambda manifest: manifest)
    return [
        manifest
        for one in newest
        for manifest in sorted(
            next(group for group in groups if one in group), key=lambda manifest: manifest.seed or 0
        )
        if manifest == one or str(manifest.key) in evaluated
    ]


def _newest_of_each(store: Store) -> list[Manifest]:
    newest: dict[tuple[str, str], Manifest] = {}
    for manifest in sorted(_unpoisoned(store), key=lambda manifest: manifest.created):
        made = manifest.summary_as(ModelSummary)
        newest[made.dataset, made.family] = manifest
    # The baseline stands before what is compared with it.
    return [newest[key] for key in sorted(newest, key=lambda key: (key[0], key[1] != "separate"))]


def _unpoisoned(store: Store) -> list[Manifest]:
    """Nobody who asks for some model means one that was harmed on purpose."""
    return [manifest for manifest in store.list("model") if "poison" not in manifest.inputs]


def first_trainings(store: Store, models: Sequence[ModelArtifacts]) -> list[ModelArtifacts]:
    """One of the models that differ in the seed of their training alone: the first."""
    return [trainings[0] for trainings in by_training(models, lambda one: store.manifest(one.model))]


def by_training(models: Iterable[T], manifest: Callable[[T], Manifest]) -> list[list[T]]:
    """Models grouped in their order: those of one group differ in the seed of their training alone."""
    groups: dict[bytes, list[T]] = {}
    for one in models:
        made = manifest(one)
        training = {**made.config.get("training", {}), "seed": None}
        same = canonical_json([{**made.config, "training": training}, made.inputs, made.stage_version])
        groups.setdefault(same, []).append(one)
    return list(groups.values())


def newest_by_input(
    store: Store, kind: str, role: str, wanted: Callable[[Manifest], bool] = lambda _: True
) -> dict[str, ArtifactKey]:
    """The newest artifact of a kind for each of the inputs it has in a role, by that input's key."""
    manifests = sorted(filter(wanted, store.list(kind)), key=lambda manifest: manifest.created)
    return {manifest.inputs[role]: manifest.key for manifest in manifests}
