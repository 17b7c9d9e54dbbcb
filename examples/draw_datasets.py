"""Draw two small datasets as a newcomer might have them: those of docs/first-hour.md.

    python examples/draw_datasets.py FOLDER

writes ``FOLDER/places``, photos in four class folders, and ``FOLDER/posts``, photos beside a spreadsheet's ``posts.csv`` with
a text and a mood for each, in the encoding of Western European Windows.
"""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from mmer_core.datasets.synthetic.describe import caption_photo
from mmer_core.datasets.synthetic.draw import render
from mmer_core.datasets.synthetic.emotions import rate
from mmer_core.datasets.synthetic.scene import pick, sample_scene

PLACES = ("beach", "forest", "room", "snow")
CITIES = ("Zürich", "Málaga", "Göteborg", "Orléans", "Tromsø")


def draw_places(folder: Path, count: int = 160) -> None:
    """A folder for each kind of place, with photos of it."""
    for number in range(count):
        rng = np.random.default_rng([1, number])
        place = PLACES[number % len(PLACES)]
        path = folder / place / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        render(replace(sample_scene(rng), place=place), rng).image.save(path)


def draw_posts(folder: Path, count: int = 240) -> None:
    """Photos with posts, and the mood in which they were posted, in a CSV with semicolons."""
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    with (folder / "posts.csv").open("w", encoding="windows-1252", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["Photo", "Post", "Mood"])
        for number in range(count):
            rng = np.random.default_rng([2, number])
            scene = sample_scene(rng)
            name = f"photos/{number:03d}.jpg"
            render(scene, rng).image.save(folder / name)
            valence = rate(scene.cues(scene.figures[0]), rng).vad[0]
            mood = "cheerful" if valence > 6 else "calm" if valence > 4 else "gloomy"
            rows.writerow([name, f"{pick(rng, CITIES)}: {caption_photo(scene, rng)}", mood])


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    draw_places(folder / "places")
    draw_posts(folder / "posts")
