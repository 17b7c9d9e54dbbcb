"""A short campaign over every reader; ``make fuzz`` is the long one."""

import pytest

from tools.fuzz.campaign import Tally, run
from tools.fuzz.seeds import SEEDS

pytestmark = pytest.mark.integration


@pytest.mark.long
@pytest.mark.timeout(600)
def test_no_reader_breaks_a_rule(tmp_path):
    tallies = run(tuple(SEEDS), tmp_path, seed=1, seconds=300, inputs=12)
    assert [violation for tally in tallies.values() for violation in tally.violations] == []
    assert all(tally.accepted and tally.refused for tally in tallies.values()), tallies


def test_what_breaks_a_rule_is_counted_and_kept(tmp_path, monkeypatch, capsys):
    """With a reader that raises on some inputs, dies on others, and takes more than a gigabyte on others."""
    readers = tmp_path / "fuzz_readers.py"
    readers.write_text(
        "import os, signal\n"
        "from tools.fuzz import readers\n"
        "def read(folder):\n"
        "    first = (folder / 'q.txt').read_bytes()[:1]\n"
        "    if first == b'a': raise KeyError('a')\n"
        "    if first == b'b': os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if first == b'c': return bytearray(b'x') * (1200 * 2**20)\n"
        "readers.READERS['queries'] = read\n"
    )
    (tmp_path / "sitecustomize.py").write_text("import fuzz_readers\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from tools.fuzz import campaign
    from tools.fuzz.__main__ import show
    from tools.fuzz.seeds import Seed

    texts = (b"d", b"a", b"b", b"c")
    seeds = [Seed({"q.txt": text}, "q.txt") for text in texts]
    monkeypatch.setattr(campaign, "SEEDS", {"queries": lambda: seeds})
    tally: Tally = run(["queries"], tmp_path / "inputs", seed=0, seconds=60, inputs=0)["queries"]
    assert (tally.inputs, tally.accepted, tally.raised, tally.crashed) == (4, 2, 1, 1)
    raised, crashed, large = tally.violations
    assert "queries-sound-2: raised" in raised
    assert "KeyError: 'a'" in raised
    assert "queries-sound-3: crashed: SIGSEGV" in crashed
    assert "queries-sound-4: took 1" in large
    kept = sorted(path.read_bytes() for path in (tmp_path / "inputs").rglob("q.txt"))
    assert kept == [b"a", b"b", b"c"]
    show({"queries": tally})
    assert capsys.readouterr().out.splitlines()[1].split()[:6] == ["queries", "4", "2", "0", "1", "1"]
