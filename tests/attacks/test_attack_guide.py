"""The Python of the guide runs as it is printed, and its table knows every attack."""

import re
from pathlib import Path

import numpy as np
import torch

from mmer_core import attacks
from mmer_core.attacks import ATTACKS, write_changes

GUIDE = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text()


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


def test_the_tables_name_every_attack_and_only_criteria_that_are_there():
    rows = dict(re.findall(r"^\| `([\w-]+)` \| `(\w+)` \|", GUIDE, re.M))
    assert rows == {name: attack.__name__ for name, attack in ATTACKS.items()}
    for name in re.findall(r"^\| `([A-Z]\w+)`", GUIDE, re.M):
        assert hasattr(attacks, name)
    for attack in ATTACKS.values():
        printed = re.findall(r"(\w+)=", repr(attack()))
        line = next(line for line in GUIDE.splitlines() if f"`{attack.__name__}` |" in line)
        assert all(f"`{parameter}`" in line for parameter in printed)
