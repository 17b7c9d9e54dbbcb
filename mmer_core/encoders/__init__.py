"""Frozen image and text encoders by name, each with the preprocessing that its weights were trained with."""

from mmer_core.encoders.base import ImageEncoder, TextEncoder
from mmer_core.encoders.registry import encoder_identity, load_image_encoder, load_text_encoder

__all__ = ["ImageEncoder", "TextEncoder", "encoder_identity", "load_image_encoder", "load_text_encoder"]
