"""MVSA: tweets with a photo and a sentiment for either (Niu et al., *Sentiment Analysis on Multi-View Social Data*, MMM 2016)."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from mmer_core.datasets.cells import CELL_LIMIT, flaw, flaws
from mmer_core.datasets.delimited import Record
from mmer_core.datasets.encodings import UTF8, encoding_of
from mmer_core.datasets.fingerprint import digests
from mmer_core.datasets.formats.base import Format
from mmer_core.datasets.image_places import ImagePlaces, Place
from mmer_core.datasets.label_names import KnownLabels
from mmer_core.datasets.layout import folders, require_folder, stays_inside
from mmer_core.datasets.raw import NOT_UTF8, WHERE, RawDataset
from mmer_core.datasets.sample import Quarantined, Sample, Text
from mmer_core.datasets.values import is_given
from mmer_core.errors import DatasetError
from mmer_core.taxonomy import SPLITS
from mmer_core.text_lines import DAMAGED, decoded, read_lines

LABELS = ("positive", "neutral", "negative")
LABEL_FILE = "labelResultAll.txt"
FOLDER = "data"
PHOTO, TWEET = ".jpg", ".txt"
VOTE = "text,image"
"""Column of an annotator: the sentiment of the text and that of the photo, with a comma between."""
NAMES = {1: "MVSA-Single", 3: "MVSA-Multiple"}
"""Name of the dataset by the number of its annotators."""
SHARES = (0.80, 0.90)
"""Splits take 80 % train, 10 % val and 10 % test, by the hash of the photo."""
PROTOCOL = "splits generated, labels agreed as in MultiSentiNet"

_TWEET_BYTES = 4 * CELL_LIMIT + 4
"""What `CELL_LIMIT` characters and a byte order mark take at most."""

Problem = tuple[str, str]


class Mvsa(Format):
    """MVSA-Single or MVSA-Multiple, whichever the folder holds."""

    name = "mvsa"
    summary = "tweets with a photo and their sentiment, MVSA-Single or MVSA-Multiple"
    tasks = ("classification",)

    def read(self, root: Path) -> RawDataset:
        """One sample a tweet, with the label on which its text and its photo agree (Xu & Mao, *MultiSentiNet*, CIKM 2017).

        Of three annotators the majority counts, for the text and for the photo. Where one of these is neutral the
        other counts; where they are opposite, or there is no majority, the tweet is quarantined. So are rows without
        their photo or tweet, and photos and tweets without a row.

        Raises:
            DatasetError: There is not one label file, or it has not the columns of MVSA, or no row.
        """
        require_folder(root, "MVSA")
        return _Reader(_label_file(root)).read()


@dataclass(frozen=True)
class _Row:
    """One row of the label file, with the places of its files; ``problem`` if it cannot be read."""

    where: str
    id: str
    votes: list[str]
    problem: str
    photo: Place
    tweet: Place


class _Reader:
    """Collects samples and faults, row by row."""

    def __init__(self, labels: Path) -> None:
        self.base, self.label_file = labels.parent, labels.name
        self.places = ImagePlaces(self.base)
        self.names, records = _read_table(labels)
        self.rows = [self._row(record) for record in records]
        self.known = KnownLabels(LABELS, ",")
        self.places_of_ids: dict[str, str] = {}
        photos = sorted({row.photo.path for row in self.rows if row.photo.path})
        self.digests = digests(self.base, photos)
        self.samples: list[Sample] = []
        self.quarantined: list[Quarantined] = []
        self.notes: list[Quarantined] = []
        self.undecoded: list[bytes] = []

    def read(self) -> RawDataset:
        for row in self.rows:
            self._read(row)
        self.quarantined += self._without_row()
        return RawDataset(
            NAMES[self.names.count(VOTE)],
            "classification",
            LABELS,
            self.samples,
            self.quarantined,
            len(self.samples) + len(self.quarantined),
            PROTOCOL,
            notes=tuple(self.notes),
            encodings=self._encodings(),
        )

    def _row(self, record: Record) -> _Row:
        cells = list(zip(self.names, record.cells, strict=False))
        cell = next((cell for name, cell in cells if name == "id"), "")
        identity = cell if is_given(cell) else ""
        return _Row(
            f"line {record.line} of {self.label_file}",
            identity,
            [cell for name, cell in cells if name == VOTE],
            record.problem,
            self._place(identity, PHOTO),
            self._place(identity, TWEET),
        )

    def _place(self, identity: str, suffix: str) -> Place:
        """Where a tweet's photo or text is. A link that leads out of the folder is not followed."""
        if not identity:
            return Place("", "no_id", "no id")
        if not stays_inside(identity) or not {"/", "\\"}.isdisjoint(identity):
            return Place(
                "", "outside", f"the id {identity!r} is not the name of a file in the folder {FOLDER}"
            )
        place = self.places.find(f"{FOLDER}/{identity}{suffix}")
        if place.reason == "outside":
            fault = f"{FOLDER}/{identity}{suffix} is a link that leads out of the dataset: put the file itself there"
            return Place("", "outside", fault)
        return place

    def _read(self, row: _Row) -> None:
        split = self._split(row.photo)
        if row.problem:
            detail = f"{row.where}: {row.problem}"
            self.quarantined.append(Quarantined(split, row.id or row.where, "malformed_row", detail))
            return
        text, damaged, faults = _tweet(self.base, row.tweet)
        agreed = _Agreed.of(row.votes, self.known)
        if problems := list(self._problems(row, faults, agreed)):
            detail = f"{row.where}: " + "; ".join(detail for _, detail in problems)
            self.quarantined.append(Quarantined(split, row.id or row.where, problems[0][0], detail))
            return
        if damaged:
            self.undecoded.append((self.base / row.tweet.path).read_bytes())
        self.notes += [
            Quarantined(
                split, row.id, NOT_UTF8, f"line {line} of {row.tweet.path}: U+FFFD is in place of {DAMAGED}"
            )
            for line in damaged
        ]
        metadata = {
            "Folder": FOLDER,
            "Filename": PurePath(row.photo.path).relative_to(FOLDER).as_posix(),
            "Text_Label": agreed.text,
            "Image_Label": agreed.image,
            WHERE: row.where,
        }
        self.samples.append(
            Sample(
                id=row.id,
                split=split,
                image=self.base / row.photo.path,
                texts=(Text(text, "dataset"),),
                labels=(agreed.label,),
                metadata=metadata,
            )
        )

    def _problems(self, row: _Row, faults: list[Problem], agreed: "_Agreed") -> Iterator[Problem]:
        if row.id and (first := self.places_of_ids.setdefault(row.id, row.where)) != row.where:
            yield "duplicate_id", f"id {row.id!r} occurs in {first} already"
        if row.photo.fault:
            yield row.photo.reason, row.photo.fault
        if row.photo.reason not in ("no_id", "outside"):
            yield from faults
        yield from agreed.faults

    def _encodings(self) -> dict[str, int]:
        """Of the tweets; each is too short for its own to be found, so that those that are not UTF-8 count together."""
        others = len(self.undecoded)
        found = {UTF8: len(self.samples) - others}
        return found | ({encoding_of(b"\n".join(self.undecoded)) or "unknown": others} if others else {})

    def _split(self, photo: Place) -> str:
        """By the hash of the photo's bytes, so that copies of a photo share a split; ``""`` without a photo."""
        if not photo.path:
            return ""
        digest = self.digests[photo.path] or hashlib.sha256(photo.path.encode()).digest()
        share = int.from_bytes(digest[:8]) / 2**64
        return SPLITS[sum(share >= limit for limit in SHARES)]

    def _without_row(self) -> Iterator[Quarantined]:
        """The photos and tweets that no row names."""
        try:
            names = sorted(os.listdir(self.base / FOLDER))
        except OSError:
            return
        named = {unicodedata.normalize("NFC", row.id) for row in self.rows}
        files: dict[str, list[str]] = {}
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in (PHOTO, TWEET) and unicodedata.normalize("NFC", stem) not in named:
                files.setdefault(stem, []).append(f"{FOLDER}/{name}")
        for stem, found in files.items():
            yield Quarantined(
                "", stem, "no_label", f"no row of {self.label_file} names {' and '.join(found)}"
            )


