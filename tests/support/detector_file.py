"""A torchvision detection network with random weights, in a file: the real class finds garbage, by the real path."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torchvision.models import get_model

ARCHITECTURE = "fasterrcnn_mobilenet_v3_large_320_fpn"
PERSON = 1


def detector_file(path: Path) -> str:
    """Write the weights and return the detector's name; nearly everything it proposes it takes for a person."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = get_model(ARCHITECTURE, weights=None, weights_backbone=None)
    with torch.no_grad():
        network.roi_heads.box_predictor.cls_score.bias[PERSON] += 8
    save_file(network.state_dict(), path)
    return f"torchvision:{ARCHITECTURE}@{path}"
