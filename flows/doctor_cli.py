"""`mmer doctor`: what this installation has, what it lacks, and the command that cures it."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from json import load as load_json
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from flows.output import say, say_json
from flows.parameters import Runtime
from mmer_core import __version__
from mmer_core.config import EncoderConfig, RuntimeConfig
from mmer_core.errors import EncoderError, MmerError
from mmer_core.heavy import torch

_FOR_DEVELOPERS = ("bench", "dev", "docs", "peers")
_SECONDS_TO_ANSWER = 5
NEWEST_PREFECT = (3, 9)
"""The newest minor version that mmer's tests ran with; ``pyproject.toml`` has the oldest."""


@dataclass(frozen=True)
class Finding:
    """What was found about one thing.

    Attributes:
        state: ``optional`` is not here and is needed for some jobs only; nobody knows whether jobs run with what has a
            ``warning``; ``fault`` keeps jobs from running.
        cure: A command or a sentence, where something is missing.
    """

    about: str
    state: Literal["ok", "optional", "warning", "fault"]
    found: str
    cure: str = ""


def doctor(
    encoders: EncoderConfig = EncoderConfig(), *, json: bool = False, runtime: Runtime = RuntimeConfig()
) -> int:
    """Look at packages, devices, encoders, the store and the server, and exit with 1 where a job could not run.

    Parameters
    ----------
    json:
        Print the findings as a JSON array.
    """
    found = list(_findings(encoders, runtime))
    if json:
        say_json([asdict(one) for one in found])
    else:
        for one in found:
            cure = f"; cure: {one.cure}" if one.cure else ""
            say(f"{one.state:8}  {one.about}: {one.found}{cure}")
    return int(any(one.state == "fault" for one in found))


def _findings(encoders: EncoderConfig, runtime: RuntimeConfig) -> Iterator[Finding]:
    yield Finding("mmer", "ok", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield from _packages()
    yield from _untried("Prefect", _installed("prefect"), "pip install 'prefect<{beyond}'")
    yield _device(runtime.device)
    yield _encoder("image", encoders.image)
    yield _encoder("text", encoders.text)
    yield _store(runtime)
    yield _work(runtime.work)
    if address := os.environ.get("PREFECT_API_URL"):
        yield from _server(address)
    else:
        yield Finding(
            "Prefect server", "optional", "PREFECT_API_URL is not set: jobs run as plain Python", "mmer up"
        )


def _packages() -> Iterator[Finding]:
    """One finding for all required packages, and one for each extra that users choose."""
    required: list[Requirement] = []
    extras: dict[str, list[Requirement]] = {}
    for line in requires("mmer") or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            required.append(requirement)
            continue
        _, _, extra = str(requirement.marker).rpartition("extra == ")
        extras.setdefault(extra.strip("\"' )"), []).append(requirement)
    yield _wanted("packages", required, "fault", "pip install --upgrade mmer")
    for extra, wanted in sorted(extras.items()):
        if extra not in _FOR_DEVELOPERS:
            yield _wanted(f"mmer[{extra}]", wanted, "optional", f"pip install 'mmer[{extra}]'")


def _wanted(
    about: str, wanted: Iterable[Requirement], otherwise: Literal["optional", "fault"], cure: str
) -> Finding:
    has, lacks = [], []
    for requirement in wanted:
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            lacks.append(f"{requirement.name} is not installed")
            continue
        if requirement.specifier.contains(installed, prereleases=True):
            has.append(f"{requirement.name} {installed}")
        else:
            lacks.append(f"{requirement.name} is {installed}, not {requirement.specifier}")
    return (
        Finding(about, otherwise, ", ".join(lacks), cure) if lacks else Finding(about, "ok", ", ".join(has))
    )


def _device(wanted: str) -> Finding:
    cores = f"{os.cpu_count()} CPU cores"
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        return Finding(
            "device", "ok", ", ".join(f"{card.name} ({card.total_memory / 2**30:.0f} GiB)" for card in cards)
        )
    if torch.backends.mps.is_available():
        return Finding("device", "ok", f"Apple GPU (mps), {cores}")
    if wanted == "cuda":
        return Finding(
            "device", "fault", f"no CUDA device, {cores}", "use --device auto, or install a driver"
        )
    return Finding("device", "ok", f"no GPU, {cores}")


def _encoder(modality: Literal["image", "text"], name: str) -> Finding:
    """Whether its weights are here, without loading them."""
    from mmer_core.encoders import encoder_identity

    try:
        identity = encoder_identity(name, modality)
    except EncoderError as error:
        return Finding(f"{modality} encoder", "fault", name, str(error))
    return Finding(
        f"{modality} encoder", "ok", ", ".join(f"{key} {value}" for key, value in identity.items())
    )


def _store(runtime: RuntimeConfig) -> Finding:
    try:
        store = runtime.open_store()
        store.ensure_writable()
        count = len(list(store.keys()))
    except MmerError as error:
        return Finding("store", "fault", runtime.store, str(error))
    return Finding("store", "ok", f"{runtime.store}: writable, {count} artifacts{_free(Path(runtime.store))}")


def _work(folder: Path) -> Finding:
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Finding(
            "work folder", "fault", f"{folder}: {error.strerror}", "name a writable folder with --work"
        )
    return Finding("work folder", "ok", f"{folder}: writable{_free(there)}")


def _free(place: Path) -> str:
    there = next((one for one in (place, *place.parents) if one.exists()), None)
    return f", {shutil.disk_usage(there).free / 1e9:.0f} GB free" if there else ""


def _server(address: str) -> Iterator[Finding]:
    about, api = "Prefect server", address.rstrip("/")
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=_SECONDS_TO_ANSWER):
            yield Finding(about, "ok", address)
    except urllib.error.HTTPError as error:  # it is there, and wants to know who asks
        yield Finding(about, "ok", f"{address} answers with status {error.code}")
    except (OSError, ValueError) as error:
        yield Finding(
            about,
            "fault",
            f"{address} cannot be reached ({error})",
            "start it (prefect server start), or unset PREFECT_API_URL",
        )
    else:
        yield from _untried(f"{about}'s version", _version_of(api), "a server older than {beyond}")


def _version_of(api: str) -> str | None:
    """What a server says; None where it does not say."""
    try:
        with urllib.request.urlopen(f"{api}/admin/version", timeout=_SECONDS_TO_ANSWER) as answer:
            return str(load_json(answer))
    except (OSError, ValueError):
        return None


def _installed(package: str) -> str | None:
    with suppress(PackageNotFoundError):  # which `_packages` reports
        return version(package)
    return None


def _untried(about: str, found: str | None, cure: str) -> Iterator[Finding]:
    """A warning about a version of Prefect that is newer than what was tried; none of what is no version."""
    major, minor = NEWEST_PREFECT
    with suppress(InvalidVersion):
        if found is not None and Version(found).release[:2] > NEWEST_PREFECT:
            newer = f"{found} is newer than {major}.{minor}, the newest that mmer's tests ran with"
            yield Finding(about, "warning", newer, cure.format(beyond=f"{major}.{minor + 1}"))
