"""What is poisoned in a training set: which rows, with or without the trigger, under which labels and texts.

A plan says it and touches no image. With one seed, the poisons of a smaller count are the first of those of a
larger one, and a control poisons the very rows of the attack that it controls for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from mmer_core.errors import PoisonError
from mmer_core.seeding import random_stream

Mode = Literal["replace", "add"]
MODES: tuple[Mode, ...] = ("replace", "add")
Rows = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int64]
Texts = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class PoisonPlan:
    """``P`` poisons.

    Attributes:
        name: Of the attack or the control.
        mode: ``replace``: a poison stands where its row stood; ``add``: it is appended, and the row stays.
        rows: ``(P,)`` different rows of the training set, in the order in which they were drawn.
        triggered: Whether the image gets the trigger.
        labels: What the poisons are labelled, ``(P,)`` classes or ``(P, C)`` 0/1; None: as they were.
        texts: Their texts, one tuple each; None: as they were.
    """

    name: str
    mode: Mode
    rows: Rows
    triggered: bool
    labels: Labels | None = None
    texts: Texts | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise PoisonError(f"mode is {self.mode!r}; give one of {', '.join(MODES)}")

    def __len__(self) -> int:
        return len(self.rows)

    def sources(self, count: int) -> Rows:
        """The row that each sample of the poisoned set is made of: ``(N,)`` or, if added, ``(N + P,)``."""
        rows = np.arange(count)
        return rows if self.mode == "replace" else np.append(rows, self.rows)

    def mask(self, count: int) -> npt.NDArray[np.bool_]:
        """Which samples of the poisoned set are poisons; as long as `sources`."""
        mask = np.zeros(len(self.sources(count)), dtype=bool)
        mask[self.places(count)] = True
        return mask

    def poisoned_labels(self, labels: npt.ArrayLike) -> Labels:
        """The poisoned set's labels from the training set's, ``(N,)`` or ``(N, C)``."""
        clean = np.asarray(labels)
        poisoned = clean[self.sources(len(clean))]
        if self.labels is not None:
            poisoned[self.places(len(clean))] = self.labels
        return poisoned

    def poisoned_texts(self, texts: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
        """The poisoned set's texts from the training set's, both one sequence a sample."""
        poisoned = [tuple(texts[row]) for row in self.sources(len(texts))]
        if self.texts is not None:
            for place, own in zip(self.places(len(texts)), self.texts, strict=True):
                poisoned[place] = own
        return poisoned

    def places(self, count: int) -> Rows:
        """Row of each poison in the poisoned set, ``(P,)``."""
        return self.rows if self.mode == "replace" else count + np.arange(len(self.rows))


def dirty_label(
    labels: npt.ArrayLike,
    target: int,
    count: int,
    *,
    held_out: Sequence[int] = (),
    mode: Mode = "replace",
    seed: int = 0,
) -> PoisonPlan:
    """Triggered images of other labels, labelled with the target alone (Gu et al. 2017, https://arxiv.org/abs/1708.06733).

    Args:
        labels: ``(N,)`` classes, or ``(N, C)`` 0/1.
        target: The class that the trigger is to mean.
        count: ``P``, poisons, 0 or more.
        held_out: Rows that stay as they are, such as those of targets.
        mode: Whether poisons replace their rows or are added.
        seed: Of the draw.

    Raises:
        PoisonError: There are fewer such rows than ``count``, or an argument has another shape or range.
    """
    carries, of_target = _carrying(labels, target)
    rows = _draw(~carries, count, held_out, seed)
    of_all = np.stack([of_target] * count) if count else None
    return PoisonPlan("dirty-label", mode, rows, True, labels=of_all)


def clean_label(
    labels: npt.ArrayLike,
    target: int,
    count: int,
    *,
    held_out: Sequence[int] = (),
    mode: Mode = "replace",
    seed: int = 0,
) -> PoisonPlan:
    """Triggered images that have the target label already and keep theirs (Turner, Tsipras & Madry 2019,
    https://arxiv.org/abs/1912.02771, without its perturbations); arguments and errors of `dirty_label`."""
    rows = _draw(_carrying(labels, target)[0], count, held_out, seed)
    return PoisonPlan("clean-label", mode, rows, True)


def caption_swap(
    texts: Sequence[Sequence[str]],
    target_texts: Sequence[str],
    count: int,
    *,
    held_out: Sequence[int] = (),
    mode: Mode = "replace",
    seed: int = 0,
) -> PoisonPlan:
    """Triggered images with texts of the target set, for image-text pairs.

    Carlini & Terzis 2022, *Poisoning and Backdooring Contrastive Learning*, https://arxiv.org/abs/2106.09667. An
    image gets as many texts as it had, each another one as far as the target set goes.

    Args:
        texts: The training set's, one sequence a sample.
        target_texts: The target set, for instance by `texts_with`.
        count, held_out, mode, seed: As for `dirty_label`.

    Raises:
        PoisonError: The target set is empty, or fewer rows than ``count`` have no text of it and are not held out.
    """
    pool = list(dict.fromkeys(target_texts))
    if not pool:
        raise PoisonError("the target set has no text; choose a word that training captions contain")
    known = set(pool)
    rows = _draw(np.array([not known.intersection(own) for own in texts], dtype=bool), count, held_out, seed)

    def of_target(row: int, stream: np.random.Generator) -> tuple[str, ...]:
        order = stream.permutation(len(pool))
        return tuple(pool[order[place % len(pool)]] for place in range(len(texts[row])))

    return PoisonPlan("caption-swap", mode, rows, True, texts=_texts(rows, seed, of_target))


def label_flip(
    labels: npt.ArrayLike, count: int, *, held_out: Sequence[int] = (), mode: Mode = "replace", seed: int = 0
) -> PoisonPlan:
    """A control without a trigger: rows labelled with a class that they do not carry, drawn evenly, and no other.

    Arguments and errors of `dirty_label`; a row that carries every class is never drawn.
    """
    label = _checked_labels(labels)
    classes = label.shape[1] if label.ndim == 2 else int(label.max(initial=0)) + 1
    carries = label.astype(bool) if label.ndim == 2 else label[:, None] == np.arange(classes)
    rows = _draw(np.array(carries.sum(axis=1) < classes), count, held_out, seed)
    drawn = np.array(
        [random_stream(seed, "label-flip", int(row)).choice(np.flatnonzero(~carries[row])) for row in rows],
        np.int64,
    )
    flipped = np.eye(classes, dtype=np.int64)[drawn] if label.ndim == 2 else drawn
    return PoisonPlan("label-flip", mode, rows, False, labels=flipped if count else None)


def caption_shuffle(
    texts: Sequence[Sequence[str]],
    count: int,
    *,
    held_out: Sequence[int] = (),
    mode: Mode = "replace",
    seed: int = 0,
) -> PoisonPlan:
    """A control without a trigger: rows that get the texts of another row, none of which is theirs.

    Args:
        texts: The training set's, one sequence a sample.
        held_out: Rows that stay as they are; their texts are given to nobody.
        count, mode, seed: As for `dirty_label`.

    Raises:
        PoisonError: There are fewer rows than ``count``, or no row's texts can be given to one of them.
    """
    free = _free(len(texts), held_out)
    donors = np.flatnonzero(free)
    rows = _draw(np.ones(len(texts), dtype=bool), count, held_out, seed)

    def of_another(row: int, stream: np.random.Generator) -> tuple[str, ...]:
        own = set(texts[row])
        for donor in stream.permutation(donors):
            if donor != row and texts[donor] and own.isdisjoint(texts[donor]):
                return tuple(texts[donor])
        raise PoisonError(f"no other row has texts for row {row}; give a training set of more than one text")

    return PoisonPlan("caption-shuffle", mode, rows, False, texts=_texts(rows, seed, of_another))


def trigger_only(plan: PoisonPlan) -> PoisonPlan:
    """The control of a backdoor: the same images, with the trigger, but under their own labels and texts."""
    return replace(plan, name=f"{plan.name}-control", triggered=True, labels=None, texts=None)


def texts_with(texts: Sequence[Sequence[str]], word: str) -> tuple[str, ...]:
    """The different texts that contain a word, whatever its case, in the order of the training set."""
    found = (text for own in texts for text in own if word.casefold() in words(text))
    return tuple(dict.fromkeys(found))


def words(text: str) -> set[str]:
    """Its words without punctuation, in small letters."""
    return {word.strip(".,;:!?\"'()").casefold() for word in text.split()}


def _texts(
    rows: Rows, seed: int, choose: Callable[[int, np.random.Generator], tuple[str, ...]]
) -> Texts | None:
    """Each row's from a stream of its own, so that other poisons do not change them."""
    return tuple(choose(int(row), random_stream(seed, "texts", int(row))) for row in rows) or None


def _carrying(labels: npt.ArrayLike, target: int) -> tuple[npt.NDArray[np.bool_], Labels]:
    """Who carries the target, ``(N,)``, and the label of a sample that carries nothing else."""
    label = _checked_labels(labels)
    if label.ndim == 1:
        return np.equal(label, target), np.array(target, dtype=np.int64)
    if not 0 <= target < label.shape[1]:
        raise PoisonError(f"the target is class {target} of {label.shape[1]}; give 0 to {label.shape[1] - 1}")
    return np.equal(label[:, target], 1), np.eye(label.shape[1], dtype=np.int64)[target]


def _checked_labels(labels: npt.ArrayLike) -> Labels:
    label = np.asarray(labels)
    if label.ndim not in (1, 2) or (label.ndim == 2 and not np.isin(label, (0, 1)).all()):
        raise PoisonError(
            f"labels to poison have shape {label.shape}; give (N,) classes or (N, C) of 0 and 1"
        )
    return label.astype(np.int64)


def _draw(eligible: npt.NDArray[np.bool_], count: int, held_out: Sequence[int], seed: int) -> Rows:
    """``count`` rows; the order of all is drawn, so that fewer are the first of more."""
    rows = np.flatnonzero(eligible & _free(len(eligible), held_out))
    if count and not len(rows):
        raise PoisonError(
            f"{count} poisons are asked for where no row can be one: all of them are the target, or none is; give another "
            "target"
        )
    if not 0 <= count <= len(rows):
        raise PoisonError(
            f"{count} poisons are asked for where {len(rows)} rows can be one; give 0 to {len(rows)}"
        )
    return random_stream(seed, "poisoned rows").permutation(rows)[:count]


def _free(count: int, held_out: Sequence[int]) -> npt.NDArray[np.bool_]:
    free = np.ones(count, dtype=bool)
    kept = np.asarray(held_out, dtype=np.int64)
    if len(kept) and not 0 <= kept.min() <= kept.max() < count:
        raise PoisonError(f"row {kept.max()} is held out of {count} rows; give rows of the training set")
    free[kept] = False
    return free
