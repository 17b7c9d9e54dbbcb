"""`mmer_core.load`: a trained model, ready to predict, embed and be attacked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmer_core.bars import progress_bars
from mmer_core.config import RuntimeConfig, SearchConfig
from mmer_core.datasets.sample import Box
from mmer_core.errors import ConfigError, DatasetError
from mmer_core.facade.showing import tables_html
from mmer_core.facade.tabulating import STORE
from mmer_core.heavy import pd
from mmer_core.inference import TrainedModel
from mmer_core.models.spec import SPEC_FILE
from mmer_core.prediction import PhotoAttack, PhotoRequest, listed_photos
from mmer_core.prediction.attacking import target_of
from mmer_core.prediction.people import read_people
from mmer_core.prediction.person_prediction import as_table
from mmer_core.prediction.photo_captions import caption_photos, no_decoder
from mmer_core.prediction.photos import is_list
from mmer_core.progress import silent
from mmer_core.querying.searcher import Embedder, ModelEmbedder
from mmer_core.reporting.table import plain
from mmer_core.stages.context import Context
from mmer_core.stages.lineage import model_named
from mmer_core.store import Manifest
from mmer_core.task_kinds import kind_of

Photo = str | Path | Image.Image | npt.NDArray[np.uint8]
"""A file, a decoded picture, or ``(H, W, 3)`` uint8."""


@dataclass(frozen=True)
class Model:
    """A trained model with its encoders, which are loaded on first use. A notebook shows it as a table.

    Attributes:
        context: Store, device and batch size.
        trained: The network with its specification and calibration.
        manifest: Of its artifact; None where it was loaded from a folder.
    """

    context: Context
    trained: TrainedModel
    manifest: Manifest | None

    @classmethod
    def open(cls, context: Context, manifest: Manifest) -> Model:
        """Open a model of the context's store."""
        return cls(context, TrainedModel.open(context.folder(manifest.key), context.device), manifest)

    @property
    def key(self) -> str | None:
        """Key in the store."""
        return str(self.manifest.key) if self.manifest else None

    @property
    def task(self) -> str:
        """``emotion``, ``classification`` or ``retrieval``."""
        return self.trained.spec.task

    @property
    def labels(self) -> tuple[str, ...]:
        """Categories that it tells apart; none where it matches images and texts."""
        return self.trained.spec.labels

    def predict(
        self,
        photos: Photo | Sequence[Photo | None] | None = None,
        texts: str | Sequence[str | None] | None = None,
        *,
        boxes: Box | Sequence[Box | None] | None = None,
    ) -> pd.DataFrame:
        """Predict labels; a model that matches images and texts says how well each text fits each photo.

        >>> import mmer_core as mmer
        >>> model = mmer.load(emotion)
        >>> predicted = model.predict(photo, "a man at the window")
        >>> [name for name in predicted if name.startswith("probability ")][:2]
        ['probability Affection', 'probability Anger']
        >>> mmer.load(retrieval).predict([photo, photo], ["a dog", "a house"]).shape
        (2, 2)

        Args:
            photos: One or several, None for a text without one; or a folder of photos, or a ``.csv`` list, as `mmer predict`
                reads them.
            texts: That go with the photos, one for each, or alone. For a model that matches: those to compare, however many.
            boxes: The person in each photo, ``(x1, y1, x2, y2)`` in pixels; the whole photo by default.

        Returns:
            A row for each photo, with the columns of `mmer predict --out`: ``present`` (labels), ``probability LABEL``,
            ratings. For a model that matches: cosine similarities, a column for each text.

        Raises:
            DatasetError: The only photo cannot be read; of several, its row has an ``error``.
            ConfigError: There are not as many texts, or boxes, as photos.
        """
        if not kind_of(self.task).labelled:
            return self._similarities(photos, texts)
        requests = _requests(photos, texts, boxes)
        with self._watched("predict", len(requests)) as context:
            people = read_people(context, self.trained, requests)
        if len(people) == 1 and people[0].error:
            raise DatasetError(people[0].error)
        columns, rows = as_table(people)
        return pd.DataFrame(rows, columns=columns)

    def caption(self, photos: Photo | Sequence[Photo], *, beam: int = 5) -> pd.DataFrame:
        """Write captions, by a model that was trained with ``training.decoder``.

        Args:
            photos: One or several; or a folder of photos, or a ``.csv`` list.
            beam: Captions of a photo that are followed at a time; 1 always takes the most probable word.

        Returns:
            A row for each photo: ``photo``, ``caption`` and ``error``, one of which is None.

        Raises:
            DatasetError: The only photo cannot be read; of several, its row has an ``error``.
            ConfigError: The model has no decoder, or ``beam`` is below 1.
        """
        if not self.trained.writes_captions:
            raise no_decoder(str(self))
        if beam < 1:
            raise ConfigError(f"beam is {beam}, but must be at least 1")
        requests = _requests(photos)
        with self._watched("caption", len(requests)) as context:
            found = caption_photos(context, self.trained, requests, beam)
        if len(found) == 1 and found[0].error:
            raise DatasetError(found[0].error)
        return pd.DataFrame([one.to_dict() for one in found], columns=["photo", "caption", "error"])

    def embed(
        self, photos: Photo | Sequence[Photo] | None = None, texts: str | Sequence[str] | None = None
    ) -> npt.NDArray[np.float32]:
        """Unit vectors of photos, or of texts, in the space that both share: a dot product is a cosine.

        >>> import mmer_core as mmer
        >>> model = mmer.load(retrieval)
        >>> vectors = model.embed([photo, photo])  # (2, D)
        >>> (vectors @ model.embed(texts="a dog at the window").T).shape
        (2, 1)

        Args:
            photos: One or several; or a folder of photos, or a ``.csv`` list.
            texts: One or several, instead of photos.

        Returns:
            ``(n, D)`` float32, in their order.

        Raises:
            ConfigError: Both are given, or neither; or the model's photos and texts share no space.
            DatasetError: A photo cannot be read.
        """
        if (photos is None) == (texts is None):
            raise ConfigError("embed photos, or texts: give one of the two")
        embedder = self._embedder
        if photos is None:
            return embedder.texts([texts] if isinstance(texts, str) else list(texts or ()))
        requests = _requests(photos)
        step = self.context.runtime.batch_size
        found = []
        with self._watched("embed", len(requests)) as context:
            for start in range(0, len(requests), step):
                batch = requests[start : start + step]
                found.append(embedder.photos([one.decoded() for one in batch]))
                context.progress(start + len(batch), len(requests))
        return np.concatenate(found)

    def attack(
        self,
        photo: Photo,
        text: str | None = None,
        *,
        box: Box | None = None,
        pixels: int = 1,
        attack: str = "sparse-rs",
        budget: int = 400,
        **settings: Any,
    ) -> PhotoAttack:
        """Change a few pixels of a photo until the model says something else. A notebook shows the result as a picture.

        >>> import mmer_core as mmer
        >>> found = mmer.load(emotion).attack(photo, pixels=3, budget=20)
        >>> found.outcome.status in ("fooled", "resisted"), len(found.outcome.changed) <= 3
        (True, True)

        Args:
            photo: The photo.
            text: That goes with it; for a model that matches, the caption that the photo should no longer find.
            box: The person, ``(x1, y1, x2, y2)`` in pixels; the whole photo by default.
            pixels: Most pixels to change (``K``).
            attack: Name of an attack; `mmer_core.attacks.ATTACKS` has them.
            budget: Most queries to the model.
            settings: What else `SearchConfig` has: ``criterion``, ``stream``, ``seed``.

        Raises:
            DatasetError: The photo cannot be read, or the box is outside it.
            ConfigError: The model does not support this attack.
            pydantic.ValidationError: There is no such attack, or setting.
        """
        request = _request(0, photo, text, box)
        search = SearchConfig(attacks=(attack,), pixels=(pixels,), budget=budget, **settings)
        inputs = self.manifest.inputs if self.manifest else {}
        target = target_of(self.context, self.trained, inputs, request, search)
        (found,) = target.attacks(search, self.context.runtime.batch_size)
        return found

    def __repr__(self) -> str:
        spec = self.trained.spec
        return f"Model({self.key or self.trained.folder}: {spec.family} {spec.task} model of {spec.dataset})"

    def _repr_html_(self) -> str:
        spec = self.trained.spec
        rows = [
            ("task", spec.task),
            ("family", spec.family),
            ("dataset", spec.dataset),
            ("reads", ", ".join(spec.streams)),
            ("labels", ", ".join(spec.labels) or "–"),
            ("image encoder", spec.encoders.image),
            ("text encoder", spec.encoders.text),
        ]
        return tables_html([plain(self.key or str(self.trained.folder), ("Model", ""), rows)])

    @property
    def _embedder(self) -> Embedder:
        return ModelEmbedder(self.context, self.trained)

    def _similarities(self, photos: Any, texts: str | Sequence[str | None] | None) -> pd.DataFrame:
        wanted = [one for one in ([texts] if isinstance(texts, str) else texts or ()) if one]
        if not wanted:
            raise ConfigError(f"{self} says how well texts fit photos: give texts to compare")
        names = [one.name for one in _requests(photos)]
        scores = self.embed(photos) @ self.embed(texts=wanted).T
        return pd.DataFrame(scores, index=names, columns=wanted)

    @contextmanager
    def _watched(self, label: str, count: int) -> Iterator[Context]:
        """The context with a progress bar where there are several photos."""
        if count < 2:
            yield self.context
            return
        with progress_bars(lambda label: silent) as bar:
            yield replace(self.context, progress=bar(label))


