"""Prompting a captioning model: photos to the input tensors of its ``generate``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

Ask = Callable[[Sequence[Image.Image]], Mapping[str, Any]]


def ask_with_pixels(image_processor: Any) -> Ask:
    """Only the photo: the model was trained to describe it."""
    return lambda photos: image_processor(images=list(photos), return_tensors="pt")


def ask_with_prompt(processor: Any, prompt: str) -> Ask:
    """The photo with the beginning of its caption ("a photo of"), or a task prompt ("<CAPTION>")."""
    return lambda photos: processor(
        images=list(photos), text=[prompt] * len(photos), padding=True, return_tensors="pt"
    )


def ask_in_a_chat(processor: Any, prompt: str) -> Ask:
    """The photo and a question, as the first turn of a conversation."""

    def turn(photo: Image.Image) -> list[dict[str, Any]]:
        content = [{"type": "image", "image": photo}, {"type": "text", "text": prompt}]
        return [{"role": "user", "content": content}]

    return lambda photos: processor.apply_chat_template(
        [turn(photo) for photo in photos],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    )
