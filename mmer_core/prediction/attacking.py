"""Few-pixel attacks on a single photo."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from mmer_core.attacks.candidates import write_changes
from mmer_core.attacks.criteria import Criterion
from mmer_core.attacks.engine import run_attack
from mmer_core.attacks.outcomes import Outcome, Reading
from mmer_core.attacks.photo_victim import Photos, PhotoVictim
from mmer_core.attacks.registry import ATTACKS
from mmer_core.attacks.victims import IncrementalVictim, Victim
from mmer_core.attacks.vulnerability import OnePixelMap, one_pixel_map
from mmer_core.config import SearchConfig
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.encoders.features import Features
from mmer_core.errors import ConfigError
from mmer_core.incremental.encoded import evaluator_of
from mmer_core.inference import TrainedModel
from mmer_core.prediction.attack_picture import PhotoAttack
from mmer_core.prediction.photos import PhotoRequest, box_inside, encode_squares, square
from mmer_core.progress import Progress
from mmer_core.stages.context import Context
from mmer_core.stages.lineage import find_model, newest_model
from mmer_core.task_kinds import KINDS, TaskKind, kind_of
from mmer_core.task_kinds.emotion_attacks import not_attackable
from mmer_core.task_kinds.kind import AttackedPhoto
from mmer_core.taxonomy import SPLITS


@dataclass(frozen=True)
class PhotoTarget:
    """A photo and a model, ready to be attacked.

    Attributes:
        name: Name of the photo.
        victim, criterion: The model, and the definition of success.
        image: ``(H, W, 3)`` uint8, the image to attack: an input of the model, or the photo.
        names: Meaning of the victim's columns.
        kind: Kind of the model's task.
        reading: What outcomes keep of the scores.
    """

    name: str
    victim: Victim
    criterion: Criterion
    image: np.ndarray
    names: list[str]
    kind: TaskKind[Any]
    reading: Reading | None

    def attacks(self, config: SearchConfig, batch_size: int) -> Iterator[PhotoAttack]:
        """Run every attack with every ``K``, one after another."""
        for name in config.attacks:
            for pixels in config.pixels:
                (outcome,) = run_attack(
                    self.victim,
                    self.criterion,
                    ATTACKS.configured(name, config),
                    self.image[None],
                    [self.name],
                    pixels=pixels,
                    budget=config.budget,
                    seed=config.seed,
                    batch_size=batch_size,
                    read=self.reading,
                )
                attacked = write_changes(self.image, outcome.changed)
                yield PhotoAttack(outcome, self.image, attacked, *self._words(config, outcome, attacked))

    def _words(self, config: SearchConfig, outcome: Outcome, attacked: np.ndarray) -> tuple[str, str]:
        if self.kind.criterion(config, self.names) == "top":
            # The dominant emotion alone would not show the change.
            count = config.top_emotions
            return self._strongest(self.image, count), self._strongest(attacked, count)
        return self.kind.before_and_after(config, asdict(outcome), self.names)

    def _strongest(self, image: np.ndarray, count: int) -> str:
        scores = self.victim.scores(torch.from_numpy(image[None].copy()), torch.zeros(1, dtype=torch.int64))
        return ", ".join(self.names[column] for column in scores[0].topk(count).indices.tolist())

    def one_pixel_map(self, stride: int, batch_size: int, progress: Progress) -> OnePixelMap:
        """Where one pixel suffices, at every ``stride``-th position."""
        return one_pixel_map(
            self.victim,
            self.criterion,
            self.image,
            stride=stride,
            batch_size=batch_size,
            progress=progress,
        )


def photo_target(
    context: Context, request: PhotoRequest, config: SearchConfig, *, model: str | None = None
) -> PhotoTarget:
    """Prepare a photo and a model for attacks.

    A classifier reads the person in the request's box (without a box, the whole photo), and the text if there
    is one. For a retrieval model, success means that the photo no longer retrieves the text among the captions of the
    test split of the model's dataset.

    Args:
        model: Key of a model; None for the newest one, or without a text the newest classifier.

    Raises:
        StoreError: The model does not exist, or there is none.
        DatasetError: The photo cannot be read, or the box is outside it.
        ConfigError: The model does not read the stream to attack, or does not support this attack.
    """
    labelled = [] if request.text else [name for name, kind in KINDS.items() if kind.labelled]
    manifest = find_model(context.store, model) if model else newest_model(context.store, *labelled)
    trained = TrainedModel.open(context.folder(manifest.key), context.device)
    return target_of(context, trained, manifest.inputs, request, config)


def target_of(
    context: Context,
    trained: TrainedModel,
    inputs_of_model: Mapping[str, str],
    request: PhotoRequest,
    config: SearchConfig,
) -> PhotoTarget:
    """As `photo_target`, with an opened model and the inputs of its artifact by role."""
    spec, picture = trained.spec, request.decoded()
    if not spec.sides:
        raise not_attackable(trained, config.stream)
    encoder = context.image_encoder(spec.encoders.image, spec.encoders.image_size)
    box = box_inside(request, picture) if request.box else (0, 0, *picture.size)

    def squares(photo: Image.Image) -> dict[str, np.ndarray]:
        return {
            stream: square(photo.crop(box) if stream == "body" else photo, side, encoder)
            for stream, side in spec.sides.items()
        }

    def captions() -> tuple[PreparedSplit, Features]:
        if not inputs_of_model:
            raise ConfigError(
                "an attack on a retrieval model needs the captions of its dataset; load the model by its key from its store"
            )
        prepared = Prepared.open(context.folder_of(inputs_of_model["prepared"]))
        last = next(name for name in reversed(SPLITS) if prepared.card.counts.get(name))
        return prepared.split(last), Features(context.folder_of(inputs_of_model["features"]))

    inputs = squares(picture)
    streams = {stream: encode_squares(encoder, [one], 1) for stream, one in inputs.items()}
    if request.text and "text" in spec.streams:
        streams["text"] = context.text_encoder(spec.encoders.text).encode([request.text])
    kind = kind_of(spec.task)
    photo = AttackedPhoto(trained, streams, request.text, request.box is not None, captions)
    scores = kind.photo_scores(photo, config)
    victim: Victim
    if config.stream == "photo":
        image = np.array(picture)
        photos = Photos([image], [box], "corrected")
        victim = PhotoVictim(photos, spec.sides, encoder, lambda attacked, _: scores.read(attacked))
    elif config.stream in inputs:
        image = inputs[config.stream]
        victim = IncrementalVictim(
            encoder, lambda attacked, _: scores.read({config.stream: attacked}), evaluator_of(encoder)
        )
    else:
        raise not_attackable(trained, config.stream)
    clean = victim.scores(torch.from_numpy(image[None]), torch.zeros(1, dtype=torch.int64))
    return PhotoTarget(
        request.name, victim, scores.criterion(clean), image, list(scores.names), kind, scores.reading
    )
