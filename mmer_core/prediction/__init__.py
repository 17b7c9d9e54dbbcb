"""Prediction for arbitrary photos: selecting them, finding people, reading labels, and attacks."""

from mmer_core.prediction.attack_picture import PhotoAttack, attack_picture, map_picture
from mmer_core.prediction.attacking import PhotoTarget, photo_target
from mmer_core.prediction.detector import PersonDetector
from mmer_core.prediction.people import open_classifier, read_people
from mmer_core.prediction.person_prediction import PersonPrediction, PersonResult, write_predictions
from mmer_core.prediction.photo_captions import (
    PhotoCaption,
    caption_photos,
    open_writer,
    write_photo_captions,
)
from mmer_core.prediction.photos import PhotoRequest, listed_photos

__all__ = [
    "PersonDetector",
    "PersonPrediction",
    "PersonResult",
    "PhotoAttack",
    "PhotoCaption",
    "PhotoRequest",
    "PhotoTarget",
    "attack_picture",
    "caption_photos",
    "listed_photos",
    "map_picture",
    "open_classifier",
    "open_writer",
    "photo_target",
    "read_people",
    "write_photo_captions",
    "write_predictions",
]
