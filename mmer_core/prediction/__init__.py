"""Photos of anybody's: which, who is in them, what a trained model reads, and what fools it."""

from mmer_core.prediction.attack_picture import attack_picture
from mmer_core.prediction.attacking import PhotoAttack, attack_photo
from mmer_core.prediction.detector import PersonDetector
from mmer_core.prediction.people import read_people
from mmer_core.prediction.photos import PhotoRequest, listed_photos
from mmer_core.prediction.reading import PersonReading, Reading, write_readings

__all__ = [
    "PersonDetector",
    "PersonReading",
    "PhotoAttack",
    "PhotoRequest",
    "Reading",
    "attack_photo",
    "attack_picture",
    "listed_photos",
    "read_people",
    "write_readings",
]
