"""Prepared images that are kept compressed, against arrays of the same dataset."""

import numpy as np
import pytest

from mmer_core.config import DatasetCardConfig, EncoderConfig, IngestConfig, RuntimeConfig, SyntheticConfig
from mmer_core.datasets.packed import PackedPictures
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import FeatureShard
from mmer_core.stages import Context
from mmer_core.stages.dataset_card import dataset_card
from mmer_core.stages.features import encode_shard
from mmer_core.stages.ingest import ingest
from mmer_core.store import Artifact


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Context, Artifact]]:
    made = {}
    for form in ("npy", "webp"):
        place = tmp_path_factory.mktemp(form)
        context = Context(RuntimeConfig(store=str(place / "store"), device="cpu"))
        drawn = SyntheticConfig(images=30)
        config = IngestConfig(
            dataset="emotic", synthetic=drawn, context_size=64, body_size=48, prepared_format=form
        )
        made[form] = context, ingest(context, config)
    return made


def test_the_same_pictures_under_the_same_key_in_less_space(both) -> None:
    (_, arrays), (_, packed) = both["npy"], both["webp"]
    assert arrays.key == packed.key
    assert packed.manifest.used["config"] == {"prepared_format": "webp"}
    assert not list(packed.folder.glob("*_context_arr.npy"))
    whole, less = (
        sum(path.stat().st_size for path in one.folder.glob("*_context_*")) for one in (arrays, packed)
    )
    assert less < 0.8 * whole
    one, other = Prepared.open(arrays.folder), Prepared.open(packed.folder)
    for name in one.card.splits:
        assert one.split(name).streams == other.split(name).streams == ("context", "body")
        for stream in ("context", "body"):
            expected, found = one.split(name).images(stream), other.split(name).images(stream)
            assert isinstance(found, PackedPictures)
            assert (found.shape, len(found)) == (expected.shape, len(expected))
            rows = np.random.default_rng(0).permutation(len(expected))
            for picked in (
                0,
                -1,
                np.int64(0),
                slice(None),
                slice(1, 3),
                slice(0, 0),
                rows,
                rows.tolist(),
                [],
            ):
                np.testing.assert_array_equal(found[picked], expected[picked])
            np.testing.assert_array_equal(np.asarray(found), expected)
            with pytest.raises(IndexError):
                found[len(found)]


def test_features_and_cards_are_the_same_bits(both) -> None:
    encoders = EncoderConfig(image="packaged:efficientnet_lite0", image_size=32)
    made = []
    for context, prepared in both.values():
        shards = [
            encode_shard(context, encoders, prepared.key, FeatureShard("train", name, 0, 5))
            for name in ("context", "body")
        ]
        card = dataset_card(context, DatasetCardConfig(samples=4), prepared.key)
        made.append(
            [(one.key, [(file.path, file.sha256) for file in one.manifest.files]) for one in (*shards, card)]
        )
    assert made[0] == made[1]
