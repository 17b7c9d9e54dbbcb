"""One finished study for all tests here, and the command line run in this process."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from filelock import FileLock
from prefect.client.orchestration import SyncPrefectClient, get_client
from support.prefect_place import prefect_place
from support.small_pipeline import Study, created, small_config

import mmer_core.threads
from flows import jobs
from flows.cli import main
from mmer_core.store import ArtifactKey


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors on a busy machine: threads would wait for each other for most of the time.

    The processes that tests start do the same, so that floating-point sums have the same order.
    """
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(mmer_core.threads, "_default", lambda: 1)
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server, which this process talks to."""
    with prefect_place(tmp_path_factory.mktemp("prefect")) as (api, _):
        yield api


@pytest.fixture
def client(prefect_api: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as connected:
        yield connected


@pytest.fixture(scope="session")
def study(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The small pipeline, run once as plain Python, without a break; each process of the tests has a copy of its own."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    report = shared / "report.txt"
    with FileLock(shared / "study.lock"):
        if not report.exists():
            made = jobs.pipeline.fn(small_config(shared / "made"))
            report.write_text(made)
    shutil.copytree(shared / "made", own / "study")
    # Before any test adds to it. Besides what was fetched there, a finished run leaves no unfinished work.
    unfinished = tuple(path.name for path in (own / "study" / "work").iterdir() if path.name != "fetched")
    return Study(small_config(own / "study"), ArtifactKey.parse(report.read_text()), unfinished)


@contextmanager
def restored(study: Study) -> Iterator[None]:
    """What is added to the study is taken out again: others count what is there."""
    before = created(study.store)
    yield
    for key in created(study.store).keys() - before.keys():
        study.store.delete(key)


@pytest.fixture
def as_it_was(study: Study) -> Iterator[None]:
    """The study, after a test, without what the test has added."""
    with restored(study):
        yield


@pytest.fixture(scope="module")
def as_it_was_before(study: Study) -> Iterator[None]:
    """The same after all tests of a file."""
    with restored(study):
        yield


@dataclass(frozen=True)
class Answer:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def mmer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Run ``mmer ARGUMENTS`` in this process."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
        return Answer(code, *capsys.readouterr())

    return run