def load(model: str | Path = "model", *, store: str = STORE, device: str = "auto") -> Model:
    """Load a trained model.

    >>> import mmer_core as mmer
    >>> mmer.load("model")  # the newest one
    Model(model/...: joint retrieval model of Flickr8k (synthetic))
    >>> mmer.load(emotion[:14]).labels[:2]  # by key, or its beginning
    ('Affection', 'Anger')

    Args:
        model: ``"model"`` for the newest one, a key or its beginning, or a folder with the files of one
            (`mmer artifacts fetch KEY --to FOLDER`).
        store: Address of the store: a folder, ``file:///…`` or ``s3://bucket/prefix``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        StoreError: There is no such model.
        ConfigError: It is something else.
    """
    context = Context(RuntimeConfig.model_validate({"store": store, "device": device}))
    if (Path(model) / SPEC_FILE).is_file():
        return Model(context, TrainedModel.open(Path(model), context.device), None)
    return Model.open(context, model_named(context.store, str(model)))


def _requests(photos: Any, texts: Any = None, boxes: Any = None) -> list[PhotoRequest]:
    """Photos with their texts and boxes, as `Model.predict` takes them."""
    if photos is None:
        if not texts:
            raise ConfigError("give photos, texts, or both")
        texts = [texts] if isinstance(texts, str) else list(texts)
        photos = [None] * len(texts)
    if isinstance(photos, str | Path) and (Path(photos).is_dir() or is_list(Path(photos))):
        return listed_photos(Path(photos), box=boxes, text=texts)
    if isinstance(photos, str | Path | Image.Image | np.ndarray):
        photos = [photos]
        texts, boxes = (one if one is None or isinstance(one, list) else [one] for one in (texts, boxes))
    for what, given in (("texts", texts), ("boxes", boxes)):
        if given is not None and len(given) != len(photos):
            raise ConfigError(f"{len(photos)} photos have {len(given)} {what}: give one for each, or None")
    nothing = [None] * len(photos)
    rows = zip(photos, texts or nothing, boxes or nothing, strict=True)
    return [_request(number, *row) for number, row in enumerate(rows)]


def _request(number: int, photo: Photo | None, text: str | None, box: Box | None) -> PhotoRequest:
    if photo is None:
        return PhotoRequest(f"text {number}", None, None, text)
    if isinstance(photo, str | Path):
        return PhotoRequest(str(photo), Path(photo), box, text)
    name = f"photo {number}"
    if isinstance(photo, np.ndarray):
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
            raise DatasetError(f"{name} is {photo.dtype} {photo.shape}; give uint8 (H, W, 3)")
        photo = Image.fromarray(photo)
    return PhotoRequest(name, Path(name), box, text, picture=photo)
