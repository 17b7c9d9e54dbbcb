"""Finding what belongs together in a store."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmer_core.errors import StoreError
from mmer_core.store import ArtifactKey, Manifest, Store


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


def newest_models(store: Store, models: Sequence[str] = ()) -> list[ModelArtifacts]:
    """The given models, or the newest of every (dataset, family), each with its newest derived artifacts.

    Raises:
        StoreError: A model is not there or was never evaluated, or there is none at all.
    """
    wanted = [store.find(text) for text in models]
    manifests = [store.manifest(key) for key in wanted] if wanted else _newest_of_each(store)
    if not manifests:
        raise StoreError(f"{store.url} holds no model; train one first: mmer train or mmer pipeline")
    derived = {kind: newest_by_input(store, kind, "model") for kind in ("evaluation", "robustness", "index")}
    found = []
    for manifest in manifests:
        key = str(manifest.key)
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


def _newest_of_each(store: Store) -> list[Manifest]:
    newest: dict[tuple[str, str], Manifest] = {}
    for manifest in sorted(store.list("model"), key=lambda manifest: manifest.created):
        newest[manifest.summary["dataset"], manifest.summary["family"]] = manifest
    # The baseline stands before what is compared with it.
    return [newest[key] for key in sorted(newest, key=lambda key: (key[0], key[1] != "separate"))]


def newest_by_input(store: Store, kind: str, role: str) -> dict[str, ArtifactKey]:
    """The newest artifact of a kind for each of the inputs it has in a role, by that input's key."""
    manifests = sorted(store.list(kind), key=lambda manifest: manifest.created)
    return {manifest.inputs[role]: manifest.key for manifest in manifests}
