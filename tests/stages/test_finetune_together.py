"""Tuning encoders in several processes gives what one process gives, and ends with a sentence when one of them dies."""

import importlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from support.hf_folders import build
from support.tuned import Killed, context, small

from mmer_core.config import EncoderConfig, FinetuneConfig, RuntimeConfig
from mmer_core.errors import ConfigError, EngineError
from mmer_core.stages import Context, finetune, ingest
from mmer_core.store import Artifact, ArtifactKey
from mmer_core.training import ranks

pytestmark = pytest.mark.long

finetuning = importlib.import_module("mmer_core.stages.finetune")  # the package has the stage by this name

TUNING = FinetuneConfig(epochs=2, rank=4, batch_size=9, learning_rate=2e-3, seed=3)
"""Batches of 9 are cut unequally by two processes."""


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> dict[str, EncoderConfig]:
    folder = {name: f"hf:{build(name, tmp_path_factory.mktemp(name))}" for name in ("clip", "vit", "bert")}
    return {
        "flickr8k": EncoderConfig(image=folder["clip"], text=folder["clip"], image_size=32),
        "emotic": EncoderConfig(image=folder["vit"], text=folder["bert"], image_size=32),
    }


@pytest.fixture
def prepared(tmp_path):
    def make(dataset: str, name: str) -> tuple[Path, ArtifactKey]:
        folder = tmp_path / name
        return folder, ingest(context(folder), small(dataset)).key

    return make


def together(count: int, **changes: object) -> FinetuneConfig:
    return TUNING.model_copy(update={"processes": count, **changes})


def assert_same_within_rounding(one: Artifact, other: Artifact) -> None:
    assert one.key == other.key
    assert {entry.path for entry in one.manifest.files} == {entry.path for entry in other.manifest.files}
    first, second = (pd.read_csv(artifact.folder / "history.csv") for artifact in (one, other))
    losses = [name for name in first if name.startswith("train_")]
    assert losses
    np.testing.assert_allclose(first[losses], second[losses], rtol=1e-4)
    for path in one.folder.glob("*.safetensors"):
        expected, found = load_file(path), load_file(other.folder / path.name)
        for name, value in expected.items():
            # Adam's first steps divide a gradient by its own size, which amplifies rounding where it is near zero.
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("dataset", "method", "count"), [("flickr8k", "lora", 2), ("emotic", "last", 3)])
def test_several_processes_learn_what_one_learns(prepared, encoders, dataset, method, count):
    (here, key), (there, same) = prepared(dataset, "one"), prepared(dataset, "several")
    assert key == same
    alone = finetune(context(here), together(1, method=method), encoders[dataset], key)
    shared = finetune(context(there), together(count, method=method), encoders[dataset], key)
    assert not shared.reused
    assert_same_within_rounding(alone, shared)
    assert alone.manifest.used["config"]["processes"] == 1
    assert shared.manifest.used["config"]["processes"] == count
    assert shared.manifest.used["runtime"]["device"] == alone.manifest.used["runtime"]["device"] == "cpu"


@pytest.mark.long
def test_processes_killed_after_every_epoch_go_on(prepared, encoders):
    (here, key), (there, _) = prepared("flickr8k", "killed"), prepared("flickr8k", "whole")

    def killer(done: float, total: int, note: str = "") -> None:
        raise Killed

    for _ in range(TUNING.epochs):
        with pytest.raises(Killed):
            finetune(context(here, progress=killer), together(2), encoders["flickr8k"], key)
    # What was begun in two processes can also be ended in one.
    ended = finetune(context(here), together(1), encoders["flickr8k"], key)
    whole = finetune(context(there), together(2), encoders["flickr8k"], key)
    assert [entry.sha256 for entry in ended.manifest.files] == [
        entry.sha256 for entry in whole.manifest.files
    ]


