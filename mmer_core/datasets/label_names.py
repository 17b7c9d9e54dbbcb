"""Labels that were probably meant: what differs by case or blanks only, or joins several by another separator."""

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

_SEPARATORS = {",": "comma", ";": "semicolon", "|": "vertical bar", "\t": "tab"}


def folded(label: str) -> str:
    """What labels that look alike have in common: not case, blanks or the Unicode normal form."""
    return "".join(unicodedata.normalize("NFKC", label).casefold().split())


class KnownLabels:
    """A label set, and what is nearest to a label that is not in it.

    Args:
        labels: The set.
        separator: What joins the labels of one cell.
    """

    def __init__(self, labels: Iterable[str], separator: str) -> None:
        self._labels = dict.fromkeys(labels)
        self._separator = separator
        self._alike: dict[str, list[str]] = defaultdict(list)
        for label in self._labels:
            self._alike[folded(label)].append(label)
        self._parts = Counter(
            folded(part) for label in self._labels for mark in _SEPARATORS for part in _split(label, mark)
        )

    def unknown(self, named: Sequence[str], known: str) -> str:
        """A sentence about those of the labels that are not in the set, or ``""``.

        Args:
            known: What the set is called.
        """
        strange = [label for label in named if label not in self._labels]
        explained = {label: self._meant(label, known) for label in strange}
        plain = [label for label, meant in explained.items() if not meant]
        sentences = [f"not among {known}: {', '.join(plain)}"] if plain else []
        return "; ".join([*sentences, *filter(None, explained.values())])

    def alike(self) -> list[str]:
        """A sentence about each group of labels of the set that are probably one, or several in one."""
        groups = [group for group in self._alike.values() if len(group) > 1]
        found = [
            f"the labels {', '.join(map(repr, group))} differ by case or blanks only, and count as {len(group)}: "
            "write them alike, or declare the labels"
            for group in groups
        ]
        return found + [note for label in self._labels if (note := self._joined(label))]

    def _meant(self, label: str, known: str) -> str:
        if (joined := self._joined(label)) or not (alike := self._alike.get(folded(label))):
            return joined
        differs = "which differs by case or blanks only: write it so"
        return f"label {label!r} is not among {known}, but {alike[0]!r} is, {differs}"

    def _joined(self, label: str) -> str:
        """What to do where a label is several of the set, joined by something else than the separator."""
        for mark, name in _SEPARATORS.items():
            parts = [folded(part) for part in _split(label, mark)]
            if mark != self._separator and any(
                part in self._alike or self._parts[part] > 1 for part in parts
            ):
                return (
                    f"{label!r} holds a {name}, but labels are joined by {self._separator!r}: "
                    f"write that, or declare {json.dumps({'separator': mark})}"
                )
        return ""


def _split(label: str, mark: str) -> list[str]:
    """The labels that a mark may join: none, or at least two."""
    parts = [part for part in label.split(mark) if part.strip()]
    return parts if len(parts) > 1 else []
