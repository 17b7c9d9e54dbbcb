"""The poisoning experiment in miniature: it works where it must, and a killed one ends like one that never was."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.small_pipeline import (
    Study,
    created,
    digests,
    poison_job,
    settings_file,
    start_mmer,
)
from test_kill_resume import kill_when

from flows.poisoning import poison
from mmer_core.config import PoisonJob, TrainingConfig
from mmer_core.errors import ConfigError, PoisonError
from mmer_core.stages import Context
from mmer_core.stages.poison.merging import PAGE_FILE, TABLE_FILE, VULNERABILITY_FILE, WORDS_FILE
from mmer_core.store import ArtifactKey, Manifest, Store


def _result(job: PoisonJob) -> tuple[Store, Manifest]:
    store = Context(job.runtime).store
    return store, store.manifest(ArtifactKey.parse(poison.fn(job)))


@pytest.mark.long
@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "target", "attacks", "controls", "detectors"),
    [
        ("emotic", None, ("backdoor",), ("shuffle",), ("deep-knn", "spectral", "clustering", "similarity")),
        (
            "flickr8k",
            "dog",
            ("backdoor", "clean-label", "collision", "bullseye"),
            ("trigger-only", "shuffle"),
            ("deep-knn",),
        ),
    ],
    ids=["emotic", "flickr8k"],
)
def test_attacks_controls_and_detectors(
    study: Study,
    name: str,
    target: str | None,
    attacks: tuple[str, ...],
    controls: tuple[str, ...],
    detectors: tuple[str, ...],
    tmp_path: Path,
) -> None:
    job = poison_job(
        study, name, tmp_path, target=target, attacks=attacks, controls=controls, detectors=detectors
    )
    store, result = _result(job)
    table = pd.read_csv(store.fetch(result.key) / TABLE_FILE, keep_default_na=False)
    unfiltered = table[table["filtered"] == ""]
    arms = {("clean", 0), *((control, 2) for control in controls)}
    arms |= {(attack, count) for attack in job.poison.attacks for count in (1, 2)}
    for family in ("separate", "joint"):
        of_family = unfiltered[unfiltered["family"] == family]
        assert set(zip(of_family["attack"], of_family["count"], strict=True)) == arms
        assert len(of_family) == len(arms)
    assert set(table["filtered"]) - {""} == set(detectors)
    page = (store.fetch(result.key) / PAGE_FILE).read_text()
    assert all(warning.split("(")[0].strip() in page for warning in result.summary["warnings"])
    assert (store.fetch(result.key) / VULNERABILITY_FILE).exists()
    dropped = pd.read_csv(store.fetch(result.key) / WORDS_FILE)
    families = {"separate", "joint"} if name == "flickr8k" else {"joint"}
    assert set(dropped["family"]) == families, "only models with a common space of image and text"
    assert set(dropped["attack"]) == {*attacks, *controls}
    assert np.isfinite(dropped["drop"]).all()
    assert all(f'id="{section}"' in page for section in ("matching", "words", "distances", "modalities"))
    if name == "flickr8k":
        assert "contribution, points, image" in page
    # The two of the larger count serve the smaller one, too; those that share a target are crafted for each count.
    shards = [manifest.config["attack"]["name"] for manifest in store.list("poison-shard")]
    assert sorted(shards) == (["bullseye", "bullseye", "collision"] if "collision" in attacks else [])


@pytest.mark.long
@pytest.mark.integration
def test_a_backdoor_that_nobody_can_overlook(study: Study, tmp_path: Path) -> None:
    """A patch over most of the photo, on a third of the training set: the backdoor opens, and its control does not."""
    job = poison_job(study, "flickr8k", tmp_path, target="dog", counts=(8,), patch={"side": 56}, top=1)
    longer = TrainingConfig(epochs=40, patience=40)
    calm = job.runtime.model_copy(update={"checkpoint_seconds": 10})
    _, result = _result(job.model_copy(update={"families": ("joint",), "training": longer, "runtime": calm}))
    means = {row["attack"]: row for row in result.summary["means"]}
    assert means["backdoor"]["success"] > 60
    assert means["backdoor"]["untriggered"] < 30
    assert means["trigger-only"]["success"] < 30


@pytest.mark.long
@pytest.mark.integration
def test_killed_anywhere_and_run_again(study: Study, tmp_path: Path) -> None:
    settings = {"target": "dog", "attacks": ("collision",), "counts": (1, 2), "shard_size": 1, "controls": ()}
    calm_store, expected = _result(poison_job(study, "flickr8k", tmp_path / "calm", **settings))
    job = poison_job(study, "flickr8k", tmp_path / "killed", **settings)
    store = Context(job.runtime).store
    command = ["poison", "--config", str(settings_file(tmp_path, job))]
    seen: dict[ArtifactKey, str] = {}
    for number, kind in enumerate(("poison-shard", "model", "poison-outcome")):
        kill_when(lambda kind=kind: any(store.keys(kind)), command, tmp_path / f"{number}.txt")  # type: ignore[misc]
        survived = created(store)
        assert seen.items() <= survived.items(), "something that had been published was made again"
        seen = survived
    process = start_mmer(command, tmp_path / "last.txt")
    process.join(200)
    assert process.exitcode == 0, (tmp_path / "last.txt").read_text()
    assert seen.items() <= created(store).items(), "something that had been published was made again"
    assert digests(store.manifest(expected.key)) == digests(expected)
    assert {key.digest for key in store.keys("poison-shard")} == {
        key.digest for key in calm_store.keys("poison-shard")
    }


@pytest.mark.integration
def test_what_cannot_be_poisoned_is_told(study: Study, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no label is called 'Joyless'; give one of"):
        poison.fn(poison_job(study, "emotic", tmp_path, target="Joyless"))
    with pytest.raises(ConfigError, match="no train caption holds the word 'zeppelin'"):
        poison.fn(poison_job(study, "flickr8k", tmp_path, target="zeppelin"))
    with pytest.raises(PoisonError, match="backdoor for 'dog': 999 poisons are asked for where"):
        poison.fn(poison_job(study, "flickr8k", tmp_path, target="dog", counts=(999,)))
    with pytest.raises(ValueError, match="zero-shot is not trained"):
        PoisonJob(families=("zero-shot",))
