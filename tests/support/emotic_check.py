"""Compare what mmer wrote with the slow conversion of `emotic_reference`, value for value."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd

from mmer_core.config import IngestConfig
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.prepared import DatasetSummary
from mmer_core.taxonomy import SPLITS
from support.emotic_reference import convert

LISTS = ("Image Size", "BBox", "Categorical_Labels", "Continuous_Labels")


def check_against_reference(
    root: Path, protocol: str, folder: Path, sides: tuple[int, int]
) -> DatasetSummary:
    """Ingest a tree and assert that arrays, CSV and counts are those of the slow conversion."""
    config = IngestConfig(root=root, protocol=protocol, context_size=sides[0], body_size=sides[1])
    card = ingest(config, folder / "out", folder / "scratch", workers=2)
    inputs = 0
    for split in SPLITS:
        rows, annotated = convert(root, split, protocol, sides)
        inputs += annotated
        assert card.counts[split] == len(rows)
        if not rows:
            assert not list((folder / "out").glob(f"{split}*"))
            continue
        for position, name in enumerate(("context", "body", "cat", "cont")):
            array = np.load(folder / "out" / f"{split}_{name}_arr.npy", allow_pickle=False)
            expected = np.array([row[position] for row in rows])
            if protocol == "corrected" and name in ("context", "body"):
                # Pillow's filter in another implementation: rounding may differ by one level.
                assert array.shape == expected.shape
                assert np.abs(array.astype(int) - expected).max(initial=0) <= 1
            else:
                np.testing.assert_array_equal(array, expected, strict=name != "cat")
            assert np.isfinite(array).all()
        table = pd.read_csv(folder / "out" / f"{split}.csv", keep_default_na=False)
        assert list(table["Index"]) == list(range(len(rows)))
        for name in LISTS:
            table[name] = table[name].map(ast.literal_eval)
        for row, (_, got) in zip(rows, table.iterrows(), strict=True):
            assert {name: got[name] for name in row.csv} == row.csv
            (x1, y1, x2, y2), (width, height) = got["BBox"], got["Image Size"]
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
    quarantine = pd.read_csv(folder / "out" / "quarantine.csv", keep_default_na=False)
    assert len(quarantine) == sum(card.quarantined.values())
    assert card.inputs == inputs == sum(card.counts.values()) + len(quarantine)
    return card
