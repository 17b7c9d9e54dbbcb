"""An image encoder and ``K`` -> its plan for candidates, converted for its runtime: once a study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from mmer_core.config import EncoderConfig
from mmer_core.incremental.encoded import planner_of
from mmer_core.record import Record
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.features import encoder_key_config
from mmer_core.store import Workspace
from mmer_core.store.manifest import versions_of

PLAN_FILE = "plan.json"


class PlanSummary(Record):
    """Up to which step the network is computed in windows; None: it is computed densely throughout."""

    version: Literal[1] = 1
    cut: str | None


def _identity(context: Context, encoders: EncoderConfig) -> Mapping[str, Any]:
    """Conversion depends on the versions of both libraries, and not on the processor, for which it is compiled later."""
    libraries = versions_of("torch", "openvino")
    return {"encoders": encoder_key_config(context, encoders, "image"), "libraries": libraries}


@stage("network-plan", version=7, title="plan K={pixels}", identity=_identity)
def plan_network(
    context: Context, workspace: Workspace, encoders: EncoderConfig, pixels: int, with_windows: bool
) -> PlanSummary:
    """Plan candidates of ``K = pixels`` on the CPU.

    Args:
        with_windows: Whether the network returns windows, see `mmer_core.incremental.network.Windowed`.
    """
    encoder = context.image_encoder(encoders.image, encoders.image_size)
    cut = planner_of(encoder).convert(pixels, workspace.out, with_windows=with_windows)
    # So that there is a file where OpenVINO converts nothing, too.
    (workspace.out / PLAN_FILE).write_text(json.dumps({"cut": cut, "pixels": pixels}) + "\n")
    return PlanSummary(cut=cut)
