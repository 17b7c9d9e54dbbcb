"""The check of a machine's GPU, where there is none, and in miniature on devices that there are."""

import json
from pathlib import Path

import pytest
import torch
from support.simulated_cuda import simulated_cuda
from support.single_thread import one_thread

from benchmarks import gpu_check
from benchmarks.result import finish

__all__ = ["one_thread"]
SMALL = gpu_check.Size(side=32, images=2, queries=4, photos=16, epochs=1, hidden=16, batch=4, few=2)


def test_without_a_gpu_it_says_so_in_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu_check.app([], result_action="return_value")
    assert capsys.readouterr().out == gpu_check.NO_GPU + "\n"


@pytest.mark.long
def test_it_measures_and_writes_its_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu_check._rate, "__defaults__", (0.0,))
    monkeypatch.setattr(gpu_check, "ATTACKED", ("sparse-rs",))
    with simulated_cuda() as counts:
        rows, ratios = gpu_check.measure(torch.device("cuda", 0), SMALL)
    assert counts.kernels
    finish("gpu_check", rows, ratios, tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert {row["what"] for row in found["rows"]} >= {
        "dense forward pass, TF32",
        "sparse-rs",
        "six convolutions at 32, 2 a pass, compiled",
        "training, bfloat16",
    }
    assert all(row["per second"] > 0 for row in found["rows"])
    assert len(found["ratios"]) == 2 + 4 + 3
