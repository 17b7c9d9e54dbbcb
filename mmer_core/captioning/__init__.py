"""Captions from an image-captioning model, for photos without a text."""

from mmer_core.captioning.captioner import Captioner, captioner_identity, check_captioner, load_captioner

__all__ = ["Captioner", "captioner_identity", "check_captioner", "load_captioner"]
