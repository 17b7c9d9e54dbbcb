"""Any Hugging Face image tower or text encoder, by hub id or local folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmer_core.encoders.architectures import (
    model_class,
    native_side,
    positions,
    reads_padding,
)
from mmer_core.encoders.base import ImageEncoder, Preprocessing, TextEncoder
from mmer_core.encoders.pretrained import from_folder, refuse_adapters
from mmer_core.encoders.source import ImageSource, TextSource
from mmer_core.encoders.weights import file_digest
from mmer_core.errors import EncoderError
from mmer_core.heavy import Tensor, nn, torch, transformers

_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
# Exceptions of a network for inputs of another modality or size.
_MISFIT = (AttributeError, TypeError, ValueError, RuntimeError)
_CUBIC = (1, 3)  # Pillow's codes for Lanczos, which torch lacks, and bicubic


def identity(spec: str) -> dict[str, str]:
    """What determines the features of a folder or hub id: the digests of its configuration and weights."""
    folder = resolve(spec)
    files = sorted(file for pattern in _FILES for file in folder.glob(pattern))
    return {"name": "hf", **{file.name: file_digest(file) for file in files}}


def resolve(spec: str) -> Path:
    """The local folder of a model; a hub id is downloaded once and then read from the hub's own cache.

    Raises:
        EncoderError: The folder has no ``config.json`` or safetensors weights, or the hub cannot be reached.
    """
    if not spec.strip():
        raise EncoderError("hf: names no model; give a folder with config.json or a hub id: hf:ID_OR_FOLDER")
    folder = Path(spec).expanduser()
    if not folder.is_dir():
        if folder.is_absolute() or spec.startswith("."):
            raise EncoderError(f"there is no model folder {spec}; give a folder with config.json or a hub id")
        folder = _download(spec)
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise EncoderError(f"{folder} needs config.json and *.safetensors; use save_pretrained to write them")
    refuse_adapters(folder)
    return folder


def load_image_folder(name: str, folder: Path, size: int | None) -> ImageEncoder:
    """Load an image tower with its processor's normalisation; dual encoders yield projected features.

    Raises:
        EncoderError: The model has no image tower, or the folder has no ``preprocessor_config.json``.
    """
    processor = from_folder(
        transformers.AutoImageProcessor,
        folder,
        "has no usable preprocessor_config.json",
        "an encoder is never run without its own preprocessing",
    )
    native = native_side(processor)
    side = size or native
    if side is None:
        raise EncoderError(f"{type(processor).__name__} names no input size; give encoders.image_size")
    try:
        preprocessing = _preprocessing(processor, side)
    except (TypeError, ValueError):
        raise EncoderError(
            f"{folder} normalises pixels with mean {processor.image_mean} and std {processor.image_std}; "
            "its preprocessor_config.json needs one number or three of each"
        ) from None
    from mmer_core.encoders.networks.huggingface import ImageTower

    module = ImageTower(load_pretrained(name, folder))
    try:
        width = _width(module, torch.zeros(1, 3, side, side))
    except _MISFIT as error:
        raise EncoderError(
            f"{name} does not encode images of {side} pixels (its native side is {native}): {error}"
        ) from None
    return ImageEncoder(name, module, preprocessing, width)


def load_text_folder(name: str, folder: Path) -> TextEncoder:
    """Load a text encoder: a dual encoder's projected features, otherwise the mean of the token embeddings.

    Raises:
        EncoderError: The model has no text encoder, or the folder has no tokenizer.
    """
    tokenizer = load_tokenizer(folder)
    model = load_pretrained(name, folder)
    from mmer_core.encoders.networks.huggingface import TextTower

    module = TextTower(model)
    limit = min(tokenizer.model_max_length, positions(model))
    padded = reads_padding(model.config)
    padding = "max_length" if padded else "longest"
    keys = ("input_ids",) if padded else ("input_ids", "attention_mask")

    def tokenize(texts: list[str]) -> dict[str, Tensor]:
        batch = tokenizer(
            texts,
            padding=padding,
            truncation=True,
            max_length=limit,
            return_attention_mask=True,
            return_tensors="pt",
        )
        return {key: batch[key] for key in keys}

    try:
        width = _width(module, **tokenize(["width"]))
    except _MISFIT as error:
        raise EncoderError(f"{name} does not encode texts: {error}") from None
    return TextEncoder(name, module, tokenize, width)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a text encoder. Raises `EncoderError` if the folder has none."""
    return from_folder(
        transformers.AutoTokenizer,
        folder,
        "has no usable tokenizer",
        "a text encoder is never run without its own",
    )


