"""Any captioning or image-text-to-text checkpoint of `transformers`, by hub id or local folder.

Three ways of asking cover them all: pixels alone (BLIP, GIT, ViT with a language model behind it), pixels with
the beginning of the caption or a task prompt (BLIP, BLIP-2, Florence-2, PaliGemma), and a turn of a conversation
(LLaVA, Qwen-VL, SmolVLM and their like, known by their chat template).
"""

import inspect
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from jinja2 import TemplateError
from PIL import Image
from transformers.utils import logging as transformers_logging

from mmer_core.captioning.prompting import Ask, ask_in_a_chat, ask_with_pixels, ask_with_prompt
from mmer_core.datasets.layout import tidy
from mmer_core.encoders import huggingface
from mmer_core.encoders.pretrained import from_folder
from mmer_core.errors import EncoderError

CHAT_PROMPT = "Describe this photo in one sentence."
SOURCE = "hf"
CPU = torch.device("cpu")
# What a network or processor raises that is given other inputs than its own.
_MISFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError, TemplateError)
# They read captions only: a prompt would end in the very token that ends a caption, or not be read at all.
_WITHOUT_PROMPT = ("git", "pix2struct", "vision-encoder-decoder")


class Captioner:
    """A frozen model that describes photos, by greedy decoding: the same photo always gets the same words.

    Args:
        name: The name it was loaded by.
        model: A generative model of `transformers`.
        ask: Photos to the tensors that the model reads.
        decode: Token ids ``(B, L)`` to ``B`` texts.
        max_tokens: Most tokens of a caption.
    """

    def __init__(
        self, name: str, model: Any, ask: Ask, decode: Callable[[torch.Tensor], list[str]], max_tokens: int
    ) -> None:
        self.name = name
        self.model = model.eval().requires_grad_(False)
        self.max_tokens = max_tokens
        self._ask = ask
        self._decode = decode
        self._takes = set(inspect.signature(model.forward).parameters)
        self._asking = threading.Lock()  # fast tokenizers cannot be used by two threads at once

    @torch.inference_mode()
    def describe(self, photos: Sequence[Image.Image]) -> list[str]:
        """One caption a photo, on one line; empty where the model has nothing to say, or refuses the photo.

        On a CPU photos are read one by one, so that no caption depends, by the rounding of a sum, on the
        photos beside it. Elsewhere all go through the model together.
        """
        together = 1 if self.model.device.type == "cpu" else max(1, len(photos))
        batches = (photos[start : start + together] for start in range(0, len(photos), together))
        return [caption for batch in batches for caption in self._each(batch)]

    @torch.inference_mode()
    def try_out(self) -> None:
        """Describe a blank photo at full length.

        Raises:
            EncoderError: The model cannot be asked in this way, or not for captions of this length.
        """
        try:
            self._describe([Image.new("RGB", (64, 48))], min_new_tokens=self.max_tokens)
        except _MISFIT as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise EncoderError(
                f"{self.name} does not write captions of {self.max_tokens} tokens ({reason}); give fewer "
                f"caption.max_tokens, or caption.prompt if it must be asked"
            ) from None

    def _each(self, photos: Sequence[Image.Image]) -> list[str]:
        """As `_describe`; a photo that the preprocessing refuses, such as a strip of pixels, costs no other."""
        try:
            return self._describe(photos)
        except ValueError:
            return [""] if len(photos) == 1 else [self._each([photo])[0] for photo in photos]

    def _describe(self, photos: Sequence[Image.Image], **options: Any) -> list[str]:
        with self._asking:
            asked = self._ask(photos)
        model = self.model
        inputs = {name: value for name, value in asked.items() if self._reads(name)}
        inputs = {name: _placed(value, model) for name, value in inputs.items()}
        options = {"do_sample": False, "num_beams": 1, "max_new_tokens": self.max_tokens, **options}
        tokens = model.generate(**inputs, **options)
        question = inputs.get("input_ids")
        # Models that answer repeat the question before the answer.
        if question is not None and torch.equal(tokens[:, : question.shape[1]], question):
            tokens = tokens[:, question.shape[1] :]
        with self._asking:
            return [tidy(text) for text in self._decode(tokens)]

    def _reads(self, name: str) -> bool:
        """Tokenizers tell segments apart also for models that do not."""
        return name != "token_type_ids" or name in self._takes


def load_captioner(name: str, prompt: str | None, max_tokens: int, device: torch.device = CPU) -> Captioner:
    """Load a captioning model and try it out.

    Args:
        name: ``hf:<model id or folder>``; the folder holds safetensors, a tokenizer and an image processor.
        prompt: The question to a model with a chat template (`CHAT_PROMPT` when None), or the beginning of
            the caption or the task of a model without one.
        max_tokens: Most tokens of a caption.

    Raises:
        EncoderError: The model is not there, does not caption photos, or takes no prompt.
    """
    transformers_logging.set_verbosity_error()  # generation repeats its advice with every photo
    folder = check_captioner(name)
    model: Any = huggingface.load_pretrained(name, folder, transformers.AutoModelForImageTextToText)
    processor, image_processor, tokenizer = _processors(folder)
    tokenizer.padding_side = "left"  # an answer goes on from the last token of its question
    if getattr(processor, "chat_template", None):
        ask = ask_in_a_chat(processor, prompt or CHAT_PROMPT)
    elif prompt is None:
        ask = ask_with_pixels(image_processor)
    elif processor is None or model.config.model_type in _WITHOUT_PROMPT:
        raise EncoderError(f"{name} describes photos without a question; leave caption.prompt away")
    else:
        ask = ask_with_prompt(processor, prompt)

    def decode(tokens: torch.Tensor) -> list[str]:
        return list(tokenizer.batch_decode(tokens, skip_special_tokens=True))

    # Half precision has slow kernels or none at all on a CPU.
    model = (model.float() if device.type == "cpu" else model).to(device)
    captioner = Captioner(name, model, ask, decode, max_tokens)
    captioner.try_out()
    return captioner


def check_captioner(name: str) -> Path:
    """The folder of a captioning model, without loading it.

    Raises:
        EncoderError: The name is unknown, or the model is neither a folder nor to be had from the hub.
    """
    source, _, spec = name.partition(":")
    if source != SOURCE or not spec:
        raise EncoderError(f"unknown captioner {name!r}; use {SOURCE}:<hub id or folder>")
    return huggingface.resolve(spec)


def captioner_identity(name: str) -> dict[str, str]:
    """What decides a captioner's words (digests of configuration and weights), and the name they go under.

    The name is the last part of the hub id or folder: the same model has the same identity wherever it lies.
    """
    spec = name.partition(":")[2]
    check_captioner(name)
    return huggingface.identity(spec) | {"captioner": spec.rstrip("/").rpartition("/")[2]}


def _processors(folder: Path) -> tuple[Any | None, Any, Any]:
    """Processor (None where there is none of its own), image processor, tokenizer."""
    words = ("has no usable processor", "a captioner needs its own tokenizer and preprocessor_config.json")
    processor = from_folder(transformers.AutoProcessor, folder, *words)
    if hasattr(processor, "image_processor") and hasattr(processor, "tokenizer"):
        return processor, processor.image_processor, processor.tokenizer
    return (
        None,
        from_folder(transformers.AutoImageProcessor, folder, *words),
        from_folder(transformers.AutoTokenizer, folder, *words),
    )


def _placed(value: Any, model: Any) -> Any:
    """On the model's device; pixels also in its precision."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(model.device, model.dtype if value.is_floating_point() else value.dtype)
