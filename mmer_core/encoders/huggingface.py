"""Any Hugging Face image tower or text encoder, by hub id or local folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from mmer_core.encoders.base import ImageEncoder, Preprocessing, TextEncoder
from mmer_core.encoders.weights import file_digest
from mmer_core.errors import EncoderError

transformers_logging.disable_progress_bar()

_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
# What a network raises that is shown another modality or size than its own.
_MISFIT = (AttributeError, TypeError, ValueError)


def identity(spec: str) -> dict[str, str]:
    """A folder or hub id to what decides its features: the digests of its configuration and weights."""
    folder = resolve(spec)
    files = sorted(file for pattern in _FILES for file in folder.glob(pattern))
    return {"name": "hf", **{file.name: file_digest(file) for file in files}}


def resolve(spec: str) -> Path:
    """The local folder of a model; a hub id is downloaded once and then found in the hub's own cache.

    Raises:
        EncoderError: The folder has no ``config.json`` or safetensors weights, or the hub cannot be reached.
    """
    folder = Path(spec).expanduser()
    if not folder.is_dir():
        if folder.is_absolute() or spec.startswith("."):
            raise EncoderError(f"there is no model folder {spec}; give a folder with config.json or a hub id")
        folder = _download(spec)
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise EncoderError(f"{folder} needs config.json and *.safetensors; use save_pretrained to write them")
    return folder


def load_image_folder(name: str, folder: Path, size: int | None) -> ImageEncoder:
    """Load an image tower with its processor's normalisation; dual encoders give their projected features.

    Raises:
        EncoderError: The model has no image tower or the folder no ``preprocessor_config.json``.
    """
    try:
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError):
        raise EncoderError(
            f"{folder} has no usable preprocessor_config.json; without its preprocessing an encoder is not run"
        ) from None
    module = _ImageTower(load_pretrained(name, folder))
    side = size or _side(processor)
    scale = 1.0 / processor.rescale_factor if processor.do_rescale else 1.0
    mean, std = processor.image_mean, processor.image_std
    if not processor.do_normalize:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    preprocessing = Preprocessing(side, _times(scale, mean), _times(scale, std))
    try:
        width = _width(module, torch.zeros(1, 3, side, side))
    except _MISFIT as error:
        raise EncoderError(f"{name} does not encode images of {side} pixels: {error}") from None
    return ImageEncoder(name, module, preprocessing, width)


def load_text_folder(name: str, folder: Path) -> TextEncoder:
    """Load a text encoder: projected features of a dual encoder, else the mean of the token embeddings."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError):
        raise EncoderError(
            f"{folder} has no usable tokenizer; a text encoder is not run without its own"
        ) from None
    module = _TextTower(load_pretrained(name, folder))
    limit = min(tokenizer.model_max_length, module.positions)
    padding = "max_length" if module.reads_padding else "longest"
    keys = ("input_ids",) if module.reads_padding else ("input_ids", "attention_mask")

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


def load_pretrained(name: str, folder: Path, kind: Any = AutoModel) -> nn.Module:
    """Load a whole model from safetensors with one of `transformers`' automatic classes, on the CPU.

    Raises:
        EncoderError: The weights are damaged, of another architecture, or of another kind of model.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        model, info = kind.from_pretrained(
            folder, config=config, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise EncoderError(f"cannot load {name} from {folder}: {str(error).splitlines()[0]}") from None
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    if missing or info["mismatched_keys"]:
        raise EncoderError(
            f"{folder} holds weights of another architecture than its config.json "
            f"({len(missing)} tensors missing, first: {(missing or ['shape'])[0]}); fetch the folder again"
        )
    if info["missing_keys"]:
        model.pooler = None  # classifiers and sentence encoders ship none; a random one must not be used
    return model


class _ImageTower(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        model: Any = self.model
        if hasattr(model, "get_image_features"):
            return _pooled(model.get_image_features(pixel_values=pixels))
        output = model(pixel_values=pixels)
        pooled = getattr(output, "pooler_output", None)
        return pooled.flatten(1) if pooled is not None else output.last_hidden_state[:, 0]


class _TextTower(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        config: Any = model.config
        # SigLIP reads its answer off the last position, and was trained on texts padded to full length, unmasked.
        self.reads_padding = config.model_type in ("siglip", "siglip2")
        config = getattr(config, "text_config", config)
        self.positions = int(getattr(config, "max_position_embeddings", 512))

    def forward(self, **tokens: Tensor) -> Tensor:
        model: Any = self.model
        if hasattr(model, "get_text_features"):
            return _pooled(model.get_text_features(**tokens))
        hidden = model(**tokens).last_hidden_state  # (B, L, D)
        mask = tokens["attention_mask"][..., None].to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)


@torch.inference_mode()
def _width(module: nn.Module, *inputs: Tensor, **named: Tensor) -> int:
    return int(module.eval()(*inputs, **named).shape[-1])


def _pooled(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output.pooler_output


def _times(scale: float, rgb: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = rgb
    return scale * red, scale * green, scale * blue


def _side(processor: Any) -> int:
    size = (processor.crop_size if getattr(processor, "do_center_crop", False) else None) or processor.size
    for key in ("height", "shortest_edge"):
        value = size.get(key) if isinstance(size, dict) else getattr(size, key, None)
        if value:
            return int(value)
    raise EncoderError(f"{type(processor).__name__} names no input size; give encoders.image_size")


def _download(spec: str) -> Path:
    try:
        return Path(snapshot_download(spec, allow_patterns=list(_FILES)))
    except HFValidationError:
        raise EncoderError(f"{spec!r} is neither a folder nor a hub id of the form owner/model") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError):
        raise EncoderError(
            f"model {spec!r} is not in the local hub cache and the hub cannot be reached; download "
            f"config.json, *.safetensors and the tokenizer or preprocessor files elsewhere and give their folder"
        ) from None