def others() -> list[int]:
    """The processes that tune, in the order in which they were started."""
    mine = [int(one) for one in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    return [pid for pid in sorted(mine) if b"finetune_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
@pytest.mark.parametrize("victim", [1])
def test_a_process_that_dies_ends_the_run_with_a_sentence(prepared, encoders, victim):
    folder, key = prepared("flickr8k", "dying")
    begun = []

    def kill_one(done: float, total: int, note: str = "") -> None:
        begun.append(others())
        os.kill(begun[0][victim], signal.SIGKILL)

    config = together(2, epochs=500)
    with pytest.raises(
        EngineError, match=rf"process {victim} of the 2 .* ended by SIGKILL.*give the command again"
    ):
        finetune(context(folder, progress=kill_one), config, encoders["flickr8k"], key)
    assert len(begun[0]) == 2
    assert not others()


def test_what_one_process_refuses_is_the_error(prepared, encoders):
    folder, key = prepared("flickr8k", "diverging")
    with pytest.raises(ConfigError, match=r"diverged in epoch 1.*--finetune\.learning-rate"):
        finetune(context(folder), together(2, learning_rate=1e6), encoders["flickr8k"], key)


def test_more_processes_than_gpus_are_refused(monkeypatch, prepared, encoders):
    folder, key = prepared("flickr8k", "gpus")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(finetuning, "select_device", torch.device)
    for device, count, cure in (
        ("cuda", 3, "finetune.processes 2"),
        ("cuda:1", 2, "device cuda"),
        ("mps", 2, "device cpu"),
    ):
        runtime = context(folder).runtime.model_copy(update={"device": device})
        with pytest.raises(ConfigError, match=f"give --{re.escape(cure)}"):
            finetune(Context(runtime), together(count), encoders["flickr8k"], key)


def test_a_launched_process_takes_its_own_gpu_and_only_the_first_tells(monkeypatch):
    monkeypatch.setattr(ranks, "select_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    there = {"RANK": 5, "WORLD_SIZE": 8, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 4}
    for name, value in {**there, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 29500}.items():
        monkeypatch.setenv(name, str(value))
    place = ranks.launched()
    assert place == ranks.Place(5, 8)
    own = ranks.own_runtime(RuntimeConfig(device="cuda"), place)
    assert (own.device, own.quiet) == ("cuda:1", True)
    with pytest.raises(ConfigError, match="give --device cuda"):
        ranks.own_runtime(RuntimeConfig(device="cuda:0"), place)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match=r"4 processes .* has 2 GPUs.*--nproc-per-node 2"):
        ranks.own_runtime(RuntimeConfig(device="cuda"), place)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert ranks.launched() is None


@pytest.mark.parametrize(
    "wrong", [{"MASTER_ADDR": ""}, {"MASTER_PORT": "x"}, {"RANK": "2"}, {"RANK": "-1"}, {"WORLD_SIZE": "two"}]
)
def test_half_of_a_launchers_environment_is_refused_in_words(monkeypatch, wrong):
    there = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for name, value in (there | wrong).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        ConfigError, match=r"not where they meet \(RANK=.*start mmer with torchrun, or unset RANK"
    ):
        ranks.launched()


def test_processes_that_do_not_meet_say_so(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with (
        pytest.raises(EngineError, match=r"process 0 did not meet the other 1 .* see that all were started"),
        ranks.joined(ranks.Place(0, 2), torch.device("cpu")),
    ):
        pass


@pytest.mark.integration
def test_torchrun_starts_the_command_in_every_process(prepared, encoders):
    """As on several machines: each process runs the whole command, and one of them makes and prints."""
    folder, key = prepared("flickr8k", "one")
    alone = finetune(context(folder), together(1), encoders["flickr8k"], key)
    elsewhere, _ = prepared("flickr8k", "launched")
    settings = {
        name: getattr(TUNING, name) for name in ("epochs", "rank", "batch_size", "learning_rate", "seed")
    }
    flags = [
        word
        for name, value in settings.items()
        for word in (f"--finetune.{name.replace('_', '-')}", str(value))
    ]
    image = encoders["flickr8k"].image
    command = [
        *(
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            "-m",
            "flows.cli",
        ),
        *("finetune", "--prepared", str(key), "--encoders.image", image, "--encoders.text", image),
        *("--encoders.image-size", "32", "--device", "cpu", *flags),
        *("--store", str(elsewhere / "store"), "--work", str(elsewhere / "work")),
    ]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else None
    for _ in range(2):  # made, and found
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines().count(f"adapted:{alone.key}") == 1
    assert_same_within_rounding(alone, context(elsewhere).artifact(alone.key))
