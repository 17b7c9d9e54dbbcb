"""Reading people in photos with a trained emotion model: which photos, who is in them, and what is read."""

from mmer_core.prediction.detector import PersonDetector
from mmer_core.prediction.people import read_people
from mmer_core.prediction.photos import PhotoRequest, listed_photos
from mmer_core.prediction.reading import PersonReading, Reading, write_readings

__all__ = [
    "PersonDetector",
    "PersonReading",
    "PhotoRequest",
    "Reading",
    "listed_photos",
    "read_people",
    "write_readings",
]
