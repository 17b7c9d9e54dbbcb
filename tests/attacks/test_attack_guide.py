"""The Python of the guide runs as it is printed, and the reference has every attack."""

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from mmer_core import attacks
from mmer_core.attacks import ATTACKS, write_changes

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "attacks.md").read_text()


def test_the_printed_python_attacks_a_torch_classifier():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 8, stride=8), torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten()
    )
    images = np.random.default_rng(0).integers(100, 150, (2, 224, 224, 3), dtype=np.uint8)
    names = {"network": network, "images": images, "ids": ["a", "b"]}
    attack, mapping = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    exec("from mmer_core.attacks import ClassifierVictim\n" + attack.splitlines()[2], names)
    scores = names["victim"].scores(torch.from_numpy(images), torch.arange(2))
    names["labels"] = scores.argmax(dim=1).numpy()
    exec(attack.replace("budget=1000", "budget=200"), names)
    for image, label, outcome in zip(images, names["labels"], names["outcomes"], strict=True):
        attacked = torch.from_numpy(write_changes(image, outcome.changed)[None])
        top = int(names["victim"].scores(attacked, torch.tensor([0])).argmax())
        assert (outcome.status == "fooled") == (top != label)
    exec(mapping.replace("stride=4", "stride=60"), names)
    assert names["found"].margins.shape == (224, 224)
    assert names["found"].queries == 4 * 4 * 8


def test_the_table_names_only_criteria_that_are_there():
    named = re.findall(r"^\| `([A-Z]\w+)`", GUIDE, re.M)
    assert "DominantEmotionFlip" in named
    assert all(hasattr(attacks, name) for name in named)


def test_the_reference_has_every_attack():
    spec = importlib.util.spec_from_file_location("site_files", DOCS / "site_files.py")
    site_files = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(site_files)
    page = SimpleNamespace(file=SimpleNamespace(src_uri="api/attacks.md"))
    text = site_files.on_page_markdown((DOCS / "api" / "attacks.md").read_text("utf-8"), page)
    for attack in ATTACKS.values():
        assert f"\n::: {attack.__module__}.{attack.__name__}\n" in text
