"""Raw datasets with any number of photos, in the layouts of the downloads."""

import csv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from mmer_core.config import SyntheticConfig
from mmer_core.datasets.flickr_splits import LISTS
from mmer_core.datasets.formats.flickr8k import read_flickr8k
from mmer_core.datasets.synthetic import write_flickr8k
from mmer_core.datasets.synthetic.emotic_mat import Person, Photo, write_annotations
from mmer_core.datasets.synthetic.emotions import rate
from mmer_core.datasets.synthetic.shares import draw_photo, generator, split_sizes

SCENES = 40
"""Number of drawings that the photos of `natural_emotic` are derived from."""
SIZE = (640, 480)
NOISE = 8.0
"""Standard deviation of the noise in 0..255, for which JPEG files are as large, and as slow to decode, as those of cameras."""
ANNOTATORS = {"train": 1, "val": 4, "test": 3}


def flickr8k_tree(root: Path, photos: int, source: Path | None) -> Path:
    """Flickr8k with this many photos: linked from a real download if given, otherwise drawn by mmer."""
    if source is None:
        return write_flickr8k(root, SyntheticConfig(images=photos))
    samples = read_flickr8k(source.absolute(), splits="official").samples
    chosen = [samples[row] for row in np.linspace(0, len(samples) - 1, photos).astype(int)]
    (root / "Images").mkdir(parents=True)
    for sample in chosen:
        (root / "Images" / sample.id).symlink_to(sample.image)
    for split, name in LISTS.items():
        (root / name).write_text("".join(f"{sample.id}\n" for sample in chosen if sample.split == split))
    with (root / "captions.txt").open("w", encoding="utf-8", newline="") as handle:
        rows = [(sample.id, text.text) for sample in chosen for text in sample.texts]
        csv.writer(handle, lineterminator="\n").writerows([("image", "caption"), *rows])
    return root


def natural_emotic(root: Path, photos: int) -> Path:
    """EMOTIC with this many photos of 640x480 pixels and one to three people, without pitfalls.

    mmer's drawings are smaller and smoother than photos, so they are enlarged and get noise, because this benchmark
    is dominated by decoding.
    """
    config = SyntheticConfig(images=photos)
    noise = np.random.default_rng(0).normal(0, NOISE, (2 * SIZE[1], 2 * SIZE[0], 3)).astype(np.int16)
    scenes = list(_scenes(config))
    (root / "Annotations").mkdir(parents=True)
    (root / "emotic" / "mscoco" / "images").mkdir(parents=True)
    splits: dict[str, list[Photo]] = {}
    with ThreadPoolExecutor() as pool:
        for split, count in split_sizes(config).items():
            splits[split] = []
            for place in range(count):
                rng = generator(config, f"natural {split}", place)
                pixels, people = scenes[int(rng.integers(SCENES))]
                photo = Photo("mscoco/images", f"{split}_{place:06d}.jpg", SIZE, [])
                for box, gender, age, cues in people:
                    ratings = [rate(cues, rng) for _ in range(ANNOTATORS[split])]
                    photo.people.append(Person(box, gender, age, cues, ratings))
                x, y = rng.integers(SIZE[0]), rng.integers(SIZE[1])
                grain = noise[y : y + SIZE[1], x : x + SIZE[0]]
                pool.submit(_save, pixels, grain, root / "emotic" / photo.folder / photo.filename)
                splits[split].append(photo)
    write_annotations(root / "Annotations" / "Annotations.mat", splits)
    return root


_Figure = tuple[tuple[int, int, int, int], str, str, frozenset[str]]


def _scenes(config: SyntheticConfig) -> Iterator[tuple[np.ndarray, list[_Figure]]]:
    for number in range(SCENES):
        scene, drawing = draw_photo(generator(config, "natural scene", number))
        across, down = SIZE[0] / scene.width, SIZE[1] / scene.height
        people = [
            (
                (int(x1 * across), int(y1 * down), int(x2 * across), int(y2 * down)),
                one.gender,
                one.age,
                scene.cues(one),
            )
            for one, (x1, y1, x2, y2) in zip(scene.figures, drawing.boxes, strict=True)
        ]
        yield np.asarray(drawing.image.convert("RGB").resize(SIZE), np.int16), people


def _save(pixels: np.ndarray, grain: np.ndarray, path: Path) -> None:
    Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)).save(path, quality=90)
