"""The splits of a manifest: as given, or generated so that related rows share a split."""

import hashlib
from collections.abc import Hashable, Sequence

from mmer_core.datasets.fingerprint import digests
from mmer_core.datasets.image_places import ImagePlaces
from mmer_core.datasets.manifest_rows import Row
from mmer_core.datasets.stratified_splits import connected
from mmer_core.taxonomy import SPLITS

SPLIT_NAMES = {"training": "train", "dev": "val", "valid": "val", "validation": "val"}
SHARES = (0.70, 0.85)
"""Generated splits take 70 % train, 15 % val and 15 % test, by hash."""


def given_split(row: Row) -> str:
    """The split that a row names, by mmer's name for it."""
    name = str(row.fields.get("split", "")).strip().lower()
    return SPLIT_NAMES.get(name, name)


def generated_splits(places: ImagePlaces, rows: list[Row]) -> list[str]:
    """A split for every row; rows of the same group, image or image content share theirs, and rows of the same texts that
    have no image.

    The split follows from the hash of the connected groups or, without groups, from that of the image's bytes or of the
    texts. So adding rows to a dataset moves no image to another split, unless a new row connects what was separate. Near-identical images
    are not looked for, as that takes decoding them all: `mmer_core.datasets.initial` does.
    """
    found = image_digests(places, rows)
    images = [
        found.get(name) or hashlib.sha256((name or repr(row.texts)).encode()).digest()
        for row, name in zip(rows, map(image_of, rows), strict=True)
    ]
    groups = [hashlib.sha256(name.encode()).digest() if (name := group_of(row)) else b"" for row in rows]
    texts = text_ties([(row.texts, bool(image_of(row))) for row in rows])
    parts = connected(
        [
            {("image", image), ("group", group or image), *ties}
            for image, group, ties in zip(images, groups, texts, strict=True)
        ]
    )
    deciding: dict[int, bytes] = {}
    for part, image, group in zip(parts, images, groups, strict=True):
        # The prefix lets a group's hash win over image hashes, so adding images never moves a group.
        candidate = b"0" + group if group else b"1" + image
        deciding[part] = min(candidate, deciding.get(part, candidate))
    shares = [int.from_bytes(deciding[part][1:9]) / 2**64 for part in parts]
    return [SPLITS[sum(share >= limit for limit in SHARES)] for share in shares]


def text_ties(samples: Sequence[tuple[Sequence[str], bool]]) -> list[set[Hashable]]:
    """The same for samples of one text, apart from blanks, of which one has no image: in two splits they would be leakage.

    Args:
        samples: Their texts, and whether there is an image.
    """
    plain: list[set[Hashable]] = [
        {("text", " ".join(text.split())) for text in texts} for texts, _ in samples
    ]
    alone = {tie for ties, (_, pictured) in zip(plain, samples, strict=True) if not pictured for tie in ties}
    return [ties & alone for ties in plain]


def group_of(row: Row) -> str:
    """The row's group (a person, an album), which must not be in two splits; ``""`` if it has none."""
    group: str = row.fields.get("group", "")
    return group


def image_digests(places: ImagePlaces, rows: list[Row]) -> dict[str, bytes | None]:
    """SHA-256 of every image by the name in the rows; None if the folder has no such file."""
    places_by_name = {name: places.find(name) for name in sorted(set(map(image_of, rows)))}
    found = digests(places.base, sorted({place.path for place in places_by_name.values() if place.path}))
    return {
        name: found.get(place.path)
        for name, place in places_by_name.items()
        if place.reason in ("", "missing_image")
    }


def image_of(row: Row) -> str:
    """The path of a row's image, verbatim."""
    return str(row.fields.get("image", ""))