def load_pretrained(name: str, folder: Path, kind: Any = None) -> nn.Module:
    """Load a complete model from safetensors on the CPU, with one of `transformers`' auto classes if given.

    Raises:
        EncoderError: The weights are damaged, of another architecture, or of another kind of model.
    """
    words = (f"cannot be loaded as {name}", "fetch the folder again, or name another model")
    config = from_folder(transformers.AutoConfig, folder, *words)
    model, info = from_folder(
        kind or model_class(config),
        folder,
        *words,
        config=config,
        use_safetensors=True,
        output_loading_info=True,
    )
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    if missing or info["mismatched_keys"]:
        raise EncoderError(
            f"{folder} holds weights of another architecture than its config.json "
            f"({len(missing)} tensors missing, first: {(missing or ['shape'])[0]}); fetch the folder again"
        )
    if info["missing_keys"]:
        # Classifiers and sentence encoders have none; a randomly initialised one must not be used.
        model.pooler = None
    return model


def _width(module: nn.Module, *inputs: Tensor, **named: Tensor) -> int:
    with torch.inference_mode():
        return int(module.eval()(*inputs, **named).shape[-1])


def _preprocessing(processor: Any, side: int) -> Preprocessing:
    """The processor's normalisation of the pixels of a square with this side."""
    scale = 1.0 / processor.rescale_factor if getattr(processor, "do_rescale", True) else 1.0
    normalises = getattr(processor, "do_normalize", False)
    mean = _channels(processor.image_mean) if normalises else (0.0,)
    std = _channels(processor.image_std) if normalises else (1.0,)
    cubic = getattr(processor, "resample", None) in _CUBIC
    return Preprocessing(side, _rgb(scale, mean), _rgb(scale, std), "bicubic" if cubic else "bilinear")


def _channels(values: Any) -> tuple[float, ...]:
    return tuple(values) if isinstance(values, Sequence) else (float(values),)


def _rgb(scale: float, values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values * 3 if len(values) == 1 else values
    return scale * red, scale * green, scale * blue


def _download(spec: str) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(spec, allow_patterns=list(_FILES)))
    except HFValidationError:
        raise EncoderError(f"{spec!r} is neither a folder nor a hub id of the form owner/model") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError):
        cached = Path(constants.HF_HUB_CACHE) / f"models--{spec.replace('/', '--')}"
        raise EncoderError(
            f"model {spec!r} is not in the hub cache ({cached}) and the hub cannot be reached; where it can, fetch "
            f"config.json, model.safetensors (or its parts and model.safetensors.index.json) and, for images, "
            f"preprocessor_config.json, for texts, tokenizer.json and tokenizer_config.json from "
            f"https://huggingface.co/{spec}, put them into one folder here and name it: hf:FOLDER"
        ) from None


class HuggingFaceImage(ImageSource):
    """Image models, and image towers of dual encoders, of the Hugging Face hub."""

    name = "hf"
    summary = "ID_OR_FOLDER"

    def identity(self, spec: str) -> dict[str, str]:
        return identity(spec)

    def load(self, spec: str, size: int | None) -> ImageEncoder:
        return load_image_folder(f"hf:{spec}", resolve(spec), size)


class HuggingFaceText(TextSource):
    """Text models, and text towers of dual encoders, of the Hugging Face hub."""

    name = "hf"
    summary = "ID_OR_FOLDER"

    def identity(self, spec: str) -> dict[str, str]:
        return identity(spec)

    def load(self, spec: str) -> TextEncoder:
        return load_text_folder(f"hf:{spec}", resolve(spec))

    def folder(self, spec: str) -> Path:
        return resolve(spec)
