"""What the columns of a table hold, by their names and their cells."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmer_core.confined.picture_limits import PHOTOS
from mmer_core.datasets.initial.listing import Listing
from mmer_core.datasets.initial.pictures import Pictures
from mmer_core.datasets.manifest_rows import BOX
from mmer_core.datasets.manifest_splits import SPLIT_NAMES
from mmer_core.datasets.values import NotText, is_given, texts_of
from mmer_core.errors import DatasetError
from mmer_core.taxonomy import SPLITS, VAD

NONE = "none"
"""What a flag says to use no column in a role."""
_LOOKED_AT = 2000
_FEW, _REPEATED = 12, 4
"""Most different values of a column that may hold labels, and how often each occurs at least on average."""

NAMES: dict[str, tuple[str, ...]] = {
    "image": (
        *(
            "image",
            "images",
            "imagepath",
            "imgpath",
            "imagefile",
            "imagename",
            "path",
            "filepath",
            "file",
            "filename",
        ),
        *("img", "photo", "picture", "pic", "media", "imageid", "photoid", "id"),
    ),
    "text": (
        *("text", "texts", "caption", "captions", "tweet", "sentence", "sentences", "description", "comment"),
        *("message", "post", "utterance", "transcript", "content", "body", "title", "alttext", "raw"),
    ),
    "labels": (
        *(
            "labels",
            "label",
            "labelname",
            "classname",
            "class",
            "classes",
            "category",
            "categories",
            "emotion",
        ),
        *("emotions", "sentiment", "target", "tags", "tag", "annotation", "y"),
    ),
    "split": ("split", "subset", "partition", "set", "fold", "phase", "usage"),
    "group": (
        *("group", "person", "personid", "subject", "subjectid", "album", "albumid", "patient", "patientid"),
        *("speaker", "speakerid", "session", "video", "videoid", "identity"),
    ),
    "id": (
        "id",
        "sampleid",
        "uid",
        "guid",
        "uuid",
        "key",
        "tweetid",
        "postid",
        "imageid",
        "photoid",
        "index",
    ),
}
"""Names of columns by what they are used as, without case, blanks and marks; the likelier first."""


@dataclass(frozen=True)
class Choice:
    """Columns that are used as ``role``, and why."""

    role: str
    columns: tuple[str, ...]
    why: str


def proposed(listing: Listing, pictures: Pictures, asked: Mapping[str, Sequence[str]]) -> list[Choice]:
    """What each column is used as; those without a choice are only passed on.

    Args:
        asked: Columns by role, as the user names them; ``none`` for no column.

    Raises:
        DatasetError: A column that the user names does not exist, none holds labels or texts, or there are no pictures, and
            not both labels and texts.
    """
    finder = _Finder(listing, pictures, asked)
    choices = [
        choice
        for role in ("image", "labels", "text", "split", "group", "id")
        if (choice := finder.find(role))
    ]
    choices += finder.numbers()
    roles = {choice.role for choice in choices}
    if "image" not in roles and not roles >= {"labels", "text"}:
        raise finder.without_pictures()
    if not roles & {"labels", "text"}:
        raise DatasetError(
            f"no column holds labels or texts by its name ({', '.join(listing.names)}): name one by --labels or --text"
        )
    return choices


def like_labels(listing: Listing, choices: Sequence[Choice]) -> dict[str, list[str]]:
    """The values of columns without a use whose few values repeat, as those of labels do, by column."""
    used = {name for choice in choices for name in choice.columns}
    found = {}
    for name in listing.names:
        if name in used:
            continue
        texts = [text for line in listing.lines if not line.problem for text in _texts(line.cells.get(name))]
        values = sorted(set(texts))
        if 1 < len(values) <= _FEW and len(texts) >= _REPEATED * len(values):
            found[name] = values
    return found


class _Finder:
    """Finds columns one role after the other; no column has two."""

    def __init__(self, listing: Listing, pictures: Pictures, asked: Mapping[str, Sequence[str]]) -> None:
        self.names, self.pictures, self.asked, self.origins = listing.names, pictures, asked, listing.origins
        sound = [line for line in listing.lines if not line.problem]
        self.rows = len(sound)
        self.cells = {name: [line.cells.get(name) for line in sound] for name in self.names}
        self.used = {name for names in asked.values() for name in names}
        if unknown := self.used - {*self.names, NONE}:
            raise DatasetError(
                f"there is no column {sorted(unknown)[0]!r}: the columns are {', '.join(self.names)}"
            )

    def find(self, role: str) -> Choice | None:
        if names := tuple(self.asked.get(role, ())):
            return None if names == (NONE,) else Choice(role, names, "as you say")
        if role in self.origins:
            return Choice(role, (role,), self.origins[role])
        if self.origins:
            return None
        found = self._image() if role == "image" else self._by_name(role)
        if found:
            self.used.update(found.columns)
        return found

    def numbers(self) -> list[Choice]:
        """Ratings and boxes, which have no other names."""
        found = []
        for role, wanted in (("ratings", VAD), ("box", BOX)):
            columns = {name.strip().lower(): name for name in self.names if name not in self.used}
            if all(name in columns for name in wanted):
                found.append(Choice(role, tuple(columns[name] for name in wanted), "by their names"))
        return found

    def _image(self) -> Choice | None:
        """The column whose cells are pictures, whatever its name is; None where nothing looks like one.

        Raises:
            DatasetError: A column looks like one by its name or its cells, but its pictures are not there.
        """
        step = max(1, self.rows // _LOOKED_AT)
        ranked, lost = [], False
        for place, name in enumerate(self.names):
            if name in self.used:
                continue
            given = [text for cell in self.cells[name][::step] if (text := _plain(cell))]
            share = sum(bool(self.pictures.find(text)) for text in given) / len(given) if given else 0
            likely = sum(text.lower().endswith(PHOTOS) for text in given) > len(given) / 2
            lost = lost or share > 0 or likely or _rank("image", name) < NAMES["image"].index("id")
            if share > 0.5:
                ranked.append((share, -_rank("image", name), -place, name))
        if not ranked:
            if lost:
                raise self.without_pictures()
            return None
        share, *_, name = max(ranked)
        return Choice("image", (name,), f"{100 * share:.0f} % of its cells name pictures")

    def without_pictures(self) -> DatasetError:
        where = f"{len(self.pictures.paths)} pictures below {self.pictures.base}"
        return DatasetError(
            f"the cells of no column ({', '.join(self.names)}) are names of the {where}: give --images FOLDER or --image COLUMN; "
            "or, for texts with labels and without pictures, --image none, --text and --labels"
        )

    def _by_name(self, role: str) -> Choice | None:
        alike = [
            name for name in self.names if name not in self.used and _rank(role, name) < len(NAMES[role])
        ]
        for name in sorted(alike, key=lambda name: _rank(role, name)):
            fits, why = self._fits(role, name)
            if fits:
                same = [other for other in alike if _rank(role, other) == _rank(role, name)]
                return Choice(role, tuple(same) if role == "text" else (name,), why)
        return None

    def _fits(self, role: str, name: str) -> tuple[bool, str]:
        given = [cell for cell in self.cells[name] if is_given(cell)]
        texts = [text for cell in given for text in _texts(cell)]
        distinct = len(set(texts))
        match role:
            case "labels":
                return 1 < distinct <= max(2, len(texts) // 2), f"by its name; {distinct} different values"
            case "split":
                known = {SPLIT_NAMES.get(text.strip().lower(), text.strip().lower()) for text in texts}
                return bool(known) and known <= {
                    *SPLITS
                }, f"by its name; it says {', '.join(sorted(set(texts)))}"
            case "id":
                return len(given) == distinct == self.rows, "by its name; no two rows have the same"
            case "group":
                return distinct < len(texts), f"by its name; {distinct} different values"
        return bool(texts), "by its name"


def _rank(role: str, name: str) -> int:
    """The place of a name among those of a role, from 0; their number, if it is none of them."""
    plain = re.sub(r"[\W_]+", "", name.casefold())
    if role == "text":
        plain = plain.rstrip("0123456789")
    return NAMES[role].index(plain) if plain in NAMES[role] else len(NAMES[role])


def _texts(cell: Any) -> list[str]:
    try:
        return [text for text in texts_of(cell) if is_given(text)]
    except NotText:
        return []


def _plain(cell: Any) -> str:
    return "" if isinstance(cell, list) else next(iter(_texts(cell)), "")