@dataclass(frozen=True)
class _Agreed:
    """What the annotators agree on, or why there is no label."""

    text: str = ""
    image: str = ""
    label: str = ""
    faults: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, votes: Sequence[str], known: KnownLabels) -> "_Agreed":
        pairs = [[label.strip() for label in vote.split(",")] for vote in votes]
        for vote, pair in zip(votes, pairs, strict=True):
            if not is_given(vote):
                return cls(faults=(("no_label", "an annotator gives no label"),))
            if len(pair) != 2:
                fault = f"{vote!r} is not the label of the text and that of the image, with a comma between"
                return cls(faults=(("unknown_label", fault),))
            if unknown := known.unknown(pair, "the labels of MVSA"):
                return cls(faults=(("unknown_label", unknown),))
        text, image = (_majority(views) for views in zip(*pairs, strict=True))
        torn = [name for name, label in (("text", text), ("image", image)) if not label]
        if torn:
            fault = f"no two annotators agree on the {' and on the '.join(torn)}: {' | '.join(votes)}"
            return cls(faults=(("no_majority", fault),))
        if {text, image} == {"positive", "negative"}:
            return cls(faults=(("opposite_labels", f"the text is {text}, and the image is {image}"),))
        return cls(text, image, image if text == "neutral" else text)


