"""Differences between the architectures of transformers: which class to load, and how to get its features.

CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020), SigLIP (Zhai et al. 2023,
https://arxiv.org/abs/2303.15343), SigLIP 2 (Tschannen et al. 2025, https://arxiv.org/abs/2502.14786), BLIP (Li et
al. 2022, https://arxiv.org/abs/2201.12086), DINOv2 and v3, ViT, and BERT- and RoBERTa-like text encoders.
"""

from __future__ import annotations

import math
from typing import Any

from mmer_core.heavy import Tensor, nn, torch, transformers

# Their output is that of the last position, and they were trained on texts padded to full length without a mask.
_PADDED = ("siglip", "siglip2", "siglip_text_model", "siglip2_text_model")
# Single text towers with one trained output per text; the mean of their tokens was never trained.
_POOLED_TEXT = ("clip_text_model", "siglip_text_model", "siglip2_text_model")
_NAFLEX = ("siglip2", "siglip2_vision_model")


def model_class(config: Any) -> Any:
    """The class to load: `AutoModel` would drop the projection of a single tower, and BLIP's retrieval heads."""
    name = str(next(iter(getattr(config, "architectures", None) or ()), ""))
    if name.endswith("ModelWithProjection") or name == "BlipForImageTextRetrieval":
        return getattr(transformers, name, transformers.AutoModel)
    return transformers.AutoModel


def image_features(model: Any, pixels: Tensor) -> Tensor:
    """``(B, 3, H, W)`` normalised pixels to ``(B, D)``: a dual encoder's projection, or pooled, or the class token."""
    if hasattr(model, "vision_proj"):  # BLIP for retrieval has no method for this
        return model.vision_proj(model.vision_model(pixel_values=pixels).last_hidden_state[:, 0])
    inputs: dict[str, Tensor] = {"pixel_values": pixels}
    if model.config.model_type in _NAFLEX:
        inputs = _patches(pixels, _vision(model.config).patch_size)
    if hasattr(model, "get_image_features"):
        return _pooled(model.get_image_features(**inputs))
    output = model(**inputs)
    if getattr(output, "image_embeds", None) is not None:
        return output.image_embeds
    pooled = getattr(output, "pooler_output", None)
    return pooled.flatten(1) if pooled is not None else output.last_hidden_state[:, 0]


def patch_states(model: Any, pixels: Tensor) -> Tensor:
    """``(B, 3, H, W)`` normalised pixels to the last states of an image tower's patches, ``(B, D, h, w)``.

    Raises:
        ValueError: The tower has no states of single patches.
    """
    tower = getattr(model, "vision_model", model)
    inputs: dict[str, Tensor] = {"pixel_values": pixels}
    patch: Any = getattr(tower.config, "patch_size", None)
    if tower.config.model_type in _NAFLEX:
        inputs = _patches(pixels, patch)
    states = tower(**inputs).last_hidden_state
    if states.ndim == 4:  # convolutional
        return states
    if patch is None:
        raise ValueError(f"{type(tower).__name__} does not say how large its patches are")
    rows, columns = pixels.shape[-2] // patch, pixels.shape[-1] // patch
    if states.shape[1] < rows * columns:
        raise ValueError(f"{type(tower).__name__} has fewer states than patches")
    # The class token and register tokens, if any, come first.
    return states[:, -rows * columns :].transpose(1, 2).unflatten(2, (rows, columns))


def text_features(model: Any, tokens: dict[str, Tensor]) -> Tensor:
    """Tokens to ``(B, D)``: a dual encoder's projection, or its tower's pooled output, or the mean token."""
    if hasattr(model, "text_proj"):  # BLIP for retrieval
        return model.text_proj(model.text_encoder(**tokens).last_hidden_state[:, 0])
    if hasattr(model, "get_text_features"):
        return _pooled(model.get_text_features(**tokens))
    output = model(**tokens)
    if getattr(output, "text_embeds", None) is not None:
        return output.text_embeds
    if model.config.model_type in _POOLED_TEXT:
        return output.pooler_output
    hidden = output.last_hidden_state  # (B, L, D)
    mask = tokens["attention_mask"][..., None].to(hidden.dtype)
    return (hidden * mask).sum(1) / mask.sum(1)


def reads_padding(config: Any) -> bool:
    """Whether texts must be padded to full length without a mask."""
    return config.model_type in _PADDED


def positions(model: nn.Module) -> int:
    """Maximal length of a text in tokens. RoBERTa-like models count positions from after their padding index."""
    config: Any = model.config
    config = getattr(config, "text_config", config)
    skipped = [
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings")
        and isinstance(module, nn.Embedding)
        and module.padding_idx is not None
    ]
    return int(getattr(config, "max_position_embeddings", 512)) - max(skipped, default=0)


def native_side(processor: Any) -> int | None:
    """Side in pixels of the square that a processor outputs, if it has one."""
    if getattr(processor, "max_num_patches", None):  # SigLIP 2 for any aspect ratio, here used with a square
        return int(processor.patch_size * math.isqrt(processor.max_num_patches))
    size = (processor.crop_size if getattr(processor, "do_center_crop", False) else None) or processor.size
    for key in ("height", "shortest_edge"):
        value = size.get(key) if isinstance(size, dict) else getattr(size, key, None)
        if value:
            return int(value)
    return None


def _pooled(output: Any) -> Tensor:
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def _vision(config: Any) -> Any:
    return getattr(config, "vision_config", config)


def _patches(pixels: Tensor, patch: int) -> dict[str, Tensor]:
    """``(B, 3, H, W)`` to the ``(B, P, patch * patch * 3)`` patches that SigLIP 2 reads instead of pixels."""
    batch, channels, height, width = pixels.shape
    if height % patch or width % patch:
        raise ValueError(f"the side must be a multiple of {patch}")
    rows, columns = height // patch, width // patch
    cut = pixels.reshape(batch, channels, rows, patch, columns, patch).permute(0, 2, 4, 3, 5, 1)
    shapes = torch.tensor([[rows, columns]], device=pixels.device).expand(batch, 2)
    return {
        "pixel_values": cut.reshape(batch, rows * columns, -1),
        "pixel_attention_mask": torch.ones(batch, rows * columns, dtype=torch.int32, device=pixels.device),
        "spatial_shapes": shapes,
    }
