"""Prompting a captioning model: photos to the input tensors of its ``generate``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

Prompter = Callable[[Sequence[Image.Image]], Mapping[str, Any]]


def prompt_with_pixels(image_processor: Any) -> Prompter:
    """Only the photo: the model was trained to describe it."""
    return lambda photos: image_processor(images=list(photos), return_tensors="pt")


def prompt_with_text(processor: Any, prompt: str) -> Prompter:
    """The photo with the beginning of its caption ("a photo of"), or a task prompt ("<CAPTION>")."""
    return lambda photos: processor(
        images=list(photos), text=[prompt] * len(photos), padding=True, return_tensors="pt"
    )


def prompt_as_chat(processor: Any, prompt: str) -> Prompter:
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
