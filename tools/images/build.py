"""The CPU image, and what a change of sources makes again of it."""

import json
import shutil
from pathlib import Path

from tools.images.engine import Engine
from tools.images.wheels import Given

IMAGE = "localhost/mmer:cpu"
_SOURCES = (
    "docker",
    "mmer_core",
    "tasks",
    "flows",
    "deployments",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    ".dockerignore",
)


def build(engine: Engine, sources: Path, given: Given, name: str = IMAGE) -> None:
    """Build from a folder as the Dockerfile says, with pip as it is configured here."""
    volumes = [
        word for place, inside in given.mounts.items() for word in ("--volume", f"{place}:{inside}:ro")
    ]
    how = ["--isolation", "chroot", "--network", "host", "--pull-never", "--layers"]
    how += [
        word for argument, value in given.arguments.items() for word in ("--build-arg", f"{argument}={value}")
    ]
    engine.run(
        *("buildah", "bud", *how, *volumes),
        *("--file", str(sources / "docker/Dockerfile"), "--tag", name, str(sources)),
        seconds=3600,
    )


def changed(engine: Engine, sources: Path, given: Given) -> str:
    """Build again with one line more in the sources; which layers that made again."""
    copy = engine.folder / "changed"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in _SOURCES:
        if (sources / name).is_dir():
            shutil.copytree(
                sources / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "secrets")
            )
        else:
            shutil.copy2(sources / name, copy / name)
    with (copy / "flows/cli.py").open("a") as file:
        file.write("# one line more\n")
    other = f"{IMAGE}-changed"
    build(engine, copy, given, other)
    before, after = engine.layers(IMAGE), engine.layers(other)
    history = json.loads(engine.run("podman", "history", "--format", "json", other))  # the newest comes first
    copied = next(step["size"] for step in history if "COPY" in step["CreatedBy"])
    engine.run("podman", "rmi", other)
    shutil.rmtree(copy)
    same = [one == two for one, two in zip(before, after, strict=True)]
    if same != [True] * (len(same) - 1) + [False]:
        raise AssertionError(
            f"a change of sources made again more than the last layer: {before} became {after}"
        )
    return f"{copied / 1e6:.0f} MB in the last of {len(after)} layers made again"
