"""Captions written by an image-captioning model, for photos that come without a text."""

from mmer_core.captioning.captioner import Captioner, captioner_identity, check_captioner, load_captioner

__all__ = ["Captioner", "captioner_identity", "check_captioner", "load_captioner"]
