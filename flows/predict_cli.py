"""`mmer predict`: predict the labels of people, photos and texts; or write captions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.output import say, say_json
from flows.parameters import Runtime, at_least
from flows.terminal import progress_bars, say_table
from mmer_core.config import RuntimeConfig
from mmer_core.errors import ConfigError, DatasetError
from mmer_core.prediction import (
    PersonDetector,
    PersonPrediction,
    PersonResult,
    caption_photos,
    listed_photos,
    open_classifier,
    open_writer,
    read_people,
    write_photo_captions,
    write_predictions,
)
from mmer_core.prediction.person_prediction import check_output
from mmer_core.prediction.photos import PhotoRequest, is_list, other_files, read_photo
from mmer_core.progress import silent
from mmer_core.stages import Context
from tasks.progress import progress_for

_STRONGEST = 3
_NAMED = 5


def predict(
    photo: Path | None = None,
    *,
    box: tuple[int, int, int, int] | None = None,
    text: str | None = None,
    detector: str | None = None,
    detector_threshold: Annotated[float, Parameter(validator=at_least(0, 1))] = 0.7,
    caption: bool = False,
    beam: Annotated[int, Parameter(validator=at_least(1, 50))] = 5,
    model: str | None = None,
    out: Path | None = None,
    json_output: Annotated[bool, Parameter(name="--json")] = False,
    runtime: Runtime = RuntimeConfig(),
) -> None:
    """`mmer predict`.

    Parameters
    ----------
    photo:
        A photo; a folder of photos; or a .csv or .tsv with the columns photo, text or both and, if there are any,
        x1,y1,x2,y2: one row per person. Without it, the text alone is read.
    box:
        The person: x1 y1 x2 y2 in pixels; the whole photo when not given.
    text:
        A text that goes with the photo, or stands alone; optional with a photo.
    detector:
        Detects people in photos without a box: torchvision:ARCH@WEIGHTS_FILE, any of torchvision's detection
        networks.
    detector_threshold:
        Minimum confidence of the detector for a person, 0 to 1.
    caption:
        Write a caption for each photo instead, by a model that was trained with --training.decoder.
    beam:
        With --caption: captions of a photo that are followed at a time; 1 always takes the most probable word.
    model:
        Key of a classifier, or with --caption of a model with a decoder; the newest one by default.
    out:
        Write the predictions to this .csv or .json, one row or object per person, or the captions, one per photo.
    json_output:
        Print JSON instead of a table.
    """
    if out is not None:
        check_output(out)
    if caption:
        if box or text or detector:
            raise ConfigError("a caption is of a whole photo: leave out --box, --text and --detector")
        _caption(photo, beam, model, out, json_output, runtime)
        return
    single = photo is None or not (photo.is_dir() or is_list(photo))
    if photo is None:
        if not text or box:
            raise ConfigError("there is no photo and no text to read: give PHOTO, or --text without --box")
        requests = [PhotoRequest("text", text=text)]
    else:
        if single:
            read_photo(photo)  # fails on a wrong name before anything is loaded
        requests = listed_photos(photo, box=box, text=text)
    others = other_files(photo) if photo and photo.is_dir() else []
    if others:
        say(f"{len(others)} files are not photos by their names and are skipped: {_few(others)}", error=True)
    with progress_bars(runtime.quiet):
        # One photo needs no progress bar.
        context = Context(runtime, progress_for("predict") if len(requests) > 1 else silent)
        found = PersonDetector.load(detector, detector_threshold, context.device) if detector else None
        key, trained = open_classifier(context, model)
        people = read_people(context, trained, requests, found)
    failed = sum(person.error is not None for person in people)
    if single and failed:
        raise DatasetError(str(people[0].error))
    if out is not None:
        write_predictions(people, out)
        say(out)
    elif json_output:
        alone = people[0].reading if single and detector is None else None
        say_json(alone.to_dict() if alone else [person.to_dict() for person in people])
    else:
        say(f"by {key}, the {trained.spec.family} model of {trained.spec.dataset}")
        if single and len(people) == 1 and people[0].reading:
            _print_prediction(people[0].reading)
        else:
            _print_people(people)
    if failed:
        unread = [person.photo for person in people if person.error is not None]
        say(f"{failed} of {len(people)} could not be read; the rows say why: {_few(unread)}", error=True)


def _caption(
    photo: Path | None,
    beam: int,
    model: str | None,
    out: Path | None,
    json_output: bool,
    runtime: RuntimeConfig,
) -> None:
    """Captions of a photo, of those in a folder, or of a list's."""
    if photo is None:
        raise ConfigError("there is no photo to write a caption for: give PHOTO")
    if single := not (photo.is_dir() or is_list(photo)):
        read_photo(photo)  # fails on a wrong name before anything is loaded
    requests = listed_photos(photo)
    with progress_bars(runtime.quiet):
        context = Context(runtime, progress_for("caption") if len(requests) > 1 else silent)
        key, trained = open_writer(context, model)
        captions = caption_photos(context, trained, requests, beam)
    unread = [one.photo for one in captions if one.error is not None]
    if single and unread:
        raise DatasetError(str(captions[0].error))
    if out is not None:
        write_photo_captions(captions, out)
        say(out)
    elif json_output:
        say_json(captions[0].to_dict() if single else [one.to_dict() for one in captions])
    else:
        say(f"by {key}, the {trained.spec.family} model of {trained.spec.dataset}")
        if single:
            say(captions[0].caption or "")
        else:
            rows = [
                (one.photo, one.caption if one.error is None else f"not read: {one.error}")
                for one in captions
            ]
            say_table(("photo", "caption"), rows)
    if unread:
        say(
            f"{len(unread)} of {len(captions)} could not be read; the rows say why: {_few(unread)}",
            error=True,
        )


def _few(names: Sequence[str]) -> str:
    """The first few names, without duplicates."""
    different = list(dict.fromkeys(names))
    return ", ".join(different[:_NAMED]) + (", …" if len(different) > _NAMED else "")


def _print_prediction(reading: PersonPrediction) -> None:
    ranked = reading.ranked()
    say_table(
        ("label", "probability", "predicted"),
        [(name, f"{probability:.2f}", "yes" if present else "") for name, probability, present in ranked],
    )
    if reading.ratings:
        say(_ratings(reading) + " (1 to 10)")


def _print_people(people: Sequence[PersonResult]) -> None:
    """One line per person: the strongest labels and the ratings, or the error."""
    rows = []
    for person in people:
        box = (
            " ".join(map(str, person.box))
            if person.box
            else "whole photo"
            if person.pictured
            else "text alone"
        )
        if person.reading is None:
            cells = (person.photo, "", f"not read: {person.error}", "")
        else:
            best = person.reading.ranked()[:_STRONGEST]
            strongest = ", ".join(f"{name} {probability:.2f}" for name, probability, _ in best)
            cells = (person.photo, box, strongest, _ratings(person.reading))
        rows.append(cells)
    say_table(("photo", "box", "strongest labels", "ratings"), rows)


def _ratings(reading: PersonPrediction) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in reading.ratings.items())
