"""A trained classifier on people in photos, and on texts: photos are decoded one by one, all is predicted in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmer_core.datasets.sample import Box
from mmer_core.encoders import ImageEncoder
from mmer_core.errors import ArtifactNotFound, ConfigError, DatasetError
from mmer_core.inference import TrainedModel
from mmer_core.prediction.detector import PersonDetector
from mmer_core.prediction.person_prediction import PersonPrediction, PersonResult
from mmer_core.prediction.photos import PhotoRequest, box_inside, encode_squares, square
from mmer_core.stages.context import Context
from mmer_core.stages.lineage import find_model
from mmer_core.store import ArtifactKey
from mmer_core.store.absence import missing
from mmer_core.task_kinds import kind_of
from mmer_core.training.record import ModelSummary


@dataclass(frozen=True)
class _Shown:
    """A person whose pixels are ready, by image stream; empty without a photo that the model reads, or with an error."""

    person: PersonResult
    squares: dict[str, np.ndarray] = field(default_factory=dict)


def open_classifier(context: Context, model: str | None = None) -> tuple[ArtifactKey, TrainedModel]:
    """A classifier by its key, or the newest joint one.

    Raises:
        StoreError: The model does not exist, or there is no classifier.
        ConfigError: The model does not predict labels.
    """
    key = find_model(context.store, model).key if model else _newest_model(context)
    trained = TrainedModel.open(context.folder(key), context.device)
    if not kind_of(trained.spec.task).labelled:
        raise ConfigError(f"{key} matches images and text; give a classifier")
    return key, trained


def read_people(
    context: Context,
    trained: TrainedModel,
    requests: Sequence[PhotoRequest],
    detector: PersonDetector | None = None,
) -> list[PersonResult]:
    """Predict every person in every photo; a photo that cannot be read gives a result with its error.

    Args:
        requests: With a box, a request is that one person. Without one, it is everyone whom the detector finds, or
            the whole photo if there is no detector.

    Returns:
        Results in the order of the requests; people of one photo by descending confidence of the detector.
    """
    reader = _Reader(context, trained)
    found: list[PersonResult] = []
    waiting: list[_Shown] = []
    for done, request in enumerate(requests, start=1):
        waiting += reader.show(request, detector)
        if len(waiting) >= context.runtime.batch_size or done == len(requests):
            found += reader.read(waiting)
            waiting.clear()
        context.progress(done, len(requests))
    return found


class _Reader:
    """A model with its encoders."""

    def __init__(self, context: Context, trained: TrainedModel) -> None:
        self.context, self.trained = context, trained
        self.encoders = trained.spec.encoders

    @property
    def encoder(self) -> ImageEncoder:
        return self.context.image_encoder(self.encoders.image, self.encoders.image_size)

    def show(self, request: PhotoRequest, detector: PersonDetector | None) -> Iterator[_Shown]:
        """The people of one photo, reduced to the sizes that the model reads."""
        person = PersonResult(
            request.name, request.box, text=request.text, error=request.error, pictured=request.pictured
        )
        if request.error or not request.pictured:
            yield _Shown(person)
            return
        try:
            picture = request.decoded()
            boxes = _boxes(picture, request, detector)
        except DatasetError as error:
            yield _Shown(replace(person, error=str(error)))
            return
        context = None  # shared by all people of the photo, so that it is encoded once
        for box, score in boxes:
            squares = {}
            for stream, side in self.trained.spec.sides.items():
                if stream == "context":
                    context = square(picture, side, self.encoder) if context is None else context
                    squares[stream] = context
                else:
                    squares[stream] = square(picture.crop(box) if box else picture, side, self.encoder)
            yield _Shown(replace(person, box=request.box or box, detected=score), squares)

    def read(self, shown: Sequence[_Shown]) -> list[PersonResult]:
        """Add the model's predictions; people with and without a photo, or a text, form separate batches."""
        found = [one.person for one in shown]
        reads_text = self.trained.reads_texts
        batches: dict[tuple[bool, bool], list[int]] = {}
        for row, one in enumerate(shown):
            if not one.person.error:
                has = bool(one.squares), reads_text and bool(one.person.text)
                batches.setdefault(has, []).append(row)
        for (pictured, texted), rows in batches.items():
            if not (pictured or texted):
                reads = (
                    "images and texts"
                    if reads_text and self.trained.spec.sides
                    else "texts only"
                    if reads_text
                    else "images only"
                )
                for row in rows:
                    found[row] = replace(found[row], error=f"the model reads {reads}, and there is none")
                continue
            streams = self._images([shown[row] for row in rows]) if pictured else {}
            if texted:
                texts = [shown[row].person.text or "" for row in rows]
                streams["text"] = self.context.text_encoder(self.encoders.text).encode(texts)
            for row, reading in zip(rows, self._readings(streams), strict=True):
                found[row] = replace(found[row], reading=reading)
        return found

    def _images(self, shown: Sequence[_Shown]) -> dict[str, Tensor]:
        """Features by stream, ``(n, D)``; an array shared by several people is encoded once."""
        streams = {}
        for stream in self.trained.spec.sides:
            squares = [one.squares[stream] for one in shown]
            distinct = {id(one): one for one in squares}
            row = {key: number for number, key in enumerate(distinct)}
            features = encode_squares(self.encoder, list(distinct.values()), self.context.runtime.batch_size)
            streams[stream] = features[torch.tensor([row[id(one)] for one in squares])]
        return streams

    def _readings(self, streams: dict[str, Tensor]) -> Iterator[PersonPrediction]:
        predicted = self.trained.emotions(streams)
        labels, dimensions = self.trained.spec.labels, self.trained.spec.dimensions
        decided = self.trained.decisions(predicted.probabilities)
        for row, rated, present in zip(predicted.probabilities, predicted.ratings, decided, strict=True):
            yield PersonPrediction(
                probabilities={name: float(value) for name, value in zip(labels, row, strict=True)},
                present=tuple(np.array(labels)[present].tolist()),
                ratings=dict(zip(dimensions, (float(value) for value in rated), strict=True)),
            )


def _boxes(
    picture: Image.Image, request: PhotoRequest, detector: PersonDetector | None
) -> list[tuple[Box | None, float | None]]:
    """The boxes to crop, with the detector's confidence. Raises `DatasetError` if there are none."""
    if request.box is not None:
        return [(box_inside(request, picture), None)]
    if detector is None:
        return [(None, None)]
    people = detector.people(picture)
    if not people:
        raise DatasetError(
            f"the detector finds nobody in {request.name} with a confidence of {detector.threshold:g} or more"
        )
    return [(person.box, person.score) for person in people]


def _newest_model(context: Context) -> ArtifactKey:
    listed = ((m, m.summary_as(ModelSummary)) for m in context.store.list("model"))
    models = [(made.family == "joint", m.created, m.key) for m, made in listed if kind_of(made.task).labelled]
    if not models:
        raise ArtifactNotFound(missing(context.store, "classifier", "train one first: mmer train"))
    # Of the two families, the joint one reads photo and text together, which is what users expect.
    return max(models)[-1]
