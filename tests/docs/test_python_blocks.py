"""The Python in README.md and the guides runs as it stands, with arrays as its text describes them; images and iterations are fewer."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from support.single_thread import one_thread

from mmer_core.retrieval import build
from mmer_core.retrieval.side_table import write_table

__all__ = ["one_thread"]

ROOT = Path(__file__).parents[2]
COUNT, SIDE = 3, 32
IDS = [f"photo-{number}" for number in range(COUNT)]


class Brightest(torch.nn.Module):
    """Two classes: photos without and with a bright pixel."""

    def forward(self, images):
        bright = images.amax(dim=(1, 2, 3))
        return torch.stack([-bright, bright], dim=1)


@pytest.fixture
def given(tmp_path):
    """What each page takes as given."""
    generator = np.random.default_rng(0)
    unit = np.eye(COUNT, 8, dtype=np.float32)
    build(tmp_path, "Flat", images=unit, image_ids=IDS, texts=unit, captions=IDS, text_image=np.arange(COUNT))
    write_table(tmp_path / "images.parquet", {"id": IDS, "caption": IDS, "split": ["train", "val", "val"]})
    images = generator.integers(0, 100, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)
    small = {
        name: generator.integers(0, 255, (1, 64, 64, 3), dtype=np.uint8) for name in ("bases", "targets")
    }
    texts = [[f"snow {number}" if number % 2 else f"grass {number}"] for number in range(200)]
    return {
        "README.md": {
            "network": Brightest(),
            "images": images[:1],
            "labels": np.zeros(1, int),
            "ids": IDS[:1],
        },
        "attacks.md": {
            "network": Brightest(),
            "images": images[:1],
            "labels": np.zeros(1, int),
            "ids": IDS[:1],
        },
        "search.md": {"folder": tmp_path, "queries": unit[:1]},
    } | {
        "poisoning.md": {
            "ids": IDS[:1],
            "texts": texts,
            "rows": [0, 1],
            "images": np.repeat(small["bases"], 200, 0),
        }
        | small
    }


@pytest.mark.parametrize("page", ["README.md", "docs/attacks.md", "docs/poisoning.md", "docs/search.md"])
def test_the_python_of_a_page_runs(page, given):
    space = given[Path(page).name]
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.M | re.S)
    assert blocks
    for block in blocks:
        exec(
            compile(block.replace("224", str(SIDE)).replace("iterations=200", "iterations=20"), page, "exec"),
            space,
        )
    for outcome in space.get("outcomes", ()):
        assert outcome.status == "fooled"  # one bright pixel is enough
    if "hits" in space:
        assert {hit.id for hit in space["hits"][0]} == set(IDS[1:])


def test_no_page_with_python_is_left_out():
    pages = {path.name for path in (ROOT / "docs").glob("*.md") if "```python" in path.read_text("utf-8")}
    # Run by test_extending.py, test_python_facade.py and test_notebook_layout.py.
    assert pages - {"extending.md", "python.md", "notebooks.md"} == {
        "attacks.md",
        "poisoning.md",
        "search.md",
    }
