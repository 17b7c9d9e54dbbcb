"""EMOTIC: one sample per person (Kosti et al., *Context Based Emotion Recognition using EMOTIC Dataset*, 2020)."""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from mmer_core.base_config import BY_CONTENT
from mmer_core.datasets.cells import flaws
from mmer_core.datasets.coco_captions import CocoCaptions, image_id, read_coco_captions
from mmer_core.datasets.emotic_mat import (
    as_float,
    as_floats,
    as_strings,
    as_struct,
    as_structs,
    as_text,
    load_annotations,
)
from mmer_core.datasets.formats.base import Format
from mmer_core.datasets.image_places import ImagePlaces
from mmer_core.datasets.layout import find_base, find_file, require_folder, stays_inside
from mmer_core.datasets.people_text import Photo, Sidecar, read_sidecar, template
from mmer_core.datasets.protocols import Protocol, ProtocolOptions
from mmer_core.datasets.raw import RawDataset, without_captions
from mmer_core.datasets.sample import Box, Quarantined, Sample, Text
from mmer_core.datasets.synthetic_config import SyntheticConfig
from mmer_core.errors import DatasetError
from mmer_core.paths import Place
from mmer_core.taxonomy import EMOTIC_CATEGORIES, VAD

ANNOTATIONS = "Annotations.mat"


class Emotic(Format):
    """The tree as downloaded, or nested one level deeper or shallower."""

    name = "emotic"
    summary = "people in photos with 26 emotions and ratings, as downloaded"
    tasks = ("emotion",)
    protocols = ("corrected", "mat2py")

    class Options(ProtocolOptions):
        captions: Annotated[Place | None, BY_CONTENT] = Field(
            None,
            description="EMOTIC text: a CSV with the columns folder, filename, caption and optionally person "
            "(0-based). People without a row get a neutral template that uses no label.",
        )
        coco_captions: Annotated[tuple[Place, ...], BY_CONTENT] = Field(
            (),
            description="EMOTIC text: COCO's captions_*.json files, for people in COCO photos that the CSV does not "
            "cover; joined by the COCO id in the file name.",
        )

    options: Options

    def read(self, root: Path) -> RawDataset:
        return read_emotic(root, **dict(self.options))

    def companions(self) -> Sequence[Path]:
        texts = [self.options.captions] if self.options.captions else []
        return [*texts, *self.options.coco_captions]

    def draw(self, tree: Path, config: SyntheticConfig) -> None:
        from mmer_core.datasets.synthetic import write_emotic

        write_emotic(tree, config)

    def read_drawn(self, tree: Path) -> RawDataset:
        from mmer_core.datasets.synthetic import CAPTIONS_FILE

        captions = self.options.captions or tree / CAPTIONS_FILE
        return read_emotic(tree, captions=captions, protocol=self.options.protocol)


def read_emotic(
    root: Path, *, captions: Path | None, protocol: Protocol, coco_captions: Sequence[Path] = ()
) -> RawDataset:
    """Read the tree as downloaded, or nested one level deeper or shallower.

    Both protocols drop people without a finite valence, arousal or dominance: the reference converter counts
    a NaN as "no annotator" and drops the person, so arrays never hold NaN. ``mat2py`` follows it further:

    * a person whom annotators saw without assigning a category is kept, with 26 zeros;
    * in val and test, a person whom no annotator saw is dropped (``no_annotator``), whatever the union contains;
    * a category that is listed twice appears twice in the CSV (``corrected`` lists it once).

    ``corrected`` drops a person without any category and takes the union as given.

    Args:
        root: Folder with ``Annotations.mat`` and the photos somewhere below it.
        captions: Sidecar CSV ``folder, filename, caption[, person]``, the first choice for a person's text.
        coco_captions: COCO's ``captions_*.json``, the second choice, for photos from COCO. Without either, a
            person's text is a template with gender and age.
        protocol: How boxes will be clamped; see `mmer_core.datasets.boxes`.

    Raises:
        DatasetError: A folder or file is missing, unreadable, or not in EMOTIC's layout.
    """
    require_folder(root, "EMOTIC")
    annotations = find_file(root, ANNOTATIONS)
    if annotations is None:
        raise DatasetError(f"{root} holds no {ANNOTATIONS}: give the folder that EMOTIC was unpacked into")
    sidecar = read_sidecar(captions) if captions else Sidecar()
    coco = read_coco_captions(coco_captions)
    splits = load_annotations(annotations)
    reader = _Reader(_photo_base(root, splits), sidecar, coco, protocol)
    for split, images in splits.items():
        for image in images:
            reader.read_image(split, image)
    quarantined = [
        *reader.quarantined,
        *reader.sidecar.quarantined,
        *reader.coco.quarantined,
        *reader.sidecar.unmatched(reader.people, reader.seen),
    ]
    inputs = len(reader.samples) + len(without_captions(quarantined))
    return RawDataset(
        "EMOTIC",
        "emotion",
        EMOTIC_CATEGORIES,
        reader.samples,
        quarantined,
        inputs,
        protocol,
        reader.sidecar.rows + len(reader.coco.quarantined),
        (*reader.sidecar.notes, *reader.coco.notes),
    )


def _photo_base(root: Path, splits: dict[str, list[dict[str, Any]]]) -> Path:
    names = {as_text(image.get("folder")) for images in splits.values() for image in images}
    named = sorted(name for name in names if stays_inside(name))
    base = find_base(root, named)
    if base is None:
        raise DatasetError(
            f"{root} holds none of the photo folders {', '.join(named) or '(none named)'}: "
            "unpack EMOTIC's images beside its annotations"
        )
    return base


