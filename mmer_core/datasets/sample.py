"""One person or photo, as every reader yields it."""

from dataclasses import dataclass, field
from pathlib import Path

from mmer_core.datasets.cells import printable

Box = tuple[int, int, int, int]
"""``(x1, y1, x2, y2)`` in pixels of the decoded image, half-open: ``image[y1:y2, x1:x2]``."""


@dataclass(frozen=True)
class Text:
    """A caption and its source (``"dataset"``, ``"sidecar"``, ``"template"``, ...)."""

    text: str
    provenance: str


@dataclass(frozen=True)
class Sample:
    """A labelled person, photo or text, or a captioned photo, before any pixel is decoded.

    Attributes:
        id: Unique in the dataset, stable across runs and machines.
        split: ``train``, ``val`` or ``test``.
        image: Path of the source photo; None for a labelled text without one.
        box: The person's box as annotated (not yet clamped), or None for the whole photo.
        texts: Zero or more texts.
        labels: Names from the dataset's label set; None if the dataset has no labels.
        vad: Valence, arousal and dominance in 1..10; None if not rated.
        metadata: Columns for the split's CSV (folder, filename, gender, age, ...).
    """

    id: str
    split: str
    image: Path | None
    box: Box | None = None
    texts: tuple[Text, ...] = ()
    labels: tuple[str, ...] | None = None
    vad: tuple[float, float, float] | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Quarantined:
    """An input that was dropped, and why.

    ``reason`` is a short stable code (``"empty_box"``, ``"unreadable_image"``, ``"vad_nan"``,
    ``"no_label"``, ``"unknown_label"``, ``"caption_empty"``, ...); ``detail`` is one sentence for people.
    """

    split: str
    id: str
    reason: str
    detail: str

    def __post_init__(self) -> None:
        # Make both fit to be written as UTF-8, whatever the dataset holds.
        for name in ("split", "id", "detail"):
            object.__setattr__(self, name, printable(getattr(self, name)))
