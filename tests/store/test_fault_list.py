"""The guide's table of faults names tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
GUIDE = TESTS.parent / "docs" / "operations.md"


def test_every_fault_has_its_tests() -> None:
    rows = re.findall(r"^\| ([^`|]+) \| (`test_.+) \|$", GUIDE.read_text(), re.M)
    there = set(re.findall(r"def (test_\w+)", "".join(path.read_text() for path in TESTS.rglob("test_*.py"))))
    assert len(rows) == 19
    for fault, tests in rows:
        assert set(re.findall(r"`(test_\w+)`", tests)) <= there, fault
