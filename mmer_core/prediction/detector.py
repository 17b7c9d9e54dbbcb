"""Finding people in a photo with any of torchvision's detection networks."""

from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path

import numpy as np
import torch
import torchvision.models as zoo
from PIL import Image
from torch import nn

from mmer_core.datasets.boxes import clamp
from mmer_core.datasets.sample import Box
from mmer_core.encoders.weights import load_state
from mmer_core.errors import ConfigError, EncoderError
from mmer_core.tracing import running

_SOURCE = "torchvision:"


@dataclass(frozen=True)
class Detection:
    """A person: box in pixels of the photo, rounded outwards, and the detector's confidence in 0..1."""

    box: Box
    score: float


@dataclass(frozen=True)
class PersonDetector:
    """A detection network and the index of its class "person".

    Attributes:
        module: Maps a list of ``(3, H, W)`` float images in 0..1 to boxes, labels and scores.
        person: The label of a person.
        threshold: Minimal confidence, in 0..1.
    """

    module: nn.Module
    person: int
    threshold: float
    device: torch.device

    @classmethod
    def load(cls, spec: str, threshold: float, device: torch.device) -> "PersonDetector":
        """Load ``torchvision:<arch>@<weights file>``; the network resizes and normalises images itself.

        Raises:
            ConfigError: The spec is malformed, or the threshold is outside 0..1.
            EncoderError: The weights are missing, unreadable or belong to another architecture.
        """
        if not 0 <= threshold <= 1:
            raise ConfigError(f"the detector's threshold is {threshold}, but must be in 0..1")
        architecture, _, file = spec.removeprefix(_SOURCE).partition("@")
        known = zoo.list_models(module=zoo.detection)
        if not spec.startswith(_SOURCE) or architecture not in known:
            raise ConfigError(
                f"unknown detector {spec!r}; write torchvision:ARCH@WEIGHTS_FILE with ARCH one of {', '.join(known)}"
            )
        weights = zoo.get_model_weights(architecture).DEFAULT
        if not file:
            raise EncoderError(
                f"the detector {spec} has no weights; fetch {weights.url} and name the file: {spec}@FILE"
            )
        module = zoo.get_model(architecture, weights=None, weights_backbone=None)
        load_state(module, Path(file))
        person = weights.meta["categories"].index("person")
        return cls(module.eval().requires_grad_(False).to(device), person, threshold, device)

    @torch.inference_mode()
    def people(self, picture: Image.Image) -> list[Detection]:
        """The people in an RGB picture by descending confidence, without boxes that are outside it."""
        pixels = torch.from_numpy(np.array(picture)).to(self.device).permute(2, 0, 1).float() / 255
        with running():
            (found,) = self.module([pixels])
        people = []
        order = torch.argsort(found["scores"], descending=True, stable=True).tolist()
        boxes, labels, scores = (found[name].tolist() for name in ("boxes", "labels", "scores"))
        for row in order:
            if labels[row] == self.person and scores[row] >= self.threshold:
                x1, y1, x2, y2 = boxes[row]
                box = clamp((floor(x1), floor(y1), ceil(x2), ceil(y2)), picture.size)
                if box is not None:
                    people.append(Detection(box, scores[row]))
        return people
