"""The only use of `transformers`' ``from_pretrained``: code that comes with a model is never run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmer_core.errors import EncoderError

ADAPTER_FILE = "adapter_config.json"
_CODE = "auto_map"
_KERNELS = ("attn_implementation", "experts_implementation")


def from_folder(kind: Any, folder: Path, fault: str, cure: str, **options: Any) -> Any:
    """Load a local folder with an (auto) class of `transformers`.

    Args:
        fault, cure: The error message before and after the loader's own.

    Raises:
        EncoderError: The folder requires code of its own, or cannot be loaded.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    _refuse_kernels(folder)
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except BaseException as error:  # malformed files make loaders raise anything; panics of tokenizers do not derive from Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        file = next((name for name, fields in _settings(folder) if _CODE in fields), None)
        if file is not None:
            raise EncoderError(
                f"{folder} needs code of its own ({_CODE} in {file}), which mmer does not run: use a model of an "
                "architecture that transformers itself has, or save it without its code"
            ) from None
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise EncoderError(f"{folder} {fault} ({reason}); {cure}") from None


def refuse_adapters(folder: Path) -> None:
    """Raise `EncoderError` for a folder with an adapter, which would be applied only if peft is installed."""
    if (folder / ADAPTER_FILE).exists():
        raise EncoderError(
            f"{folder} holds an adapter ({ADAPTER_FILE}), which mmer does not apply: merge it into its model (peft's "
            "merge_and_unload) and save that"
        )


def _refuse_kernels(folder: Path) -> None:
    """Refuse configurations that name a hub repository with native attention kernels."""
    for name, fields in _settings(folder):
        for key, value in _leaves(fields):
            if key.lstrip("_") in _KERNELS and isinstance(value, str) and "/" in value:
                raise EncoderError(
                    f"{folder} refers to code from elsewhere ({key} {value!r} in {name}), which mmer does not run: "
                    f"remove {key}"
                )


def _settings(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The configurations of a model, its processor, tokenizer and generation."""
    for file in sorted(folder.glob("*config.json")):
        try:
            fields = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            continue  # the loader reports it
        if isinstance(fields, dict):
            yield file.name, fields


def _leaves(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    left: list[tuple[str, Any]] = list(fields.items())
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            left += [(inner, one) for inner, one in value.items()] + [(key, one) for one in value.values()]
        else:
            yield key, value
