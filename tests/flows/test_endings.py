"""However a command ends, it says so in one sentence, with an exit code that fits."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from flows.cli import main
from mmer_core.config import RuntimeConfig
from mmer_core.errors import DatasetError
from mmer_core.progress import silent
from tasks import logs
from tasks.decorators import task
from tasks.running import fan_out

FULL = "mmer: cannot write to standard output (No space left on device)"
CLOSED = "mmer: cannot write to standard output (Bad file descriptor)"
MUCH = "print('caf\\u00e9 \\u00b1 \\ud800 ' * 20_000)"


def around(command: str, shell: str = "", **env: str) -> tuple[int, str, str]:
    """Run the entry point of `mmer` around a small command, which costs no imports; ``shell`` redirects its streams."""
    script = (
        "import sys, types\n"
        f"def run(tokens):\n    {command}\n"
        "sys.modules['flows.commands'] = types.SimpleNamespace(run=run)\n"
        "from flows.cli import main\nmain()\n"
    )
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$0" -c "$1" {shell}', sys.executable, script],
        env={**os.environ, **env},
        capture_output=True,
        encoding="latin-1",
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("command", "shell", "code", "message"),
    [
        (MUCH, "| head -c 5", 141, ""),
        (MUCH, "2>&1 | head -c 5", 141, ""),
        ("print('a word')", "> /dev/full", 1, FULL),
        (MUCH, "> /dev/full", 1, FULL),
        ("print('a word'); raise SystemExit(3)", "> /dev/full", 1, FULL),
        ("print('a word')", ">&-", 1, CLOSED),
        ("print('a word')", "<&- >&- 2>&-", 1, ""),
        ("print('a word'); print('another', file=sys.stderr)", "2>&-", 0, ""),
        ("print('a word'); print('another', file=sys.stderr)", "2> /dev/full", 0, ""),
        ("open('f.txt', 'x').close(); print('a word')", ">&- 2>&-", 1, ""),
        ("raise BrokenPipeError('a worker is gone')", "", 1, "mmer: a worker is gone"),
    ],
)
def test_output_that_goes_nowhere(
    command: str, shell: str, code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.chdir(tmp_path)
    ended, _, error = around(command, shell)
    assert ended == code, error
    assert error.startswith(message)
    assert len(error.splitlines()) == bool(message)


@pytest.mark.parametrize(
    "env", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "POSIX"}, {"PYTHONIOENCODING": "latin-1:strict"}]
)
def test_what_a_terminal_cannot_show_is_shown_with_backslashes(env: dict[str, str]) -> None:
    command = "print('\\u2026 \\ud800 \\U0001f600'); from rich.table import Table; from rich.console import Console\n"
    command += "    Console().print(Table('\\u00b1 \\u2026'))\n    raise ValueError('\\u2014')"
    code, out, error = around(command, **{"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **env})
    assert code == 1
    assert "\\u2026 \\ud800 \\U0001f600" in out
    assert error.startswith("mmer: ValueError: \\u2014; this is a bug in mmer")
    assert len(error.splitlines()) == 1


def as_by_itself(monkeypatch: pytest.MonkeyPatch, form: str | None) -> None:
    """Without a server, and with logs as a command by itself finds them, in a form that MMER_LOG asks for."""
    mmer = logging.getLogger("mmer")
    monkeypatch.setattr(mmer, "handlers", [logging.NullHandler()])
    monkeypatch.setattr(mmer, "propagate", True)
    for name in ("PREFECT_API_URL", "MMER_LOG"):
        monkeypatch.delenv(name, raising=False)
    if form:
        monkeypatch.setenv("MMER_LOG", form)


def caught(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has a handler of SIGTERM, long before it has imported torch."""
    while process.poll() is None:
        mask = next(
            line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "SigCgt" in line
        )
        if int(mask.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks at /proc")
@pytest.mark.parametrize(
    ("number", "code", "message"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")],
)
def test_an_interruption_of_the_imports(number: int, code: int, message: str) -> None:
    command = [sys.executable, "-m", "flows.cli", "ingest", "--root", "nowhere"]  # imports for seconds
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        caught(process)
        time.sleep(0.2)
        process.send_signal(number)
        out, error = process.communicate()
    assert (process.returncode, out) == (code, b"")
    assert error.decode() == f"mmer: {message}; run the same command again to go on where it stopped\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_of_source_text_that_is_run_by_exec(number: int, code: int, tmp_path: Path) -> None:
    """As while a dataclass is made: Python would end a module run by ``-m`` by its own SIGINT then."""
    (tmp_path / "interrupted.py").write_text(
        "import signal, sys, types\n"
        f"run = lambda tokens: exec('signal.raise_signal({number})', {{'signal': signal}})\n"
        "sys.modules['flows.commands'] = types.SimpleNamespace(run=run)\n"
        "from flows.cli import main\nmain()\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1)


@pytest.mark.parametrize(
    ("form", "number", "code"), [(None, signal.SIGINT, 130), ("json", signal.SIGTERM, 143)]
)
def test_an_interruption_of_the_work(form: str | None, number: int, code: int, tmp_path: Path) -> None:
    """The signal comes while photos are decoded in threads; nothing is published.

    In a process of its own: the threads are not waited for, and would go on in that of the tests.
    """
    store, work = tmp_path / "store", tmp_path / "work"
    command = [sys.executable, "-m", "flows.cli", "ingest", "--synthetic.images", "400"]
    command += ["--store", str(store), "--work", str(work)]
    env = {name: value for name, value in os.environ.items() if name not in ("MMER_LOG", "PREFECT_API_URL")}
    env |= {"MMER_LOG": form} if form else {}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not list(work.glob("prepared-*/out")):
            time.sleep(0.005)
        process.send_signal(number)
        _, error = process.communicate()
    assert process.returncode == code, error
    assert not list(store.glob("artifacts/*/*"))
    lines = error.decode().splitlines()
    message = [line for line in lines if "run the same command again" in line]
    assert message == lines[-1:]
    if form == "json":
        record = json.loads(message[0])
        assert (record["level"], record["exit_code"]) == ("error", code)
    else:
        assert message[0].startswith("mmer: ")


_finished: list[float] = []


@task()
def _shard(runtime: RuntimeConfig, seconds: float) -> None:
    if not seconds:
        raise KeyboardInterrupt
    time.sleep(seconds)
    _finished.append(seconds)


def test_shards_that_run_are_not_waited_for_after_an_interruption() -> None:
    with pytest.raises(KeyboardInterrupt):
        fan_out(
            _shard,
            [20.0, 0.0, 20.0],
            lambda runtime, seconds: (runtime, seconds),
            RuntimeConfig(workers=2),
            silent,
        )
    assert not _finished


def test_prefect_shows_no_traceback_of_an_error_and_leaves_its_telling_to_the_command() -> None:
    logs.start()
    (handler,) = (one for one in logging.root.handlers if isinstance(one, PrefectConsoleHandler))
    runs = logging.getLogger("prefect.flow_runs")
    known = (DatasetError, DatasetError("the folder is empty"), None)
    fault = (ValueError, ValueError("a fault"), None)
    shown = []
    for message, exc_info in (
        ("Task run failed with exception: DatasetError - Retry 1/2 will start", known),
        ("Encountered exception during execution: DatasetError", known),
        ("Finished in state Failed('the folder is empty')", None),
        ("Finished in state Completed()", None),
        ("Encountered exception during execution: ValueError", fault),
    ):
        record = runs.makeRecord(runs.name, logging.ERROR, "", 0, message, (), exc_info)
        if handler.filter(record):
            shown.append((message.split()[0], record.exc_info is not None))
    assert shown == [("Task", False), ("Finished", False), ("Encountered", True)]


@pytest.mark.parametrize("form", [None, "text", "json"])
def test_an_error_is_told_once(
    form: str | None, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_by_itself(monkeypatch, form)
    (tmp_path / "raw").mkdir()
    with pytest.raises(SystemExit) as end:
        main(["ingest", "flickr8k", "--root", str(tmp_path / "raw"), "--store", str(tmp_path / "store")])
    assert end.value.code == 1
    error = capfd.readouterr().err
    if form == "json":
        error = "\n".join(str(json.loads(line)["message"]) for line in error.splitlines())
    assert error.count("holds no captions") == 1
    assert "Traceback" not in error
