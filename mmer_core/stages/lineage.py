"""Finding what belongs together in a store."""

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from mmer_core.config import IngestConfig
from mmer_core.encoders.registry import is_defended
from mmer_core.errors import ArtifactNotFound, ConfigError, StoreError
from mmer_core.stages.declaration import of_today
from mmer_core.stages.identity import key_config, raw_identity
from mmer_core.store import ArtifactKey, Manifest, Store
from mmer_core.store.absence import missing
from mmer_core.store.artifact import canonical_json, plain
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


class Chosen(NamedTuple):
    """Models with what was made from them; and in a sentence each, which newer ones were left out, and why."""

    models: list[ModelArtifacts]
    left_out: list[str]


def newest_models(store: Store, models: Sequence[str] = ()) -> list[ModelArtifacts]:
    """As `choose_models`, one of every training."""
    return choose_models(store, models).models


def choose_models(
    store: Store,
    models: Sequence[str] = (),
    *,
    all_seeds: bool = False,
    prepared: Collection[ArtifactKey] | None = None,
) -> Chosen:
    """The given models, or of every (dataset, family) the newest that was evaluated and, if any was, attacked; each with its
    newest derived artifacts.

    Models of one dataset are of the same prepared arrays. Models of poisoned data are there only when they are given, and those with a
    defence where there are no others.

    Args:
        models: Keys, or their beginnings.
        all_seeds: Where none is given, those evaluated models too that differ from the chosen in the seed of their
            training alone, by rising seed.
        prepared: Where none is given, only models of these arrays.

    Raises:
        StoreError: A model is not there or was never evaluated, or there is none at all.
    """
    wanted = [store.find(text) for text in models]
    there = [store.manifest(key) for key in wanted] if wanted else _undisturbed(store)
    if prepared is not None:
        there = [one for one in there if one.inputs["prepared"] in map(str, prepared)]
    if not there:
        what = "model of this dataset" if prepared is not None else "model"
        raise ArtifactNotFound(missing(store, what, "train one first: mmer train or mmer pipeline"))
    of_model = {str(manifest.key): manifest for manifest in there}

    def on_its_own_data(made: Manifest) -> bool:
        model = of_model.get(made.inputs["model"])
        # `mmer evaluate` measures models on other datasets too.
        return model is not None and made.inputs.get("prepared") in (None, model.inputs["prepared"])

    evaluated = newest_by_input(store, "evaluation", "model", on_its_own_data)
    measured_on = {model: split_of(store.manifest(key)) for model, key in evaluated.items()}
    attacked = newest_attacks(store, measured_on, on_its_own_data)
    indexed = newest_by_input(store, "index", "model", on_its_own_data)
    chosen = there if wanted else _most_complete(there, evaluated, attacked)
    for one in chosen or there:
        if str(one.key) not in evaluated:
            raise StoreError(f"model {one.key} was never evaluated; run mmer evaluate --model {one.key}")
    if all_seeds and not wanted:
        chosen = _of_all_seeds(there, chosen, evaluated)
    found = [
        ModelArtifacts(
            ArtifactKey.parse(one.inputs["prepared"]),
            ArtifactKey.parse(one.inputs["features"]),
            one.key,
            evaluated[str(one.key)],
            attacked.get(str(one.key)),
            indexed.get(str(one.key)),
        )
        for one in chosen
    ]
    return Chosen(found, [] if wanted else [*_left_out(there, chosen, evaluated, attacked)])


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
    """The newest model, of some kinds of task where they are named; none of poisoned data, and rather none with a defence.

    Raises:
        StoreError: There is none.
    """
    found = [one for one in _undisturbed(store) if not tasks or one.summary_as(ModelSummary).task in tasks]
    if not found:
        what = " ".join([" or ".join(tasks), "model"]).strip()
        raise ArtifactNotFound(missing(store, what, "train one first: mmer train"))
    return max(found, key=lambda one: one.created)


def _of_all_seeds(
    there: Sequence[Manifest], chosen: Sequence[Manifest], evaluated: Container[str]
) -> list[Manifest]:
    groups = by_training(there, lambda manifest: manifest)
    return [
        manifest
        for one in chosen
        for manifest in sorted(
            next(group for group in groups if one in group), key=lambda manifest: manifest.seed or 0
        )
        if manifest == one or str(manifest.key) in evaluated
    ]


