"""The pipeline through the command line, with its artifacts on a real S3 server."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.small_pipeline import Study, created, digests, one_dataset

from mmer_core.store import open_store

pytestmark = [pytest.mark.integration, pytest.mark.long]


def test_pipeline_on_s3(study: Study, s3_url: str, tmp_path: Path, mmer: Callable) -> None:
    where = ["--store", s3_url, "--work", str(tmp_path / "work")]
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "flows.cli",
            "pipeline",
            "--config",
            one_dataset(tmp_path, "flickr8k"),
            "--families=joint",
            *where,
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Warning" not in ended.stderr
    printed = Path(ended.stdout.splitlines()[-1])
    assert printed.name == "report.html"

    store = open_store(s3_url, cache=tmp_path / "cache")
    # Another process, another store, the same keys and the same bytes.
    for manifest in store.list():
        if manifest.kind != "report":
            assert digests(manifest) == digests(study.store.manifest(manifest.key)), manifest.key
    made = created(store)
    # One family has no other that its attackers' successes could be shown to; captions have no labels to probe.
    assert {key.kind for key in made} == {key.kind for key in created(study.store)} - {"transfer", "probe"}

    report = store.manifest(store.find("report"))
    folder = tmp_path / "fetched"
    assert mmer("artifacts", "fetch", "report", "--to", folder, *where).out.strip() == str(folder)
    sha256 = hashlib.sha256((folder / "report.html").read_bytes()).hexdigest()
    assert sha256 == digests(report)["report.html"]
    assert sha256 == hashlib.sha256(printed.read_bytes()).hexdigest()
    again = mmer("artifacts", "fetch", "report", "--to", folder, *where)
    assert again.code == 1
    assert "exists already" in again.err

    listed = mmer("artifacts", "ls", "--shards", *where).out
    assert all(str(key) in listed for key in made)
    *rows, last = mmer("artifacts", "ls", *where).out.splitlines()
    first = {str(key) for key in made if not key.kind.endswith(("-plan", "-shard"))}
    assert {row.split()[0] for row in rows[1:]} == first
    assert last == f"and {len(made) - len(first)} plans and shards: --shards lists them"
    verified = mmer("artifacts", "verify", *where)
    assert verified.code == 0
    assert f"{len(made)} artifacts are intact" in verified.out
