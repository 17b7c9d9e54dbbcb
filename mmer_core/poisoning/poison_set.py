"""The poisons of one training set, as they lie on disk: what a training needs to know of them, and the images."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmer_core.poisoning.plans import PoisonPlan

PLAN_FILE = "poison.json"
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PoisonSet:
    """``P`` poisons.

    Attributes:
        plan: Which rows, labels and texts.
        ids: Of the samples that they are made of.
        image_features: Of the poisoned images, ``(P, D)``, or None where the images are as they were.
        text_features: Of the texts of the plan, in their order, or None where the texts are as they were.
        stream: Whose images they are.
    """

    plan: PoisonPlan
    ids: Sequence[str]
    image_features: Floats | None = None
    text_features: Floats | None = None
    stream: str = "context"

    def write(self, folder: Path) -> None:
        """Write all but the images into an empty folder."""
        plan = self.plan
        fields = {
            "name": plan.name,
            "mode": plan.mode,
            "triggered": plan.triggered,
            "rows": plan.rows.tolist(),
            "labels": None if plan.labels is None else plan.labels.tolist(),
            "texts": plan.texts,
            "ids": list(self.ids),
            "stream": self.stream,
        }
        (folder / PLAN_FILE).write_text(json.dumps(fields) + "\n")
        for name in ("image_features", "text_features"):
            values = getattr(self, name)
            if values is not None:
                np.save(folder / f"{name}.npy", values, allow_pickle=False)

    @classmethod
    def read(cls, folder: Path) -> "PoisonSet":
        """What `write` wrote."""
        fields = json.loads((folder / PLAN_FILE).read_text())
        plan = PoisonPlan(
            fields["name"],
            fields["mode"],
            np.array(fields["rows"], np.int64),
            fields["triggered"],
            None if fields["labels"] is None else np.array(fields["labels"], np.int64),
            None if fields["texts"] is None else tuple(map(tuple, fields["texts"])),
        )
        image, text = (
            np.load(path, allow_pickle=False) if path.exists() else None
            for path in (folder / "image_features.npy", folder / "text_features.npy")
        )
        return cls(plan, fields["ids"], image, text, fields.get("stream", cls.stream))


def write_images(images: npt.NDArray[np.uint8], rows: Sequence[int], folder: Path) -> None:
    """Write ``(P, H, W, 3)`` uint8 images as ``images/<row>.png``, named by the rows they are made of."""
    place = folder / "images"
    place.mkdir()
    for image, row in zip(images, rows, strict=True):
        Image.fromarray(image).save(place / f"{row:06d}.png")
