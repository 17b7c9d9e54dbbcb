"""The guide's tables of promises and of faults name tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
GUIDE = TESTS.parent / "docs" / "operations.md"


def test_every_promise_and_every_fault_has_its_tests() -> None:
    rows = re.findall(r"^\| ([^|]+) \| (`test_.+) \|$", GUIDE.read_text(), re.M)
    there = set(re.findall(r"def (test_\w+)", "".join(path.read_text() for path in TESTS.rglob("test_*.py"))))
    assert len(rows) == 24 + 19
    for promise, tests in rows:
        assert set(re.findall(r"`(test_\w+)`", tests)) <= there, promise
