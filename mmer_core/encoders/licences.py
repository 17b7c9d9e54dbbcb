"""The licence of an encoder's weights, as far as it is stated next to them."""

import json
import re
from importlib.metadata import PackageNotFoundError, PackagePath, distribution
from pathlib import Path

from mmer_core.encoders import packaged
from mmer_core.encoders.adapters import AdapterSpec
from mmer_core.encoders.registry import bare_name
from mmer_core.errors import EncoderError

NOT_STATED = "not stated"
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_LICENCE = re.compile(r"^license:[ \t]*[\"']?([^\"'\n#]+)", re.MULTILINE)


def weights_licence(name: str) -> str:
    """The licence of an encoder's weights, or `NOT_STATED`; nothing is downloaded.

    For a packaged encoder, that of its package; for a Hugging Face model, the ``license`` in the front matter of its
    ``README.md`` or in its ``config.json``; for an adapted encoder, that of its base. Plain weights files state none.

    Args:
        name: As for `mmer_core.encoders.load_image_encoder`.
    """
    source, _, spec = bare_name(name).partition(":")
    try:
        if source == "packaged" and spec in packaged.IMAGE_ENCODERS:
            return package_licence(packaged.weights_package(spec))
        if source == "packaged":
            return folder_licence(packaged.text_folder(spec))
        if source == "adapted":
            base = AdapterSpec.read(Path(spec)).encoders
            stated = [weights_licence(one) for one in dict.fromkeys((base.image, base.text))]
            return "; ".join(dict.fromkeys(stated))
        if source == "hf":
            return folder_licence(_local_folder(spec))
    except (EncoderError, OSError, ValueError, RecursionError):
        return NOT_STATED  # missing or unreadable
    return NOT_STATED


def folder_licence(folder: Path) -> str:
    """The licence in a model folder's ``README.md`` or ``config.json``, or `NOT_STATED`."""
    readme, config = folder / "README.md", folder / "config.json"
    if readme.is_file() and (front := _FRONT_MATTER.match(readme.read_text("utf-8"))):
        stated = _LICENCE.search(front[1])
        if stated and stated[1].strip():
            return stated[1].strip()
    if config.is_file():
        fields = json.loads(config.read_text("utf-8"))
        stated_there = fields.get("license") if isinstance(fields, dict) else None
        if isinstance(stated_there, str) and stated_there:
            return stated_there
    return NOT_STATED


def package_licence(package: str) -> str:
    """The licence in an installed package's metadata, otherwise the title of its licence file, or `NOT_STATED`."""
    try:
        found = distribution(package)
    except PackageNotFoundError:
        return NOT_STATED
    for name in ("License-Expression", "License"):
        stated = (found.metadata.get_all(name) or [""])[0]
        if stated and stated != "UNKNOWN":
            return stated.splitlines()[0]
    for file in found.files or ():
        if file.name.startswith(("LICENSE", "LICENCE")) and (title := _title(file)):
            return title
    return NOT_STATED


def _title(file: PackagePath) -> str:
    """The first line of a licence file, and the second if it is the version."""
    lines = [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    versioned = len(lines) > 1 and lines[1].startswith("Version")
    title = ", ".join(lines[: 2 if versioned else 1])
    return title if len(title) <= 100 else title[:99] + "…"


def _local_folder(spec: str) -> Path:
    from huggingface_hub import snapshot_download

    folder = Path(spec).expanduser()
    return folder if folder.is_dir() else Path(snapshot_download(spec, local_files_only=True))
