"""Which device a context computes on, and what it says of others."""

import torch

from mmer_core.config import RuntimeConfig
from mmer_core.stages import Context, context


def test_gpus_that_idle_are_named_once(monkeypatch, caplog) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    context._say_that_others_idle.cache_clear()
    for name, device in (("cuda:1", "cuda:1"), ("auto", "cuda"), ("cuda", "cuda")):
        assert Context(RuntimeConfig(device=name)).device == torch.device(device)
    assert [record.message for record in caplog.records] == [
        "this process computes on one of 2 GPUs: --engine processes --workers 2 uses all of them, and where encoders are tuned "
        "--finetune.processes 2"
    ]
