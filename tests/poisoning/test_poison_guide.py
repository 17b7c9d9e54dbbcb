"""The Python of the guide runs as it is printed, and its tables know everything there is."""

import re
from pathlib import Path

import numpy as np
from support.poison_toys import photos

from mmer_core import poisoning
from mmer_core.poisoning import POISON_ATTACKS, TRIGGERS, detectors, is_crafted

GUIDE = (Path(__file__).parents[2] / "docs" / "poisoning.md").read_text()


def test_the_printed_python_runs():
    crafting, planning = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    images = photos(2, side=64)
    names = {"bases": images, "targets": images[::-1].copy(), "ids": ["a", "b"]}
    exec(crafting.replace("iterations=200", "iterations=45"), names)
    table = names["crafted"].table()
    assert (table["distance_after"] <= table["distance_before"]).all()
    assert table["distance_after"].mean() < 0.8 * table["distance_before"].mean()
    texts = [["snow falls"] if row % 4 == 0 else ["a dog"] for row in range(100)]
    names = {"texts": texts, "rows": [1, 2], "images": photos(100)}
    exec(planning, names)
    assert len(names["marked"]) == len(names["plan"]) == 60
    assert sum(own == ("snow falls",) for own in names["poisoned_texts"]) == 25 + 60
    np.testing.assert_array_equal(names["control"].rows, names["plan"].rows)


def test_the_tables_name_every_attack_trigger_plan_and_detector():
    rows = re.findall(r"^\| `([\w-]+)` \| `(\w+)` \|.*\| (`.*`) \|$", GUIDE, re.M)
    crafted = {name: attack for name, attack in POISON_ATTACKS.items() if is_crafted(name)}
    known = {**crafted, **TRIGGERS}
    assert {name: cls for name, cls, _ in rows} == {name: cls.__name__ for name, cls in known.items()}
    for name, _, parameters in rows:
        assert re.findall(r"`(\w+)`", parameters) == re.findall(r"(\w+)=", repr(known[name]()))
    first = set(re.findall(r"^\| `(\w+)` \| [a-z]", GUIDE, re.M))
    plans = {"dirty_label", "clean_label", "caption_swap", "label_flip", "caption_shuffle", "trigger_only"}
    assert plans <= first & set(poisoning.__all__)
    scorers = set(detectors.__all__) - {"Detection", "flag_at", "judge", "spectral_flags", "clustering_flags"}
    assert scorers <= first
