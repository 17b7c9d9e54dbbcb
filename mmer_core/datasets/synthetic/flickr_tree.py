"""A miniature Flickr8k on disk in the layout of the download, including pitfalls of the real one."""

import csv
from pathlib import Path

from mmer_core.datasets.flickr_splits import LISTS
from mmer_core.datasets.synthetic.describe import caption_photo
from mmer_core.datasets.synthetic.shares import draw_photo, generator, split_sizes
from mmer_core.datasets.synthetic_config import SyntheticConfig

_CAPTIONS = 5
_ONE_WORD, _DUPLICATE, _CORRUPT, _COMMA = 0, 1, 2, 3
"""Train photos, by index, with a one-word caption, a repeated caption, broken bytes, a comma."""


def write_flickr8k(root: Path, config: SyntheticConfig) -> Path:
    """Write ``Images/``, ``captions.txt`` (CSV) and the three official split lists.

    Returns:
        The root.
    """
    (root / "Images").mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str]] = []
    number = 0
    for split, count in split_sizes(config).items():
        photos, captions = [], []
        for _ in range(count):
            rng = generator(config, "flickr8k", number)
            scene, drawing = draw_photo(rng)
            # Scatter the numbers as in the real names, so that name order differs from split order.
            photos.append(f"{(number * 2654435761 + 12345) % 10**10:010d}_{number:06x}.jpg")
            drawing.image.save(root / "Images" / photos[-1], quality=90)
            captions.append([caption_photo(scene, rng) for _ in range(_CAPTIONS)])
            number += 1
        if config.shuffle_labels:
            order = generator(config, f"shuffle {split}").permutation(count)
            captions = [captions[row] for row in order]
        if split == "train":
            captions[_ONE_WORD][0] = "Outside"
            captions[_DUPLICATE][1] = captions[_DUPLICATE][0]
            captions[_COMMA][0] = f'{captions[_COMMA][0][:-2]}, "seen" from afar .'
            (root / "Images" / photos[_CORRUPT]).write_bytes(b"\xff\xd8\xff\xe0 not a photo")
        (root / LISTS[split]).write_text("".join(f"{photo}\n" for photo in photos))
        rows += [(photo, text) for photo, texts in zip(photos, captions, strict=True) for text in texts]
    with (root / "captions.txt").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerows([("image", "caption"), *sorted(rows, key=lambda row: row[0])])
    return root
