"""Features in shards against features in one piece, and against one image at a time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.encoder_helpers import pictures
from torch import nn

from mmer_core.datasets.prepared import CARD_FILE, DatasetSummary, Prepared
from mmer_core.encoders import ImageEncoder, TextEncoder
from mmer_core.encoders import features as encoding
from mmer_core.encoders.base import Preprocessing
from mmer_core.encoders.features import Features, encode_shard, merge_shards, plan_shards

COUNTS = {"train": 23, "val": 0, "test": 5}
TEXTS_OF = {"train": 41, "test": 0}


class ChannelMeans(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


class Lengths(nn.Module):
    def forward(self, length: torch.Tensor) -> torch.Tensor:
        return torch.stack([length, length**2], dim=1).float()


IMAGE_ENCODER = ImageEncoder("means", ChannelMeans(), Preprocessing(4, (0.0,) * 3, (1.0,) * 3), width=3)
TEXT_ENCODER = TextEncoder(
    "lengths", Lengths(), lambda texts: {"length": torch.tensor([len(text) for text in texts])}, width=2
)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    folder = tmp_path / "prepared"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        if not count:
            continue
        np.save(folder / f"{split}_context_arr.npy", pictures(count, 4, seed=count))
        np.save(folder / f"{split}_body_arr.npy", pictures(count, 8, seed=count + 1))
        texts = pd.DataFrame(
            {
                "Sample": rng.integers(0, count, TEXTS_OF[split]),
                "Text": ["x" * n for n in rng.integers(1, 90, TEXTS_OF[split])],
                "Provenance": "dataset",
            }
        )
        texts.to_csv(folder / f"{split}_texts.csv", index=False)
    card = DatasetSummary(
        name="toy", task="emotion", labels=(), counts=COUNTS, texts=TEXTS_OF, quarantined={}, inputs=28,
        protocol="corrected", synthetic=True,
    )  # fmt: skip
    card.write(folder / CARD_FILE)
    return Prepared.open(folder)


def features(prepared: Prepared, shard_size: int, out: Path, batch_size: int = 4) -> Features:
    parts = []
    out.mkdir()
    for number, shard in enumerate(plan_shards(prepared, shard_size)):
        part = out / f"shard{number}"
        part.mkdir()
        encoder = TEXT_ENCODER if shard.modality == "text" else IMAGE_ENCODER
        split = prepared.split(shard.split)
        said = encode_shard(shard, split, encoder, part, batch_size=batch_size)
        assert (said.rows, said.width) == (shard.stop - shard.start, encoder.width)
        parts.append((shard, part))
    # Shards are done in any order.
    widths = merge_shards(parts[::-1], out)
    assert widths.model_extra == {"context": 3, "body": 3, "text": 2}
    return Features(out)


STREAMS = [("train", "context"), ("train", "body"), ("train", "text"), ("test", "context"), ("test", "body")]


def test_shards_merge_to_what_one_shard_holds(prepared, tmp_path):
    whole, cut = features(prepared, 1000, tmp_path / "whole"), features(prepared, 3, tmp_path / "cut")
    assert whole.widths == cut.widths == {"context": 3, "body": 3, "text": 2}
    for split, stream in STREAMS:
        assert cut.load(split, stream).dtype == np.float32
        np.testing.assert_array_equal(whole.load(split, stream), cut.load(split, stream))


def test_row_i_is_sample_i(prepared, tmp_path):
    made = features(prepared, 5, tmp_path / "features", batch_size=2)
    for split in ("train", "test"):
        images = prepared.split(split).images("context")
        np.testing.assert_allclose(made.load(split, "context"), images.mean(axis=(1, 2)), rtol=1e-5)
        # The body is larger than the input: its mean survives resizing, up to rounding.
        body = prepared.split(split).images("body")
        np.testing.assert_allclose(made.load(split, "body"), body.mean(axis=(1, 2)), atol=12)
    lengths = [len(text) for text in prepared.split("train").texts]
    assert made.load("train", "text").tolist() == [[n, n**2] for n in lengths]


def test_texts_share_batches_with_the_same_texts_however_they_are_cut(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "TEXTS_TOGETHER", 8)

    class Padded(nn.Module):
        def forward(self, length: torch.Tensor) -> torch.Tensor:
            return torch.stack([length, length.max().expand(len(length))], dim=1).float()

    monkeypatch.setattr(TEXT_ENCODER, "module", Padded())
    whole, cut = features(prepared, 1000, tmp_path / "whole"), features(prepared, 2, tmp_path / "cut")
    lengths = [len(text) for text in prepared.split("train").texts]
    longest = [max(lengths[row // 8 * 8 :][:8]) for row in range(len(lengths))]
    assert cut.load("train", "text").tolist() == [[n, most] for n, most in zip(lengths, longest, strict=True)]
    np.testing.assert_array_equal(whole.load("train", "text"), cut.load("train", "text"))


@pytest.mark.parametrize("shard_size", [1, 2, 3, 7, 1000])
def test_shards_cover_every_row_once(prepared, shard_size):
    rows: dict[tuple[str, str], list[int]] = {}
    for shard in plan_shards(prepared, shard_size):
        rows.setdefault((shard.split, shard.stream), []).extend(range(shard.start, shard.stop))
        assert shard.stop - shard.start <= shard_size * (8 if shard.modality == "text" else 1)
    assert rows == {
        (split, stream): list(range(TEXTS_OF[split] if stream == "text" else COUNTS[split]))
        for split, stream in STREAMS
    }


def test_progress_ends_at_the_whole_shard(prepared, tmp_path):
    shard = next(shard for shard in plan_shards(prepared, 10) if shard.split == "train")
    seen = []
    encode_shard(
        shard,
        prepared.split(shard.split),
        IMAGE_ENCODER,
        tmp_path,
        batch_size=4,
        progress=lambda done, total, note="": seen.append((done, total)),
    )
    assert seen == [(4, 10), (8, 10), (10, 10)]


@pytest.mark.filterwarnings("error")
def test_memory_mapped_images_are_read_without_a_warning(prepared, tmp_path):
    read_only = np.zeros(1)
    read_only.flags.writeable = False
    torch.set_warn_always(True)  # else once a process, perhaps in an earlier test
    try:
        with pytest.raises(UserWarning, match="not writable"):
            torch.from_numpy(read_only)
        features(prepared, 1000, tmp_path / "features")
    finally:
        torch.set_warn_always(False)
