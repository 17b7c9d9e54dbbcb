"""Every attack of the registry with the ``BATTERY`` of its test file, ``tests/attacks/test_<module>.py``."""

from importlib import import_module

import pytest

from mmer_core.attacks import ATTACKS
from support.attack_battery import Battery


def _battery(module: str) -> Battery:
    battery: Battery = import_module(f"test_{module.rpartition('.')[2]}").BATTERY
    return battery


ROWS = [_battery(attack.__module__) for attack in ATTACKS.values()]


def _each(rows: list[Battery]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("attack", [row.attack for row in rows], ids=repr)


each_attack = _each(ROWS)
each_wide_attack = _each([row for row in ROWS if row.wide])
each_drawn_attack = _each([row for row in ROWS if row.drawn])
