"""One of the processes of this machine that tune encoders together: ``python -m mmer_core.stages.finetune_process``."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmer_core.config import EncoderConfig, FinetuneConfig
from mmer_core.heavy import torch
from mmer_core.progress import Progress
from mmer_core.stages.finetune import Tuning, tune
from mmer_core.training import ranks
from mmer_core.training.processes import serve


def _work(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    fields = request["tuning"]
    tuning = Tuning(
        FinetuneConfig.model_validate(fields["config"]),
        EncoderConfig.model_validate(fields["encoders"]),
        Path(fields["prepared"]),
        Path(fields["scratch"]),
        fields["checkpoint_seconds"],
        Path(fields["out"]),
    )
    torch.set_num_threads(request["threads"])
    if sys.platform == "linux":  # the processes are on one machine, and need not be reached from others
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    place = ranks.Place(request["rank"], tuning.config.processes, Path(request["meeting"]))
    device = torch.device(request["device"])
    with ranks.joined(place, device):
        tuned = tune(tuning, device, progress)
    return {"summary": tuned.summary.model_dump(mode="json"), "used": asdict(tuned)["used"]}


if __name__ == "__main__":
    serve(_work)
