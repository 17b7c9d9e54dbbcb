"""`mmer attack`: attack a trained model by changing a few pixels of one photo."""

import io
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from PIL import Image

from flows.output import say, say_json
from flows.parameters import Flat, Runtime, at_least
from flows.terminal import progress_bars, say_table
from mmer_core.config import RuntimeConfig, SearchConfig
from mmer_core.errors import DatasetError
from mmer_core.files import write_whole
from mmer_core.prediction import (
    PhotoAttack,
    PhotoRequest,
    attack_picture,
    map_picture,
    photo_target,
)
from mmer_core.prediction.photos import read_photo
from mmer_core.stages import Context
from tasks.progress import progress_for

Row = tuple[PhotoAttack, Path, Path]
"""An attack, its picture, and the attacked image itself."""


def attack(
    photo: Path,
    *,
    box: tuple[int, int, int, int] | None = None,
    text: str | None = None,
    model: str | None = None,
    out: Path = Path("attacked"),
    map_stride: Annotated[int | None, Parameter(validator=at_least(1))] = None,
    json_output: Annotated[bool, Parameter(name="--json")] = False,
    search: Annotated[SearchConfig, Flat] = SearchConfig(),
    runtime: Runtime = RuntimeConfig(),
) -> None:
    """`mmer attack`.

    Parameters
    ----------
    photo:
        The photo.
    box:
        The person: x1 y1 x2 y2 in pixels; the whole photo when not given. For classifiers.
    text:
        A text that goes with the photo. Optional for a classifier; for a retrieval model it is the caption that
        the photo finds, and the attack succeeds when the photo no longer finds it.
    model:
        Key of a model; by default the newest one, or without a text the newest classifier.
    out:
        Folder for the pictures.
    map_stride:
        Also draw a map of where one pixel is enough, trying 8 colours at every N-th place across and down; 1 tries
        every place.
    json_output:
        Print JSON instead of a table.
    search:
        Attacks, and what counts as success.
    """
    read_photo(photo)  # fails on a wrong name before anything is loaded
    request = PhotoRequest(str(photo), photo, box, text)
    map_path = out / f"{photo.stem}-map.png"
    rows: list[Row] = []
    mapped = None
    with progress_bars(runtime.quiet):
        target = photo_target(Context(runtime), request, search, model=model)
        progress = progress_for("attack")
        total = len(search.attacks) * len(search.pixels)
        for done, found in enumerate(target.attacks(search, runtime.batch_size), start=1):
            rows.append((found, *_write(found, photo, out)))
            progress(done, total)
        if map_stride is not None:
            mapped = target.one_pixel_map(map_stride, runtime.batch_size, progress_for("map"))
            _save(map_path, map_picture(target.image, mapped))
    (_print_json if json_output else _print_table)(rows)
    if mapped is not None:
        message = f"one pixel is enough at {mapped.vulnerable:.1%} of the places tried: {map_path}"
        say(message, error=json_output)


def _write(found: PhotoAttack, photo: Path, out: Path) -> tuple[Path, Path]:
    stem = f"{photo.stem}-{found.outcome.attack}-{found.outcome.pixels}"
    picture, exact = out / f"{stem}.png", out / f"{stem}-input.png"
    _save(picture, attack_picture(found))
    _save(exact, Image.fromarray(found.attacked))
    return picture, exact


def _save(path: Path, image: Image.Image) -> None:
    content = io.BytesIO()
    image.save(content, format="PNG")
    try:
        write_whole(path, content.getvalue())
    except OSError as error:
        reason = error.strerror or error
        raise DatasetError(f"cannot write to {path.parent}: {reason}; give another folder: --out") from None


def _print_json(rows: list[Row]) -> None:
    say_json(
        [
            found.to_dict() | {"picture": str(picture), "attacked": str(exact)}
            for found, picture, exact in rows
        ]
    )


def _print_table(rows: list[Row]) -> None:
    say_table(
        ("attack", "pixels", "result", "queries", "before", "after", "picture"),
        [
            (
                *(found.outcome.attack, found.outcome.pixels, found.outcome.status, found.outcome.queries),
                *(found.before, found.after, picture),
            )
            for found, picture, _ in rows
        ],
    )