class _Reader:
    """Collects samples; numbers the people of a photo consecutively even if the photo is listed twice."""

    def __init__(self, base: Path, sidecar: Sidecar, coco: CocoCaptions, protocol: Protocol) -> None:
        self.sidecar = sidecar
        self.coco = coco
        self.protocol = protocol
        self.base = base
        self.places = ImagePlaces(base)
        self.people: dict[Photo, int] = defaultdict(int)
        self.seen: set[tuple[Photo, int]] = set()
        self.samples: list[Sample] = []
        self.quarantined: list[Quarantined] = []

    def read_image(self, split: str, image: dict[str, Any]) -> None:
        photo = (as_text(image.get("folder")).strip("/"), as_text(image.get("filename")))
        size = [as_float(as_struct(image.get("image_size")).get(side)) for side in ("n_col", "n_row")]
        for person in as_structs(image.get("person")):
            number = self.people[photo]
            self.people[photo] += 1
            self.seen.add((photo, number))
            identity = f"{photo[0]}/{photo[1]}#{number}"
            problem = next(_problems(photo, size, person, split, self.protocol), None)
            if problem:
                self.quarantined.append(Quarantined(split, identity, *problem))
            else:
                self.samples.append(self._sample(identity, split, photo, number, size, person))

    def _texts(self, photo: Photo, number: int) -> tuple[Text, ...]:
        """Captions from the first source that has any."""
        own = self.sidecar.texts(photo, number)
        identity = image_id(photo)
        return own or (self.coco.get(identity, ()) if identity is not None else ())

    def _sample(
        self, identity: str, split: str, photo: Photo, number: int, size: list[float], person: dict[str, Any]
    ) -> Sample:
        gender, age = as_text(person.get("gender")), as_text(person.get("age"))
        known_size = json.dumps([int(side) for side in size]) if _finite(size) else ""
        return Sample(
            id=identity,
            split=split,
            image=self.base / self.places.spelt("/".join(photo)),
            box=_box(person),
            texts=self._texts(photo, number) or (template(gender, age),),
            labels=tuple(_categories(person, split, self.protocol)),
            vad=_vad(person, split),
            metadata={
                "Folder": photo[0],
                "Filename": photo[1],
                "Image Size": known_size,
                "Gender": gender,
                "Age": age,
            },
        )


def _problems(
    photo: Photo, size: list[float], person: dict[str, Any], split: str, protocol: Protocol
) -> Iterator[tuple[str, str]]:
    """Every reason to drop a person, as (reason, detail), worst first."""
    if not stays_inside("/".join(photo)) or not all(photo):
        yield "bad_annotation", f"folder {photo[0]!r} and file name {photo[1]!r} name no photo of the dataset"
    if flawed := flaws([*photo, as_text(person.get("gender")), as_text(person.get("age"))]):
        yield "bad_annotation", flawed
    corners = as_floats(person.get("body_bbox"))
    if len(corners) != 4 or not _finite(corners):
        yield "bad_annotation", f"body_bbox {corners} is not four numbers"
    if protocol == "mat2py" and not _finite(size):
        yield "bad_annotation", "image_size is not two numbers, which the protocol mat2py clamps boxes to"
    vad = _vad(person, split)
    if not _finite(vad):
        rated = ", ".join(f"{name} {value:g}" for name, value in zip(VAD, vad, strict=True))
        yield "vad_nan", f"not all dimensions are rated: {rated}"
    labels = _categories(person, split, protocol)
    if not labels and protocol == "corrected":
        yield "no_label", "no annotator named a category"
    if protocol == "mat2py" and split != "train" and not _judged(person):
        yield "no_annotator", "no annotator saw this person, whom the reference converter leaves out"
    unknown = [label for label in labels if label not in EMOTIC_CATEGORIES]
    if unknown:
        yield "unknown_label", f"not among the 26 categories: {', '.join(unknown)}"


def _judged(person: dict[str, Any]) -> bool:
    """Whether at least one annotator gave categories, and at least one gave valence, arousal and dominance."""
    return all(as_structs(person.get(f"annotations_{what}")) for what in ("categories", "continuous"))


def _finite(values: list[float] | tuple[float, ...]) -> bool:
    return all(math.isfinite(value) for value in values)


def _box(person: dict[str, Any]) -> Box:
    # Truncation commutes with clamping to whole pixels, so both protocols may start from integers.
    x1, y1, x2, y2 = (int(value) for value in as_floats(person.get("body_bbox")))
    return x1, y1, x2, y2


def _categories(person: dict[str, Any], split: str, protocol: Protocol) -> list[str]:
    """The only annotator's categories in train, the union over annotators in val and test."""
    if split == "train":
        named = as_strings(as_struct(person.get("annotations_categories")).get("categories"))
    else:
        named = as_strings(person.get("combined_categories"))
    return named if protocol == "mat2py" else list(dict.fromkeys(named))


def _vad(person: dict[str, Any], split: str) -> tuple[float, float, float]:
    field = "annotations_continuous" if split == "train" else "combined_continuous"
    rated = as_struct(person.get(field))
    valence, arousal, dominance = (as_float(rated.get(name)) for name in VAD)
    return valence, arousal, dominance