def _most_complete(
    there: Sequence[Manifest], evaluated: Container[str], attacked: Container[str]
) -> list[Manifest]:
    """Of every dataset and family the model that was evaluated, attacked if one was, and is newest."""
    measured = sorted((one for one in there if str(one.key) in evaluated), key=lambda one: one.created)
    ranked = sorted(measured, key=lambda one: str(one.key) in attacked)
    prepared = {one.summary_as(ModelSummary).dataset: one.inputs["prepared"] for one in ranked}
    best: dict[tuple[str, str], Manifest] = {}
    for one in ranked:
        made = one.summary_as(ModelSummary)
        if one.inputs["prepared"] == prepared[made.dataset]:
            best[made.dataset, made.family] = one
    # In the order in which families were first trained, but the baseline stands before what is compared with it.
    known = dict.fromkeys(
        (made.dataset, made.family) for made in (one.summary_as(ModelSummary) for one in measured)
    )
    return [best[key] for key in sorted(known, key=lambda key: (key[0], key[1] != "separate")) if key in best]


def _left_out(
    there: Sequence[Manifest],
    chosen: Sequence[Manifest],
    evaluated: Container[str],
    attacked: Container[str],
) -> Iterator[str]:
    """Of every dataset and family the newest model, where it is not chosen."""
    shown = {one.summary_as(ModelSummary).dataset: one.inputs["prepared"] for one in chosen}
    newest: dict[tuple[str, str], Manifest] = {}
    for one in sorted(there, key=lambda one: one.created):
        made = one.summary_as(ModelSummary)
        newest[made.dataset, made.family] = one
    for (dataset, family), one in sorted(newest.items()):
        if one in chosen:
            continue
        if str(one.key) not in evaluated:
            why = f"was never evaluated; run mmer evaluate --model {one.key}"
        elif one.inputs["prepared"] != shown[dataset]:
            why = f"is of other prepared arrays than the rest; give --prepared {one.inputs['prepared']}"
        else:
            why = f"was not attacked, and an older one was; run mmer robustness --trained {one.key}"
        yield f"the newest {family} model of {dataset}, {one.key}, is left out: it {why}"


def _undisturbed(store: Store) -> list[Manifest]:
    """Nobody who asks for some model means one that was harmed on purpose; nor one with a defence, where there are others."""
    found = [manifest for manifest in store.list("model") if "poison" not in manifest.inputs]
    return [manifest for manifest in found if not _defended(manifest)] or found


def _defended(model: Manifest) -> bool:
    return "attacked" in model.inputs or is_defended(model.config.get("encoders", {}).get("image", ""))


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


def prepared_of(store: Store, dataset: IngestConfig) -> list[ArtifactKey]:
    """Arrays that were prepared from the raw files of a dataset, with those of its settings that were given.

    Raises:
        StoreError: There are none.
    """
    identity = plain(key_config(raw_identity(dataset)))
    given = {name: identity["config"][name] for name in dataset.model_fields_set & identity["config"].keys()}
    found = [
        made.key
        for made in store.list("prepared")
        if made.inputs.get("raw") == identity["raw"]
        and given.items() <= {**made.config.get("config", {})}.items()
    ]
    if not found:
        what = "arrays prepared from these files with these settings"
        raise ArtifactNotFound(
            missing(store, what, "train a model on them first: mmer pipeline or mmer train")
        )
    return found


def split_of(made: Manifest) -> str | None:
    """The split that an evaluation, or an attack, is of."""
    split: str | None = made.config.get("config", {}).get("split")
    return split


def newest_attacks(
    store: Store, splits: Mapping[str, str | None], wanted: Callable[[Manifest], bool]
) -> dict[str, ArtifactKey]:
    """The newest attacks on every model, preferably on the split that it was evaluated on.

    Attacks of an earlier version are not read. Those on the training split, from which adversarial training learns (`mmer
    robustness --defence adversarial`), count only for a model that was evaluated there.

    Args:
        splits: By the key of a model, the split that it was evaluated on.
        wanted: Attacks for which this is false do not count.
    """

    def of_split(made: Manifest) -> bool:
        return split_of(made) == splits.get(made.inputs["model"])

    return newest_by_input(
        store,
        "robustness",
        "model",
        lambda made: of_today(made) and (split_of(made) != "train" or of_split(made)) and wanted(made),
        preferred=of_split,
    )


def newest_by_input(
    store: Store,
    kind: str,
    role: str,
    wanted: Callable[[Manifest], bool] = lambda _: True,
    preferred: Callable[[Manifest], bool] = lambda _: True,
) -> dict[str, ArtifactKey]:
    """The newest artifact of a kind for each of the inputs it has in a role, by that input's key.

    Args:
        wanted: Artifacts for which this is false do not count.
        preferred: Artifacts that are taken before newer ones.
    """
    found = filter(wanted, store.list(kind))
    manifests = sorted(found, key=lambda made: (preferred(made), made.created))
    return {manifest.inputs[role]: manifest.key for manifest in manifests}
