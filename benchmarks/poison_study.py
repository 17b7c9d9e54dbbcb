"""Backdoors in captioned photos: which trigger to use is chosen on train alone, then both families are measured on dev.

    python -m benchmarks.poison_study --flickr8k DIR

First the last sixth of the training photos stands for dev: the joint model is poisoned for each of some words with a patch of
middle size, then, for the word with the most success, with patches of other sizes; of these the smallest is chosen that reaches
a half, or else the best one. Then five numbers of poisons with three seeds are tried on both families and judged on dev, for captions
that are swapped for those of the word, beside the same trigger without the captions; and the largest number for photos
that show the word and keep their captions.

One head and two captions a step, everything else by default: 48 trainings of 50 epochs. It goes on where it was stopped, given the same
``--store``. Without a folder (or with ``--quick``) mmer draws the photos, and the figures only show that it runs.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from benchmarks.result import finish, interval, run_app
from flows.poisoning import poison
from mmer_core.config import (
    EncoderConfig,
    EvaluationConfig,
    IngestConfig,
    ModelConfig,
    PoisonConfig,
    PoisonJob,
    RuntimeConfig,
    TrainingConfig,
)
from mmer_core.datasets.flickr_splits import LISTS
from mmer_core.poisoning.record import MeanOutcome, PoisoningSummary
from mmer_core.record import Interval
from mmer_core.stages import Context
from mmer_core.store import ArtifactKey
from tasks.running import call_flow

app = App(name="benchmarks.poison_study", help=__doc__)
Flags = Parameter(name="*")

ENOUGH = 50.0
"""Percent of success that a size has to reach to be chosen before larger ones."""
_HELD_BACK = 6  # one photo in so many of train stands for dev


@app.default
def main(
    *,
    flickr8k: Path | None = None,
    words: Sequence[str] = ("basketball", "hockey", "surfboard"),
    sides: Sequence[int] = (40, 64, 96),
    counts: Sequence[int] = (5, 10, 20, 40, 60),
    seeds: int = 3,
    quick: bool = False,
    json: Path | None = None,
    runtime: Annotated[RuntimeConfig, Flags] = RuntimeConfig(),
) -> None:
    """Choose a trigger on train, poison both families, and print both tables.

    Parameters
    ----------
    flickr8k:
        Folder of a Flickr8k download; without it a miniature is drawn.
    words:
        Words that the poisons may be for; nothing is chosen where there is one, and one side.
    sides:
        Sides of the patch in pixels.
    counts:
        Poisons in the training set.
    seeds:
        Trainings of everything.
    quick:
        A smoke test on a drawn miniature.
    json:
        File for the figures of the study; those of the choice stand beside it, as ``NAME-choice.json``.
    """
    base = PoisonJob(
        dataset=IngestConfig(dataset="flickr8k", root=flickr8k),
        model=ModelConfig(heads=1),
        training=TrainingConfig(captions=2),
        evaluation=EvaluationConfig(split="val"),
        runtime=runtime,
    )
    if quick or flickr8k is None:
        words, sides, counts, seeds = ("grass",), (8, 16), (4, 8), 2
        small = {"image": "packaged:efficientnet_lite0", "image_size": 64}
        base = base.model_copy(
            update={
                "encoders": EncoderConfig(**small),
                "training": TrainingConfig(captions=2, epochs=3),
                "dataset": IngestConfig(dataset="flickr8k", context_size=64),
            }
        )
    most = max(counts)
    title = flickr8k.name if flickr8k else "synthetic Flickr8k"
    tried: list[dict[str, Any]] = []

    def try_out(word: str, side: int) -> float:
        settings = _config(target=word, patch={"side": side}, counts=(most,), seeds=1, controls=())
        (found,) = _poisoned(_on_train(base, tuning, families=("joint",), poison=settings))
        tried.append({"word": word, "patch": f"{side} x {side}", **_row(found)})
        return found.success or 0.0

    word, side = words[0], sides[0]
    if len(words) > 1 or len(sides) > 1:
        with tempfile.TemporaryDirectory() as folder:
            tuning = None if base.dataset.root is None else held_back(base.dataset.root, Path(folder))
            middle = sides[len(sides) // 2]
            of_words = {word: try_out(word, middle) for word in words}
            word = max(of_words, key=lambda name: of_words[name])
            of_sides = {side: of_words[word] if side == middle else try_out(word, side) for side in sides}
        side = chosen(of_sides)
        what = {f"{title}: chosen for {word}, side of the patch in pixels": float(side)}
        finish("poison_study, choice", tried, what, json and json.with_stem(f"{json.stem}-choice"))
    shared = _config(target=word, patch={"side": side}, seeds=seeds)
    studies = (
        shared.model_copy(update={"counts": tuple(counts)}),
        shared.model_copy(update={"attacks": ("clean-label",), "counts": (most,), "controls": ()}),
    )
    means = [
        one for study in studies for one in _poisoned(base.model_copy(update={"poison": study}), clean=True)
    ]
    table = {(one.attack, one.count): {"poisons": f"{one.attack}, {one.count}"} for one in means}
    for one in means:
        for name, value in _row(one).items():
            table[one.attack, one.count][f"{one.family}: {name}"] = value
    best = {one.family: one.success or 0.0 for one in means if (one.attack, one.count) == ("backdoor", most)}
    ratios = {
        f"{title}: success, joint / separate, {most} poisons": best["joint"] / max(best["separate"], 0.1)
    }
    finish("poison_study", [table[name] for name in sorted(table)], ratios, json)


def _config(**fields: Any) -> PoisonConfig:
    return PoisonConfig.model_validate(fields)


def held_back(flickr8k: Path, folder: Path) -> Path:
    """Flickr8k with the training photos alone, of which the last sixth are dev; the photos themselves are linked."""
    tree = folder / "train of Flickr8k"
    tree.mkdir()
    for path in flickr8k.iterdir():
        if path.name not in LISTS.values():
            (tree / path.name).symlink_to(path.absolute())
    photos = (flickr8k / LISTS["train"]).read_text().split()
    first = len(photos) - len(photos) // _HELD_BACK
    for split, own in (("train", photos[:first]), ("val", photos[first:])):
        (tree / LISTS[split]).write_text("\n".join(own) + "\n")
    return tree


def chosen(success: dict[int, float]) -> int:
    """The smallest side with enough success; where none has, that with the most."""
    enough = [side for side in sorted(success) if success[side] >= ENOUGH]
    return enough[0] if enough else max(success, key=lambda side: success[side])


def _on_train(base: PoisonJob, tuning: Path | None, **fields: Any) -> PoisonJob:
    dataset = base.dataset.model_copy(update={"root": tuning})
    return base.model_copy(update={"dataset": dataset, **fields})


def _poisoned(job: PoisonJob, *, clean: bool = False) -> list[MeanOutcome]:
    """Means over seeds of every training set, with or without the clean one."""
    key = ArtifactKey.parse(call_flow(poison, job))
    summary = Context(job.runtime).store.manifest(key).summary_as(PoisoningSummary)
    return [one for one in summary.means if clean or one.attack != "clean"]


def _row(one: MeanOutcome) -> dict[str, Any]:
    def shown(name: str) -> str:
        value, low, high = (getattr(one, f"{name}{end}") for end in ("", "_low", "_high"))
        return interval(Interval(value, low, high))

    return {
        "success %": shown("success"),
        "no poison %": shown("reference"),
        "mean recall": shown("metric"),
        "of it lost": shown("metric_loss"),
    }


if __name__ == "__main__":
    run_app(app)
