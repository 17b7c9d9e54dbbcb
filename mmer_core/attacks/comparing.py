"""Two models under the same attacks on the same images, and every attack beside the control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmer_core.attacks.controls import CONTROL_ATTACKS, control_among
from mmer_core.attacks.denominators import fooled_of_shared, robustly_right
from mmer_core.attacks.figures import Figures, accuracy_alone
from mmer_core.attacks.random_corners import RandomCorners
from mmer_core.attacks.random_pixels import RandomPixels
from mmer_core.heavy import pd
from mmer_core.statistics.clusters import FloatArray
from mmer_core.statistics.comparison import Comparison, Question, Rule, compare_shares, corrected

ROBUST, CONTROLS, CERTIFIED = "robust ", "control ", "certified "
"""How topics of comparisons begin."""
_PLAIN = {RandomPixels.name: "random pixels", RandomCorners.name: "random pixels in corner colours"}


class Versions(NamedTuple):
    """Readings of the same images, see `mmer_core.attacks.figures`: ``clean (N, F)``, and of every attack ``(V, N, F)``, one
    for each of its seeds."""

    clean: FloatArray
    attacked: Mapping[str, FloatArray]

    def under(self, attacks: Sequence[str]) -> FloatArray:
        """``(1 + V, N, F)`` clean, and under any of some attacks."""
        return np.concatenate([self.clean[None], *(self.attacked[attack] for attack in attacks)])


class Attacked(NamedTuple):
    """A model under attack.

    Attributes:
        name: Of the model.
        outcomes: The table of its outcomes.
        right: ``(rows,)`` whether its clean answer is true.
        figures: What is measured of its images.
    """

    name: str
    outcomes: pd.DataFrame
    right: Sequence[bool] | np.ndarray
    figures: Figures = accuracy_alone

    def at(self, pixels: int, attacks: Sequence[str]) -> pd.DataFrame:
        """``right`` and ``fooled`` by sample, in order of their ids: fooled where any of the attacks succeeds with K."""
        table = self.outcomes.assign(right=self.right, fooled=self.outcomes["status"] == "fooled")
        chosen = table[(table["pixels"] == pixels) & table["attack"].isin(attacks)]
        return chosen.groupby("sample", sort=True)[["right", "fooled"]].any()

    def versions(self, pixels: int, attacks: Sequence[str], samples: Sequence[str]) -> Versions:
        """Readings of some samples, clean and with K changed; where an attack did not run on one, the clean one again."""
        table = self.outcomes.assign(right=self.right, fooled=self.outcomes["status"] == "fooled")
        table = table[
            (table["pixels"] == pixels) & table["attack"].isin(attacks) & table["sample"].isin(samples)
        ]
        whole = table.drop_duplicates("sample").set_index("sample").loc[[*samples]]
        clean = _readings(whole["right"], whole["clean_reading"])
        place = {sample: number for number, sample in enumerate(samples)}
        attacked: dict[str, list[FloatArray]] = {attack: [] for attack in attacks}
        for (attack, _), run in table.groupby(["attack", "seed"], sort=True):
            version = clean.copy()
            safe = robustly_right(run["right"], run["fooled"])
            version[run["sample"].map(place)] = _readings(safe, run["final_reading"])
            attacked[attack].append(version)
        return Versions(clean, {attack: np.stack(each) for attack, each in attacked.items()})

    def runs(self) -> set[tuple[int, str]]:
        """Each K and attack that was run."""
        return {*zip(self.outcomes["pixels"], self.outcomes["attack"], strict=True)}


def compare_attacked(
    first: Sequence[Attacked], second: Sequence[Attacked], rule: Rule, clusters: Mapping[str, int]
) -> list[Comparison]:
    """The figures of all images in the worst case over the searches that were run on both models, and success among the
    images that both had right, at every K, each with Holm's correction for all K. An image counts as fooled if any of these
    searches succeeds.

    Args:
        first: And ``second``: every training of a model, attacked on the same samples; those of one only are left out.
            Which images both had right is asked of pairs of trainings, in order.
        rule: What decides.
        clusters: The photo, or group, of every sample.
    """
    names = first[0].name, second[0].name
    runs = _common([*first, *second])
    robust: dict[str, list[Comparison]] = {}
    success = []
    for pixels in sorted({k for k, _ in runs}):
        attacks = sorted({a for k, a in runs if k == pixels} - {*CONTROL_ATTACKS})
        tables = [one.at(pixels, attacks) for one in (*first, *second)]
        samples = sorted(set.intersection(*(set(table.index) for table in tables)))
        if not samples:
            continue
        photo = np.array([clusters[sample] for sample in samples])
        right, fooled = (
            np.stack([table.loc[samples, name].to_numpy() for table in tables])
            for name in ("right", "fooled")
        )
        listed = ", ".join(attacks)
        shown = [one.versions(pixels, attacks, samples).under(attacks) for one in (*first, *second)]
        for figure in first[0].figures(samples):
            question = Question(
                robust_topic(figure.name, pixels),
                f"{figure.question} under {listed}?",
                f"{ROBUST}{figure.label}, K = {pixels}",
                *names,
            )
            worst = [*map(figure.worst, shown)]
            robust.setdefault(figure.together, []).append(
                figure.compare(question, worst[: len(first)], worst[len(first) :], rule, photo)
            )
        pairs = [
            (place % len(first), len(first) + place % len(second))
            for place in range(max(len(first), len(second)))
        ]
        mine = np.stack([fooled_of_shared(right[one], right[other], fooled[one]) for one, other in pairs])
        theirs = np.stack([fooled_of_shared(right[one], right[other], fooled[other]) for one, other in pairs])
        shared = ~np.isnan(mine)
        if shared.any(axis=1).all():
            asked = shared.any(axis=0)
            success.append(
                compare_shares(
                    Question(
                        f"shared success K={pixels}",
                        f"Which model is fooled less often by {listed}, of the images that both had right?",
                        f"fooled of those both had right, K = {pixels}",
                        *names,
                        better="lower",
                    ),
                    mine[:, asked],
                    theirs[:, asked],
                    rule,
                    photo[asked],
                    paired=True,
                )
            )
    decided = [one for together in robust.values() for one in corrected(together, rule)]
    return [*decided, *corrected(success, rule)]


def compare_with_control(
    model: Sequence[Attacked], rule: Rule, clusters: Mapping[str, int]
) -> list[Comparison]:
    """Every attack beside the strictest control of the same ``K``, on the images that did not meet the criterion as they
    were, with Holm's correction for all attacks and K.

    Args:
        model: Every training of it.
        rule: What decides.
        clusters: The photo, or group, of every sample.
    """
    name = model[0].name
    tried = [Attacked(name, *_unmet(one)) for one in model]
    runs = _common(tried)
    found = []
    for pixels, attack in sorted(runs):
        control = control_among(one for k, one in runs if k == pixels)
        if attack in CONTROL_ATTACKS or control is None:
            continue
        pairs = [
            _paired(one.at(pixels, [attack]), one.at(pixels, [control]))[["fooled", "fooled_other"]]
            for one in tried
        ]
        both = (
            pd.concat(pairs, axis=1).sort_index().astype(float)
        )  # NaN where one training does not have an image
        found.append(
            compare_shares(
                Question(
                    control_topic(name, attack, pixels),
                    f"Does {attack} fool the {name} model more often than {_PLAIN[control]}?",
                    f"fooled, {name} model, K = {pixels}",
                    attack,
                    control,
                ),
                both["fooled"].to_numpy().reshape(-1, len(model)).T,
                both["fooled_other"].to_numpy().reshape(-1, len(model)).T,
                rule,
                both.index.map(clusters).to_numpy(),
                paired=True,
            )
        )
    return corrected(found, rule)


def _common(models: Sequence[Attacked]) -> set[tuple[int, str]]:
    """Each K and attack that was run on all of them."""
    return set.intersection(*(one.runs() for one in models))


def robust_topic(figure: str, pixels: int) -> str:
    return f"{ROBUST}{figure} K={pixels}"


def certified_topic(pixels: int) -> str:
    return f"{CERTIFIED}accuracy K={pixels}"


def pixels_of(topic: str) -> int:
    """K of a robust or a certified topic."""
    return int(topic.rpartition("=")[2])


def control_topic(model: str, attack: str, pixels: int) -> str:
    return f"{CONTROLS}{model} {attack} K={pixels}"


def _readings(right: pd.Series | np.ndarray, kept: pd.Series) -> FloatArray:
    return np.column_stack([np.asarray(right, dtype=float), np.array(kept.tolist(), dtype=float)])


def _paired(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    return first.merge(second, left_index=True, right_index=True, suffixes=("", "_other"))


def _unmet(model: Attacked) -> tuple[pd.DataFrame, np.ndarray]:
    kept = (model.outcomes["status"] != "already").to_numpy()
    return model.outcomes[kept], np.asarray(model.right)[kept]
