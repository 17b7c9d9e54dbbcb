"""A pickle inside a published file is never run, whatever reads that file."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mmer_core.datasets.prepared import DatasetSummary, PreparedSplit
from mmer_core.encoders.features import Features
from mmer_core.encoders.weights import read_checkpoint
from mmer_core.retrieval.index import RetrievalIndex


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.sign), "w")


def npy(path: Path, bomb: Bomb) -> None:
    np.save(path, np.array([bomb], dtype=object), allow_pickle=True)


def torch_file(path: Path, bomb: Bomb) -> None:
    torch.save({"state_dict": bomb}, path)


def bare(path: Path, bomb: Bomb) -> None:
    path.write_bytes(pickle.dumps(bomb, protocol=2))  # torch's own


@pytest.mark.parametrize("write", [torch_file, bare])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_weights(write: Callable[[Path, Bomb], None], name: str, tmp_path: Path) -> None:
    write(tmp_path / name, Bomb(tmp_path / "sign"))
    with pytest.raises(Exception, match="not a file of plain tensors"):
        read_checkpoint(tmp_path / name)
    assert not (tmp_path / "sign").exists()


@pytest.mark.parametrize("write", [npy, bare])
def test_arrays(write: Callable[[Path, Bomb], None], tmp_path: Path) -> None:
    for file in ("train_image.npy", "train_context_arr.npy", "train_cat_arr.npy"):
        write(tmp_path / file, Bomb(tmp_path / "sign"))
    card = DatasetSummary(
        name="pickles", task="emotion", labels=("calm",), counts={"train": 1}, texts={}, quarantined={}, inputs=1,
        protocol="corrected", synthetic=False,
    )  # fmt: skip
    split = PreparedSplit(tmp_path, "train", card)
    for load in (
        lambda: Features(tmp_path).load("train", "image"),
        lambda: split.images("context"),
        lambda: split.labels,
    ):
        with pytest.raises(ValueError, match=r"pickle|Python objects"):
            load()
    assert not (tmp_path / "sign").exists()


def test_indexes(tmp_path: Path) -> None:
    for file in ("image.faiss", "text.faiss", "images.parquet", "texts.parquet"):
        bare(tmp_path / file, Bomb(tmp_path / "sign"))
    with pytest.raises(RuntimeError, match="not recognized"):
        RetrievalIndex(tmp_path)
    assert not (tmp_path / "sign").exists()
