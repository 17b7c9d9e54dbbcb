"""`mmer init`: from a folder of pictures, or any table, to a manifest that is checked."""

import os
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from flows.dataset_output import say_contents, say_encodings, say_faults
from flows.output import say
from flows.terminal import progress_bars, say_table
from mmer_core.datasets.initial.manifest import InitialManifest, initial_manifest, target_of
from mmer_core.errors import ConfigError
from tasks.progress import progress_for

_EXAMPLE = 100
"""Characters of a text that are shown."""


def init(
    source: Annotated[
        Path, Parameter(help="A folder of pictures, or a CSV, TSV, JSON Lines or Parquet file.")
    ],
    *,
    images: Annotated[
        Path | None,
        Parameter(
            help="Folder of the pictures; by default that of the source. The manifest is written there."
        ),
    ] = None,
    out: Annotated[
        Path | None, Parameter(help="The manifest, .csv or .jsonl, in the folder of the pictures.")
    ] = None,
    image: Annotated[str | None, Parameter(help="Column of the pictures.")] = None,
    text: Annotated[
        list[str] | None, Parameter(help="Columns of the texts; 'none' for no column, here and below.")
    ] = None,
    labels: Annotated[
        str | None, Parameter(help="Column of the label, or of several labels in one cell.")
    ] = None,
    split: Annotated[str | None, Parameter(help="Column of the split.")] = None,
    group: Annotated[
        str | None, Parameter(help="Column of what must not be in two splits: a person, an album.")
    ] = None,
    id_: Annotated[str | None, Parameter(name="--id", help="Column of the sample's name.")] = None,
    encoding: Annotated[str, Parameter(help="Of the source's text; by default it is detected.")] = "",
    seed: Annotated[int, Parameter(help="Of the splits that are made.")] = 0,
    resplit: Annotated[
        bool, Parameter(help="Make all splits anew, where the source or the manifest that is there has some.")
    ] = False,
    workers: Annotated[int, Parameter(help="Threads that decode pictures.")] = os.cpu_count() or 1,
    all_: Annotated[bool, Parameter(name="--all", help="List every row that is left out.")] = False,
    dry_run: Annotated[bool, Parameter(help="Print what would be written, and write nothing.")] = False,
    overwrite: Annotated[
        bool, Parameter(help="Replace the manifest; its pictures keep their splits.")
    ] = False,
) -> None:
    target, _ = target_of(source, images, out)
    if os.path.lexists(target) and not (overwrite or dry_run):
        raise ConfigError(f"{target} is there already: give --overwrite, or another name by --out")
    named = {"image": image, "labels": labels, "split": split, "group": group, "id": id_}
    columns = {role: [name] for role, name in named.items() if name is not None} | (
        {"text": text} if text else {}
    )
    with progress_bars():
        found = initial_manifest(
            source,
            images=images,
            out=out,
            columns=columns,
            encoding=encoding,
            seed=seed,
            resplit=resplit,
            workers=workers,
            progress=progress_for("decode"),
        )
    _say(source, found, every=all_)
    if dry_run:
        say(f"would write {found.path}, which begins:", *found.content.splitlines()[:5])
        return
    found.write()
    say(f"wrote {found.path}" + (f" and {found.beside}" if found.left_out else ""))
    say(f"next: mmer data check --root {quote(str(found.path))}")


def _say(source: Path, found: InitialManifest, *, every: bool) -> None:
    listing = found.listing
    say(f"{source}: {listing.about}")
    say_encodings(listing.encodings)
    if listing.example:
        cut = "…" if len(listing.example) > _EXAMPLE else ""
        say(f"  such as: {listing.example[:_EXAMPLE]}{cut}")
    say_table(
        ("used as", "columns", "because"),
        [(one.role, ", ".join(one.columns), one.why) for one in found.choices],
    )
    if said := say_faults(found.left_out, every=every):
        say(f"left out: {said}")
    say(*found.notes)
    samples = [replace(sample, split=found.split_of[sample.id]) for sample in found.samples]
    several = found.declaration.multi_label
    say_contents(
        "retrieval" if not found.declaration.labels else "emotion" if several else "classification", samples
    )
