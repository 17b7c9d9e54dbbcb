"""What chaos runs take for a difference from the undisturbed run."""

from pathlib import Path

from mmer_core.store import ArtifactKey, Draft, Store, open_store
from tools.chaos.arena import Outcome

SHARD, WHOLE, REPORT = (ArtifactKey(kind, "0" * 32) for kind in ("feature-shard", "features", "report"))


def _publish(store: Store, folder: Path, key: ArtifactKey, name: str, text: str, **more: object) -> None:
    folder.mkdir()
    (folder / name).write_text(text)
    store.publish(folder, Draft(kind=key.kind, digest=key.digest, **more))


def _outcome(folder: Path, shard: str | None = "shard", whole: str | None = "whole") -> Outcome:
    folder.mkdir()
    store = open_store(str(folder / "store"), folder / "seen")
    if shard is not None:
        _publish(store, folder / "1", SHARD, "rows", shard)
    if whole is not None:
        _publish(store, folder / "2", WHOLE, "rows", whole, shards=(str(SHARD),))
    _publish(store, folder / "3", REPORT, "report.html", "<p>")
    return Outcome.of(store)


def test_a_shard_may_be_gone_once_it_is_joined_and_nothing_else(tmp_path):
    calm = _outcome(tmp_path / "calm")
    assert _outcome(tmp_path / "same").differences(calm) == []
    assert _outcome(tmp_path / "joined", shard=None).differences(calm) == []
    assert _outcome(tmp_path / "other", shard="flipped").differences(calm) == [str(SHARD)]
    assert _outcome(tmp_path / "unjoined", whole=None).differences(calm) == [str(WHOLE)]
    assert _outcome(tmp_path / "nothing", shard=None, whole=None).differences(calm) == [
        str(SHARD),
        str(WHOLE),
    ]
