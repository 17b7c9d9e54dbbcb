"""The splits of a manifest: as given, or generated so that what belongs together stays together."""

import hashlib

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mmer_core.datasets.fingerprint import digests
from mmer_core.datasets.image_places import ImagePlaces
from mmer_core.datasets.manifest_rows import Row
from mmer_core.taxonomy import SPLITS

SPLIT_NAMES = {"training": "train", "dev": "val", "valid": "val", "validation": "val"}
SHARES = (0.70, 0.85)
"""A generated split takes 70 % train, 15 % val and 15 % test, by a hash."""


def given_split(row: Row) -> str:
    """The split that a row names, under mmer's name for it."""
    name = str(row.fields.get("split", "")).strip().lower()
    return SPLIT_NAMES.get(name, name)


def generated_splits(places: ImagePlaces, rows: list[Row]) -> list[str]:
    """A split for every row; copies of an image, all rows of one, and all rows of a group share theirs.

    What belongs together takes the split that the hash of its groups decides, or that of its image's bytes
    where it is of none. So a dataset that grows moves no image to another split, unless new rows tie together
    what was apart.
    """
    found = image_digests(places, rows)
    images = [found.get(name) or hashlib.sha256(name.encode()).digest() for name in map(image_of, rows)]
    groups = [hashlib.sha256(name.encode()).digest() if (name := group_of(row)) else b"" for row in rows]
    parts = _connected(images, groups)
    deciding: dict[int, bytes] = {}
    for part, image, group in zip(parts, images, groups, strict=True):
        # Any group sorts before any image, so that where there are groups no image more or less decides.
        candidate = b"0" + group if group else b"1" + image
        deciding[part] = min(candidate, deciding.get(part, candidate))
    shares = [int.from_bytes(deciding[part][1:9]) / 2**64 for part in parts]
    return [SPLITS[sum(share >= limit for limit in SHARES)] for share in shares]


def group_of(row: Row) -> str:
    """What a row says must not be in two splits (a person, an album); empty where it says nothing."""
    group: str = row.fields.get("group", "")
    return group


def image_digests(places: ImagePlaces, rows: list[Row]) -> dict[str, bytes | None]:
    """SHA-256 of every image by the name that the rows give it; None where no such file is in the folder."""
    places_by_name = {name: places.find(name) for name in sorted(set(map(image_of, rows)))}
    found = digests(places.base, sorted({place.path for place in places_by_name.values() if place.path}))
    return {
        name: found.get(place.path)
        for name, place in places_by_name.items()
        if place.reason in ("", "missing_image")
    }


def _connected(images: list[bytes], groups: list[bytes]) -> list[int]:
    """A number for each row, the same for rows that hang together through images and groups."""
    number: dict[tuple[str, bytes], int] = {}
    ends = [
        [number.setdefault(node, len(number)) for node in (("image", image), ("group", group or image))]
        for image, group in zip(images, groups, strict=True)
    ]
    one, other = np.array(ends).T
    edges = coo_array((np.ones(len(ends)), (one, other)), shape=(len(number), len(number)))
    return connected_components(edges, directed=False)[1][one].tolist()


def image_of(row: Row) -> str:
    """The path of a row's image, as the row gives it."""
    return str(row.fields.get("image", ""))
