"""Captions of arbitrary photos, written by a model with a decoder."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mmer_core.errors import ArtifactNotFound, ConfigError, DatasetError, MmerError
from mmer_core.escaping import json_text
from mmer_core.escaping.tables import lines_for_people
from mmer_core.files import write_whole
from mmer_core.inference import TrainedModel
from mmer_core.prediction.person_prediction import check_output
from mmer_core.prediction.photos import PhotoRequest, encode_squares, square
from mmer_core.stages.context import Context
from mmer_core.stages.lineage import find_model
from mmer_core.store import ArtifactKey, Manifest
from mmer_core.store.absence import missing


@dataclass(frozen=True)
class PhotoCaption:
    """One photo: the caption, or why there is none."""

    photo: str
    caption: str | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def open_writer(context: Context, model: str | None = None) -> tuple[ArtifactKey, TrainedModel]:
    """A model that writes captions by its key, or the newest one.

    Raises:
        StoreError: The model does not exist, or there is none with a decoder.
        ConfigError: The model has no decoder.
    """
    key = find_model(context.store, model).key if model else _newest_writer(context)
    trained = TrainedModel.open(context.folder(key), context.device)
    if not trained.writes_captions:
        raise no_decoder(str(key))
    return key, trained


def no_decoder(model: str) -> ConfigError:
    """What is wrong with a model that writes no captions."""
    return ConfigError(
        f"{model} has no decoder, so it writes no captions; train one on captioned data with --training.decoder gru, or give "
        "another model"
    )


def caption_photos(
    context: Context, trained: TrainedModel, requests: Sequence[PhotoRequest], beam: int
) -> list[PhotoCaption]:
    """A caption for every photo, in their order; a photo that cannot be read gives a result with its error.

    Args:
        beam: Captions of a photo that are followed at a time; 1 always takes the most probable word.
    """
    encoders, side = trained.spec.encoders, trained.spec.sides["context"]
    encoder = context.image_encoder(encoders.image, encoders.image_size)
    step = context.runtime.batch_size
    found: list[PhotoCaption] = []
    for start in range(0, len(requests), step):
        some = requests[start : start + step]
        results, squares, rows = [PhotoCaption(one.name, error=one.error) for one in some], [], []
        for row, one in enumerate(some):
            if one.error:
                continue
            try:
                squares.append(square(one.decoded(), side, encoder))
                rows.append(row)
            except DatasetError as error:
                results[row] = replace(results[row], error=str(error))
        if squares:
            written = trained.captions(encode_squares(encoder, squares, step), beam)
            for row, caption in zip(rows, written, strict=True):
                results[row] = replace(results[row], caption=caption)
        found += results
        context.progress(len(found), len(requests))
    return found


def write_photo_captions(captions: Sequence[PhotoCaption], path: Path) -> None:
    """Write captions as ``.csv`` (columns ``photo, caption, error``) or ``.json``, in their order.

    Raises:
        ConfigError: The name has another suffix.
        MmerError: The file cannot be written.
    """
    check_output(path)
    rows = [one.to_dict() for one in captions]
    try:
        if path.suffix.lower() == ".csv":
            columns = ["photo", "caption", "error"]
            write_whole(path, "".join(lines_for_people(columns, [[*row.values()] for row in rows])))
        else:
            write_whole(path, json_text(rows) + "\n")
    except OSError as error:
        raise MmerError(f"cannot write {path} ({error.strerror}); name a file in a writable folder") from None


def _newest_writer(context: Context) -> ArtifactKey:
    writers = [made for made in context.store.list("model") if _writes(made)]
    if not writers:
        raise ArtifactNotFound(
            missing(
                context.store,
                "model with a decoder",
                "train one on captioned data first: mmer train --training.decoder gru",
            )
        )
    return max(writers, key=lambda made: made.created).key


def _writes(made: Manifest) -> bool:
    return bool(made.config.get("training", {}).get("decoder"))
