"""Suggestions for unknown labels: those that differ by case or blanks only, or are joined by another separator."""

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

_SEPARATORS = {",": "comma", ";": "semicolon", "|": "vertical bar", "\t": "tab"}


def folded(label: str) -> str:
    """A form that is equal for labels which differ by case, blanks or Unicode normal form only."""
    return "".join(unicodedata.normalize("NFKC", label).casefold().split())


class KnownLabels:
    """A label set that finds the nearest known label to an unknown one.

    Args:
        labels: The set.
        separator: Joins the labels within one cell.
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
        """A sentence about the labels that are not in the set, or ``""``.

        Args:
            known: What messages call the set.
        """
        strange = [label for label in named if label not in self._labels]
        explained = {label: self._meant(label, known) for label in strange}
        plain = [label for label, meant in explained.items() if not meant]
        sentences = [f"not among {known}: {', '.join(plain)}"] if plain else []
        return "; ".join([*sentences, *filter(None, explained.values())])

    def alike(self) -> list[str]:
        """A sentence about each group of labels that are probably the same label, or several joined in one."""
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
        """Advice for a label that consists of several known labels joined by a wrong separator, or ``""``."""
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
    """The labels joined by a separator: none, or at least two."""
    parts = [part for part in label.split(mark) if part.strip()]
    return parts if len(parts) > 1 else []