def _majority(labels: Sequence[str]) -> str:
    """The label of more than half of the annotators, or ``""``."""
    label, count = Counter(labels).most_common(1)[0]
    return label if 2 * count > len(labels) else ""


def _tweet(base: Path, place: Place) -> tuple[str, list[int], list[Problem]]:
    """The text of a tweet byte for byte, the numbers of its damaged lines, and its faults."""
    if not place.path:
        reason = "missing_text" if place.reason == "missing_image" else place.reason
        return "", [], [(reason, place.fault.removeprefix("image "))]
    try:
        with (base / place.path).open("rb") as handle:
            content = handle.read(_TWEET_BYTES + 1)
    except OSError as error:
        return "", [], [("unreadable_text", f"cannot read {place.path}: {error.strerror or error}")]
    if len(content) > _TWEET_BYTES:
        fault = f"{place.path} has more than {CELL_LIMIT} characters: shorten it"
        return "", [], [("unreadable_text", fault)]
    lines = decoded(content)
    text = "".join(lines.lines)
    if flawed := flaw(text):
        return "", [], [("unreadable_text", flawed.replace("a cell", place.path))]
    if not is_given(text):
        return "", [], [("no_text", f"{place.path} is empty")]
    return text, sorted(line + 1 for line in lines.damaged), []


def _label_file(root: Path) -> Path:
    found = [folder / LABEL_FILE for folder in folders(root) if os.path.isfile(folder / LABEL_FILE)]
    if not found:
        raise DatasetError(f"{root} holds no {LABEL_FILE}: give the folder of MVSA-Single or MVSA-Multiple")
    if len(found) > 1:
        listed = ", ".join(str(path.parent) for path in found)
        raise DatasetError(f"{root} holds {len(found)} datasets: give one of {listed}")
    return found[0]


def _read_table(labels: Path) -> tuple[list[str], list[Record]]:
    """The names of the columns, in lower case, and the rows below."""
    try:
        text = read_lines(labels)
    except OSError as error:
        raise DatasetError(f"cannot read {labels}: {error.strerror or error}; make it readable") from None
    # No cell of MVSA has a line break, so every line is a row: a stray quote cannot swallow the next ones.
    table = [
        Record(number, _cells(line), damaged=number - 1 in text.damaged)
        for number, line in enumerate(text.lines, 1)
        if line.strip()
    ]
    names = [cell.strip().lower() for cell in table[0].cells] if table else []
    if not {"id", VOTE}.issubset(names):
        raise DatasetError(
            f"{labels} is no label file of MVSA: its first line must name ID and {VOTE}, with a tab between"
        )
    if names.count(VOTE) not in NAMES:
        wanted = "one for MVSA-Single, three for MVSA-Multiple"
        raise DatasetError(f"{labels} has {names.count(VOTE)} columns {VOTE}: there must be {wanted}")
    if len(table) == 1:
        raise DatasetError(f"{labels} has no row below its header: download MVSA again")
    return names, [record._replace(problem=_problem(record, len(names))) for record in table[1:]]


def _cells(line: str) -> list[str]:
    """The cells of a line, without the quotes in which spreadsheets put what holds a comma."""
    cells = line.rstrip("\r\n").split("\t")
    return [cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell for cell in cells]


def _problem(record: Record, width: int) -> str:
    """Why a row cannot be read, or ``""``."""
    if len(record.cells) != width:
        return f"not as many cells as the header has: {len(record.cells)} cells, not {width}"
    return flaws(record.cells) or (DAMAGED if record.damaged else "")
