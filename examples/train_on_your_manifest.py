"""Train on your own manifest: a CSV that lists photos with texts, labels, ratings or boxes.

    python examples/train_on_your_manifest.py FOLDER

draws sixty photos of coloured discs with captions into FOLDER, lists them in ``photos.csv``, and trains a joint and a
separate retrieval model on them. Put your own photos and list in their place. The results are in the store FOLDER/store,
where the other examples find them.
"""

import csv
import sys
from pathlib import Path

from PIL import Image, ImageDraw

from flows.run import run
from mmer_core.config import (
    EncoderConfig,
    EvaluationConfig,
    IngestConfig,
    ModelConfig,
    RuntimeConfig,
    TrainingConfig,
    TrainJob,
)

COLOURS = ("red", "green", "blue", "yellow", "orange", "purple")
PLACES = {"left": 16, "middle": 32, "right": 48}


def draw_photos(folder: Path) -> Path:
    """Photos of 64 x 64 pixels and their manifest."""
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    manifest = folder / "photos.csv"
    with manifest.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "split", "image", "text", "text"])
        for number in range(60):
            colour, (place, x) = COLOURS[number % 6], list(PLACES.items())[number // 6 % 3]
            name, y = f"photo-{number:02d}", 12 + number * 7 % 40
            picture = Image.new("RGB", (64, 64), "white" if number % 2 else "gray")
            ImageDraw.Draw(picture).ellipse((x - 10, y - 10, x + 10, y + 10), fill=colour)
            picture.save(folder / "photos" / f"{name}.png")
            split = "train" if number < 36 else "val" if number < 48 else "test"
            texts = [f"a {colour} ball on the {place}", f"{colour} disc, {place}"]
            rows.writerow([name, split, f"photos/{name}.png", *texts])
    return manifest


def main(folder: Path) -> None:
    manifest = draw_photos(folder)
    runtime = RuntimeConfig(store=str(folder / "store"), work=folder / "work")
    for family in ("separate", "joint"):
        job = TrainJob(
            dataset=IngestConfig(dataset="manifest", root=manifest, context_size=64),
            encoders=EncoderConfig(image="packaged:efficientnet_lite0", image_size=64),
            model=ModelConfig(family=family, embedding=64, hidden=64),
            training=TrainingConfig(epochs=12),
            evaluation=EvaluationConfig(resamples=100),
            runtime=runtime,
        )
        made = run(job)
        recall = made.open("evaluation").metrics["mean_recall"].value
        print(f"{family}: mean recall {recall:.1f} %, {made.artifacts['model'].key}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
